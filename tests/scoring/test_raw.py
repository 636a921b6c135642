"""Encoded rows of many users give the golden heads, whether the model is cut or whole."""

from pathlib import Path

import numpy as np
import pytest

from service.contract.repository import Repository
from service.scoring.package import LoadedModel, load_package
from service.scoring.raw import run_rows
from tests.scoring.cut_packages import publish_cut


@pytest.fixture(scope="module", params=[True, False], ids=["whole", "cut"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root: Path = tmp_path_factory.mktemp("raw")
    publish_cut(root)
    return load_package(Repository(root), "cut", 1, whole=request.param)


def test_rows_of_many_users_give_the_golden_heads(model: LoadedModel) -> None:
    heads = run_rows(model, model.golden.encoded)
    for name, expected in model.golden.heads.items():
        np.testing.assert_allclose(heads[name], expected, atol=1e-5)


def test_one_user_row_is_for_all_items(model: LoadedModel) -> None:
    encoded = model.golden.encoded
    sides = {name: side for name, (side, _, _) in model.schema.inputs.items()}
    own = {n: b[:1] for n, b in encoded.items() if sides[n] in ("user", "context")}
    many = {n: np.repeat(b, len(next(iter(encoded.values()))), 0) for n, b in own.items()}
    rest = {n: b for n, b in encoded.items() if n not in own}
    short, long = run_rows(model, {**own, **rest}), run_rows(model, {**many, **rest})
    for name, values in short.items():
        np.testing.assert_allclose(values, long[name], atol=1e-6)
