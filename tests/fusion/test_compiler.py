import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.fusion import FormulaError, compile_formula, order
from service.fusion.tree import Node
from tests.fusion import trees
from tests.fusion.reference import Reference

LIMITS = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


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


HEADS = ("ctr", "cvr", "ctcvr", "vtr", "vcr", "like", "report")
ATTRIBUTES = ("videolen_s", "price")
ROWS = 50
RANDOM = np.random.default_rng(7)
COLUMNS = {
    **{head: RANDOM.uniform(0.01, 0.99, ROWS) for head in HEADS},
    "videolen_s": RANDOM.uniform(1, 300, ROWS),
    "price": RANDOM.uniform(1, 1000, ROWS),
}


def score(source, lets=None, params=None, scalars=None, columns=COLUMNS):
    formula = compile_formula(
        source,
        lets=lets or {},
        params=params or {},
        heads=HEADS,
        attributes=ATTRIBUTES,
        scalars=list(scalars or ()),
    )
    scores = formula(columns, scalars or {}, rows=len(columns["ctr"]))
    assert scores.valid.all()
    return scores.values


def ranks(column):
    return 1 + np.argsort(np.argsort(-column))


@pytest.mark.parametrize(
    ("shape", "source", "expected"),
    [
        ("weighted sum with negative heads", "0.5 * like + 11 * ctr - 369 * report",
         lambda c: 0.5 * c["like"] + 11 * c["ctr"] - 369 * c["report"]),
        ("click-gated sum", "ctr * (1 + 2 * like + 4 * cvr)",
         lambda c: c["ctr"] * (1 + 2 * c["like"] + 4 * c["cvr"])),
        ("product with offsets", "(1 + 2 * ctr)^0.5 * (1 + 3 * vcr)^1.2",
         lambda c: (1 + 2 * c["ctr"]) ** 0.5 * (1 + 3 * c["vcr"]) ** 1.2),
        ("power product with price", "ctr^0.6 * cvr^0.4 * price^0.3",
         lambda c: c["ctr"] ** 0.6 * c["cvr"] ** 0.4 * c["price"] ** 0.3),
        ("ensemble sort of ranks", "2 / (rank(ctr)^0.7 + 10) + 1 / (rank(vcr)^0.9 + 5)",
         lambda c: 2 / (ranks(c["ctr"]) ** 0.7 + 10) + 1 / (ranks(c["vcr"]) ** 0.9 + 5)),
        ("completion by duration", "vcr * saturate(videolen_s, 30)",
         lambda c: c["vcr"] * c["videolen_s"] / (c["videolen_s"] + 30)),
        ("expected time", "ctr * vcr * min(videolen_s, 120)",
         lambda c: c["ctr"] * c["vcr"] * np.minimum(c["videolen_s"], 120)),
        ("gate", "ctr + if(videolen_s > 10, 0.3 * vtr, 0)",
         lambda c: c["ctr"] + np.where(c["videolen_s"] > 10, 0.3 * c["vtr"], 0)),
        ("boost", "ctr * if(price < 50 and like > 0.2 or report < 0.05, 1.2, 1)",
         lambda c: c["ctr"] * np.where(
             (c["price"] < 50) & (c["like"] > 0.2) | (c["report"] < 0.05), 1.2, 1)),
        ("position decay", "ctr * decay(rank_in - 1, 10)",
         lambda c: c["ctr"] * 2.0 ** (-np.arange(ROWS) / 10)),
        ("reciprocal rank fusion", "rrf(ctr, 60) + rrf(vtr, 60)",
         lambda c: 1 / (60 + ranks(c["ctr"])) + 1 / (60 + ranks(c["vtr"]))),
        ("normalised sum", "zscore(ctr) + minmax(like)",
         lambda c: (c["ctr"] - c["ctr"].mean()) / c["ctr"].std()
         + (c["like"] - c["like"].min()) / np.ptp(c["like"])),
    ],
)  # fmt: skip
def test_the_fusion_shapes_of_practice(shape, source, expected):
    assert score(source) == pytest.approx(expected(COLUMNS), rel=1e-12), shape


