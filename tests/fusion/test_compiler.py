import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.fusion import FormulaError, compile_formula
from service.fusion.tree import Node
from tests.fusion import trees
from tests.fusion.reference import Reference

LIMITS = settings(deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Node, dict[str, tuple[tuple[str, ...], Node]], Reference]:
    lets = {
        "boost": ((), draw(trees.numbers(depth=2))),
        "f": (("x",), draw(trees.numbers((*trees.GLOBALS, "x", "boost"), depth=2))),
        "g": (("y",), draw(trees.numbers(("ctr", "y"), ("f",), depth=2))),
    }
    tree = draw(trees.numbers((*trees.GLOBALS, "boost"), ("f", "g")))
    rows = draw(st.integers(1, 5))
    columns = {
        name: draw(st.lists(trees.heads, min_size=rows, max_size=rows))
        for name in (*trees.HEADS, *trees.ATTRIBUTES)
    }
    scalars = {name: draw(trees.finite) for name in trees.SCALARS}
    params = {name: draw(trees.finite) for name in trees.PARAMS}
    return tree, Reference(columns, rows, scalars, params, lets)


def well_conditioned(tree: Node, reference: Reference) -> list[float | None]:
    """The reference's scores, where no difference in the last bit of a function decides them."""
    scores = reference.scores(tree)
    for wobble in (1e-13, -1e-13):
        reference.wobble = wobble
        for one, other in zip(scores, reference.scores(tree), strict=True):
            assume((one is None) == (other is None))
            assume(one is None or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-200))
    return scores


def compile_case(tree: Node, reference: Reference):
    lets = {
        f"{name}({parameters[0]})" if parameters else name: str(body)
        for name, (parameters, body) in reference.lets.items()
    }
    try:
        return compile_formula(
            str(tree),
            lets=lets,
            params=reference.params,
            heads=trees.HEADS,
            attributes=trees.ATTRIBUTES,
            scalars=trees.SCALARS,
        )
    except FormulaError as error:
        assume("512 nodes" not in error.message)
        raise


@LIMITS
@given(cases())
def test_compiled_scores_equal_the_slow_reference_on_random_formulas(case):
    tree, reference = case
    formula = compile_case(tree, reference)
    expected = well_conditioned(tree, reference)
    columns = {name: np.array(values) for name, values in reference.columns.items()}
    scores = formula(columns, reference.scalars, rows=reference.rows)
    assert scores.valid.tolist() == [score is not None for score in expected]
    for value, score in zip(scores.values, expected, strict=True):
        if score is None:
            assert math.isnan(value)
        else:
            assert math.isclose(value, score, rel_tol=1e-7, abs_tol=1e-190)
