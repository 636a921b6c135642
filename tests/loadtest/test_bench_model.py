"""The bench model is the one that was measured, reproduces itself, and peers score it as we do."""

import math
from pathlib import Path

import numpy as np
import onnx
import orjson
import pytest
import torch

from loadtest.bench_model import (
    dense_parameters,
    make_config,
    make_ranker,
    make_schema,
    write_package,
)
from loadtest.bench_store import bench_plan
from loadtest.catalogue import SCENE, SCORE, Catalogue
from loadtest.peers.work import Work
from loadtest.shape import Shape
from loadtest.traffic import make_bodies
from service.contract.repository import ModelRef, Repository
from service.experiment.plan import parse_plan
from service.fusion import compile_formula
from service.scoring.package import load_package

SMALL = Catalogue(items=50, users=5, vocabulary=20)
SHAPE = Shape(hidden=(16, 8), tower=4, embedding=4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with a small bench model."""
    root = tmp_path_factory.mktemp("models")
    write_package(root, catalogue=SMALL, shape=SHAPE, seed=1)
    return root


def test_the_default_shape_is_the_model_that_was_measured() -> None:
    assert Shape().inputs(Catalogue()) == 648
    assert Shape().dense_parameters(Catalogue()) == 1_912_501
    assert Shape().gflop(Catalogue(), 500) == pytest.approx(1.91, abs=0.01)


@pytest.mark.parametrize(
    "shape", [SHAPE, Shape(tasks=7, shared=3, levels=3, hidden=(12, 8, 6), tower=4, embedding=2)]
)
def test_the_arithmetic_counts_the_parameters_that_exist(shape: Shape) -> None:
    ranker = make_ranker(make_schema(SMALL), make_config("bench", shape, 1), shape)
    assert dense_parameters(ranker) == shape.dense_parameters(SMALL)


def test_the_arithmetic_of_a_pair_is_that_of_its_graph(models: Path) -> None:
    """Weights of matrix products; the arithmetic counts biases too, which are few."""
    graph = onnx.load(models / SCENE / "1" / "rank.onnx").graph
    sizes = {one.name: math.prod(one.dims) for one in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    weights = sum(sizes.get(name, 0) for node in products for name in node.input)
    biases = 7 * (16 + 8) * 2 + 5 * (4 + 1)
    assert 0 <= SHAPE.pair_parameters(SMALL) - weights <= biases


def test_too_few_tasks_for_the_formula_are_refused() -> None:
    with pytest.raises(ValueError, match="3 tasks: the bench formula needs ctr, cvr, vtr, vcr"):
        Shape(tasks=3)


def test_the_package_loads_and_is_champion(models: Path) -> None:
    repository = Repository(models)
    assert repository.resolve(ModelRef.parse(SCENE)) == 1
    manifest = repository.manifest(SCENE, 1)
    assert manifest.head_names == ("ctr", "cvr", "vtr", "vcr", "like", "ctcvr")
    assert manifest.schema_.inputs["item_ids"][2] == 20
    load_package(repository, SCENE, 1, 1)


def test_weights_follow_from_the_seed() -> None:
    first, same, other = (
        make_ranker(make_schema(SMALL), make_config("bench", SHAPE, seed), SHAPE).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(same[name], weights) for name, weights in first.items())
    assert not torch.equal(other["embedding.lookup.weight"], first["embedding.lookup.weight"])


def test_a_peer_ranks_by_the_plans_formula(models: Path) -> None:
    (body,) = make_bodies(SMALL, "rows", 30, count=1, seed=1)
    message = orjson.loads(body.content)
    rows = Work(models / SCENE / "1", threads=1).rank(message["user"], message["items"])
    heads = {name: np.array([row["heads"][name] for row in rows]) for name in rows[0]["heads"]}
    scores = compile_formula(SCORE, heads=heads)(heads, rows=30)
    np.testing.assert_allclose([row["score"] for row in rows], scores.values, rtol=1e-6)
    assert sorted(scores.values, reverse=True) == pytest.approx([row["score"] for row in rows])
    assert len(set(scores.values.tolist())) > 20


def test_the_plan_is_a_plan() -> None:
    assert parse_plan(bench_plan(SCENE)).scene == SCENE