def test_the_formula_of_the_plan_with_a_let_and_params():
    values = score(
        "ctr^a * (1 + vcr)^b * ctcvr^c * f(videolen_s)",
        lets={"f(x)": "1 / (1 + log1p(x / 30))"},
        params={"a": 0.3, "b": 1.2, "c": 0.5},
    )
    c = COLUMNS
    duration = 1 / (1 + np.log1p(c["videolen_s"] / 30))
    expected = c["ctr"] ** 0.3 * (1 + c["vcr"]) ** 1.2 * c["ctcvr"] ** 0.5 * duration
    assert values == pytest.approx(expected, rel=1e-12)


def test_scalars_of_the_request():
    values = score(
        "ctr * if(context.hour >= 20, 1.5, 1) + user.age / 100",
        scalars={"context.hour": 21.0, "user.age": 30.0},
    )
    assert values == pytest.approx(COLUMNS["ctr"] * 1.5 + 0.3, rel=1e-12)


def test_what_a_formula_uses_is_what_it_reaches_through_its_lets():
    formula = compile_formula(
        "boost * f(ctr)",
        lets={"f(x)": "x ^ a", "boost": "g * user.age", "g": "price + 1", "idle": "like ^ b"},
        params={"a": 1, "b": 2},
        heads=HEADS,
        attributes=ATTRIBUTES,
        scalars=("user.age", "context.hour"),
    )
    assert formula.heads == {"ctr"}
    assert formula.attributes == {"price"}
    assert formula.params == {"a"}
    assert formula.scalars == {"user.age"}
    assert str(formula) == "boost * f(ctr)"
    assert formula.source == "boost * f(ctr)"


def test_a_head_with_exponent_0_is_absent():
    with_zero = {**COLUMNS, "like": np.zeros(ROWS)}
    assert (score("ctr^0.3 * like^w", params={"w": 0}, columns=with_zero) == score("ctr^0.3")).all()


def test_exponents_all_0_leave_the_input_order():
    formula = compile_formula("ctr^a * vcr^a", params={"a": 0}, heads=HEADS)
    scores = formula(COLUMNS, rows=ROWS)
    assert order(scores).tolist() == list(range(ROWS))


def test_a_product_equals_its_sum_of_logs():
    direct = score("ctr^0.3 * (1 + vcr)^1.2 / price^0.4")
    logs = score("exp(0.3 * log(ctr) + 1.2 * log1p(vcr) - 0.4 * log(price))")
    assert direct == pytest.approx(logs, rel=1e-12)


def test_a_product_ranks_alike_when_a_head_is_scaled_and_ranks_when_it_is_bent():
    scaled = {**COLUMNS, "ctr": COLUMNS["ctr"] * 0.25}
    product = "ctr^0.3 * vcr^1.2"
    assert (np.argsort(score(product)) == np.argsort(score(product, columns=scaled))).all()
    bent = {**COLUMNS, "ctr": np.exp(3 * COLUMNS["ctr"])}
    fused = "1 / (rank(ctr) + 60) + 1 / (rank(vcr) + 60)"
    assert (score(fused) == score(fused, columns=bent)).all()


def test_a_single_head_orders_by_that_head():
    formula = compile_formula("like", heads=HEADS)
    scores = formula(COLUMNS, rows=ROWS)
    assert order(scores).tolist() == np.argsort(-COLUMNS["like"], kind="stable").tolist()


@LIMITS
@given(st.data())
def test_scores_move_with_their_candidates(data):
    names = tuple(name for name in trees.GLOBALS if name != "rank_in")
    tree = data.draw(trees.numbers(names))
    rows = data.draw(st.integers(2, 6))
    # Distinct values: equal ones are ranked by input order, on purpose.
    columns = {
        name: np.array(data.draw(st.permutations(np.linspace(-1, 2, rows).tolist())))
        for name in (*trees.HEADS, *trees.ATTRIBUTES)
    }
    assume("rank" not in str(tree) and "rrf" not in str(tree))
    reference = Reference(columns, rows, dict.fromkeys(trees.SCALARS, 0.5), {"a": 0.3, "b": 2.0})
    well_conditioned(tree, reference)
    formula = compile_case(tree, reference)
    shuffled = np.array(data.draw(st.permutations(range(rows))))
    moved = {name: values[shuffled] for name, values in columns.items()}
    one = formula(columns, reference.scalars, rows=rows)
    other = formula(moved, reference.scalars, rows=rows)
    assert (other.valid == one.valid[shuffled]).all()
    expected = one.values[shuffled][other.valid]
    assert other.values[other.valid] == pytest.approx(expected, rel=1e-9, abs=1e-190)


