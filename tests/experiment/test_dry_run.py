"""The dry run scores golden rows as requests would, and names the first row without a score."""

from typing import Any

import numpy as np

from service.contract.golden import Golden
from service.experiment.dry_run import InvalidRow, first_invalid_row
from service.experiment.scalars import scalar_defaults
from service.fusion import compile_formula
from tests.experiment.packages import golden, manifest


def run(source: str, rows: Golden) -> InvalidRow | None:
    toy = manifest()
    defaults = scalar_defaults(toy.schema_)
    formula = compile_formula(
        source, heads=toy.head_names, attributes=["videolen_s"], scalars=defaults
    )
    return first_invalid_row(formula, toy, rows, {n: defaults[n] for n in formula.scalars})


def test_a_formula_that_scores_every_row_is_fine():
    assert run("ctr^0.3 * (1 + vcr) / log1p(videolen_s)", golden()) is None


def test_the_first_invalid_row_is_named_with_what_the_formula_read():
    found = run("log(ctr - 0.15) * vcr", golden())
    assert str(found) == "golden row 0 (ctr = 0.05, vcr = 0.15)"
    found = run("1 / like", golden(like=[0.1, 0.2, 0, 0.1, 0, 0.1, 0.1, 0.1]))
    assert str(found) == "golden row 2 (like = 0)"


def test_a_head_that_is_nan_is_found():
    found = run("ctr", golden(ctr=[0.1] * 7 + [float("nan")]))
    assert str(found) == "golden row 7 (ctr = nan)"


def test_each_row_has_its_own_scalars():
    assert run("ctr / (context.hour - 9)", golden()) is None
    found = run("ctr / (context.hour - 20)", golden())
    assert str(found) == "golden row 4 (ctr = 0.25, context.hour = 20)"
    assert str(run("log(user.age - 20)", golden())) == "golden row 0 (user.age = 20)"


def test_a_categorical_scalar_that_a_row_lacks_is_no_silent_zero():
    rows = golden()
    raw: list[Any] = [{**row, "user": {"features": {"age": 1}}} for row in rows.raw]
    without_id = Golden(raw=raw, encoded=rows.encoded, heads=rows.heads)
    assert str(run("ctr + user.user_id", without_id)) == (
        "golden row 0 (ctr = 0.05, user.user_id = nan)"
    )


def test_rows_with_equal_scalars_are_one_candidate_set():
    # zscore is 0 for a single candidate: only a set of several can be non-zero everywhere
    assert run("1 / (rank(ctr) - 9) + 0 * context.hour", golden()) is None
    assert str(run("1 / (rank(ctr) - 8)", golden())) == "golden row 0 (ctr = 0.05)"
    assert run("1 / (rank(ctr) - 8) + 0 * context.hour", golden()) is None


def test_an_absent_attribute_takes_its_default():
    rows = golden()
    raw: list[Any] = [{**row, "item": {"id": "1"}} for row in rows.raw]
    assert run("1 / videolen_s", Golden(raw, rows.encoded, rows.heads)) is None
    assert np.all(
        Golden(raw, rows.encoded, rows.heads).attributes(manifest().schema_)["videolen_s"] == 15
    )