def test_ranks_move_with_their_candidates_where_no_two_are_equal():
    shuffled = np.random.default_rng(1).permutation(ROWS)
    moved = {name: values[shuffled] for name, values in COLUMNS.items()}
    source = "rank(ctr) + 10 * rrf(vcr, 60) + zscore(like)"
    assert score(source, columns=moved) == pytest.approx(score(source)[shuffled], rel=1e-12)


# What other engines do silently with these is a test each here: refused, or right.
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ctr * missing", "unknown name 'missing'"),
        ("(ctr+cvr", "this bracket is never closed"),
        ("ctr+", "expected a number, a name or '(', found the end"),
        ("ctr cvr", "expected an operator or the end, found 'cvr'"),
        ("${ctr} * -1", "names stand by themselves here, without '$': write ctr"),
        ("hash(ctr)", "unknown function 'hash'"),
    ],
)
def test_what_other_engines_score_silently_is_refused(source, message):
    with pytest.raises(FormulaError) as caught:
        compile_formula(source, heads=HEADS)
    assert caught.value.message.startswith(message)


def test_scientific_notation_unary_minus_and_powers_are_those_of_mathematics():
    assert score("1e-3 * ctr") == pytest.approx(COLUMNS["ctr"] / 1000, rel=1e-15)
    assert (score("ctr * -1") == -COLUMNS["ctr"]).all()
    assert (score("2^3^2 + 0 * ctr") == 512).all()


def test_a_weight_of_0_switches_its_head_off():
    assert (score("ctr + w * like", params={"w": 0}) == COLUMNS["ctr"]).all()


def test_a_division_by_zero_costs_its_candidate_only():
    columns = {"ctr": np.array([0.3, 0.2, 0.1]), "vcr": np.array([0.5, 0.0, 0.5])}
    scores = compile_formula("ctr / vcr", heads=HEADS)(columns, rows=3)
    assert scores.valid.tolist() == [True, False, True]
    assert order(scores).tolist() == [0, 2, 1]


def test_a_name_has_no_precedence_to_guess_because_it_has_one_meaning():
    with pytest.raises(FormulaError, match="'price' is both an attribute and a param"):
        compile_formula("price", params={"price": 1}, heads=HEADS, attributes=ATTRIBUTES)


def test_the_same_call_gives_the_same_bits():
    formula = compile_formula(
        "zscore(ctr)^2 + sigmoid(vcr) + log1p(price)", heads=HEADS, attributes=ATTRIBUTES
    )
    one, other = (formula(COLUMNS, rows=ROWS).values.tobytes() for _ in range(2))
    assert one == other


def test_text_of_a_formula_compiles_to_the_same_scores():
    source = "(ctr - -cvr) ** 2 ** .5 / (vcr / like) - (1 - ctr) # comment"
    formula = compile_formula(source, heads=HEADS)
    again = compile_formula(str(formula), heads=HEADS)
    assert again.tree == formula.tree
    assert (again(COLUMNS, rows=ROWS).values == formula(COLUMNS, rows=ROWS).values).all()


PIECES = [
    *HEADS,
    "log",
    "if(",
    "rank(",
    "f(",
    "(",
    ")",
    ",",
    "+",
    "-",
    "*",
    "/",
    "^",
    "<",
    "and",
    "not",
    "2",
    "1e300",
    " ",
    "b",
]


@LIMITS
@given(st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join))
def test_a_text_compiles_and_runs_or_is_a_formula_error(source):
    for lets in ({"f(x)": "x / b"}, {"f(x)": source}):
        try:
            formula = compile_formula(source, lets=lets, params={"b": 2}, heads=HEADS)
        except FormulaError:
            continue
        assert formula(COLUMNS, rows=ROWS).values.shape == (ROWS,)


@pytest.mark.parametrize(
    ("text", "by_itself"),
    [
        ("ctr * vcr", True),
        ("rank(ctr)", False),
        ("ctr + minmax(vcr)", False),
        ("ctr / rank_in", False),
        ("g(ctr)", False),
    ],
)
def test_a_formula_says_whether_candidates_are_scored_by_themselves(text, by_itself):
    formula = compile_formula(text, lets={"g(x)": "zscore(x)"}, heads=["ctr", "vcr"])
    assert formula.by_itself == by_itself
