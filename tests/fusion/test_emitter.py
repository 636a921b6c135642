import pytest

from service.fusion import FormulaError, compile_formula
from service.fusion.functions import FUNCTIONS

NAMES = {
    "heads": ("ctr", "cvr", "ctcvr", "vcr"),
    "attributes": ("videolen_s", "price"),
    "scalars": ("context.hour", "user.age"),
}


def refused(source, lets=None, params=None):
    with pytest.raises(FormulaError) as caught:
        compile_formula(source, lets=lets or {}, params=params or {}, **NAMES)
    return caught.value


@pytest.mark.parametrize(
    ("source", "message", "place", "suggestion"),
    [
        ("ctr * cvrr", "unknown name 'cvrr': did you mean 'cvr'?", "cvrr", "cvr"),
        ("CTR", "unknown name 'CTR': did you mean 'ctr'?", "CTR", "ctr"),
        (
            "ctr * vidolen_s",
            "unknown name 'vidolen_s': did you mean 'videolen_s'?",
            "vidolen_s",
            "videolen_s",
        ),
        (
            "context.huor",
            "unknown name 'context.huor': did you mean 'context.hour'",
            "context.huor",
            "context.hour",
        ),
        ("ctr ^ weight", "unknown name 'weight' (known: ctcvr, ctr", "weight", None),
        (
            "ctr * log1p",
            "log1p is a function: write it with its arguments, log1p(…)",
            "log1p",
            None,
        ),
        ("ctr * f", "f is a function: write f(x)", "f", None),
        ("1 + lgo(ctr)", "unknown function 'lgo': did you mean 'log'?", "lgo", "log"),
        ("ctr(2)", "ctr is a head, not a function", "ctr", None),
        ("price(2)", "price is an attribute, not a function", "price", None),
        ("boost(2)", "boost is a let, not a function", "boost", None),
        ("a(2)", "a is a param, not a function", "a", None),
        ("pow(ctr, 2)", "unknown function 'pow'", "pow", None),
        ("__import__(ctr)", "unknown function '__import__'", "__import__", None),
        (
            "2 * clip(ctr, 1)",
            "clip takes 3 arguments, as in clip(x, lo, hi); 2 given",
            "clip",
            None,
        ),
        ("log(1, 2)", "log takes 1 argument, as in log(x); 2 given", "log", None),
        ("rank()", "rank takes 1 argument, as in rank(x); 0 given", "rank", None),
        ("min(1)", "min takes at least 2 arguments, as in min(a, b, …); 1 given", "min", None),
        ("f(1, 2)", "f takes 1 argument, as in f(x); 2 given", "f", None),
        ("if(ctr, 1, 2)", "if(c, a, b) takes a comparison here, not a number", "ctr", None),
        ("if(1 < 2, 1 < 2, 2)", "if(c, a, b) takes a number here, not a comparison", "1 < 2", None),
        ("1 + (ctr > 2)", "a + b takes a number here, not a comparison", "(ctr > 2)", None),
        ("not ctr", "not a takes a comparison here, not a number", "ctr", None),
        ("ctr and 1 < 2", "a and b takes a comparison here, not a number", "ctr", None),
        ("rank(1 < 2)", "rank(x) takes a number here, not a comparison", "1 < 2", None),
        ("(1 < 2) == (1 < 2)", "a == b takes a number here, not a comparison", "(1 < 2)", None),
        ("ctr > 0.5", "the score must be a number, not a comparison", "ctr > 0.5", None),
        (
            "clip(ctr, 2, a)",
            "clip has its bounds the wrong way round: 2 > 0.5",
            "clip(ctr, 2, a)",
            None,
        ),
        (
            "piecewise(ctr, 1, 2, 3, 4, 5)",
            "piecewise takes pairs x1, y1, x2, y2 … after x; 5 numbers are",
            "piecewise(ctr, 1, 2, 3, 4, 5)",
            None,
        ),
        (
            "piecewise(ctr, 0, 1, cvr, 2)",
            "the points of piecewise must be numbers or params",
            "piecewise(ctr, 0, 1, cvr, 2)",
            None,
        ),
        (
            "piecewise(ctr, 0, 1, 1 / 0, 2)",
            "the points of piecewise must be numbers or params",
            "piecewise(ctr, 0, 1, 1 / 0, 2)",
            None,
        ),
        (
            "piecewise(ctr, 1, 1, a, 2)",
            "the points of piecewise must go up in x: 1 is before 0.5",
            "piecewise(ctr, 1, 1, a, 2)",
            None,
        ),
        (
            "piecewise(ctr, 1, 1)",
            "piecewise takes at least 5 arguments, as in piecewise(x, x1, y1, x2, y2",
            "piecewise",
            None,
        ),
    ],
)
def test_what_a_formula_means_is_checked(source, message, place, suggestion):
    error = refused(source, lets={"f(x)": "x + 1", "boost": "2"}, params={"a": 0.5})
    assert error.message.startswith(message)
    assert source[slice(*error.span)] == place
    assert error.column == error.span[0] + 1
    assert error.suggestion == suggestion


def test_an_unknown_name_is_shown_with_those_known():
    assert str(refused("ctr * cvrr")) == (
        "unknown name 'cvrr': did you mean 'cvr'? (known: ctcvr, ctr, cvr, vcr, price, "
        "videolen_s, context.hour, user.age, rank_in)\n"
        "  score, line 1, column 7\n"
        "    ctr * cvrr\n"
        "          ^~~~"
    )


def test_an_error_in_a_let_is_shown_in_its_text():
    error = refused("ctr * f(ctr)", lets={"f(x)": "1 / (1 + y)"})
    assert (error.where, error.source, error.column) == ("let f(x)", "1 / (1 + y)", 10)
    assert error.message.startswith("unknown name 'y' (known: x, ctcvr")


@pytest.mark.parametrize("lets", [{"f(x)": "x + y"}, {"g": "1 + lgo(2)"}, {"g": "if(1, 2, 3)"}])
def test_a_let_that_nobody_uses_is_checked_too(lets):
    assert refused("ctr", lets=lets).where == f"let {next(iter(lets))}"


def test_a_let_is_checked_with_what_it_is_called_with():
    lets = {"f(x)": "x + 1", "curve(x, k)": "piecewise(x, 0, 0, k, 1)", "both(p, q)": "p and q"}
    assert refused("f(ctr > 1)", lets=lets).where == "let f(x)"
    assert "must go up" in refused("curve(ctr, 0)", lets=lets).message
    assert "numbers or params" in refused("curve(ctr, cvr)", lets=lets).message
    compile_formula(
        "if(both(ctr > 0, cvr > 0), curve(ctr, a), 0)", lets=lets, params={"a": 2}, **NAMES
    )


def test_parameters_of_one_let_are_unknown_in_another():
    assert "unknown name 'x'" in refused("f(1)", lets={"f(x)": "g", "g": "x + 1"}).message


def test_nodes_are_limited_after_lets_are_expanded():
    compile_formula("+".join(["1"] * 256), heads=())
    message = "the formula has more than 512 nodes once its lets are expanded"
    assert refused("+".join(["1"] * 257)).message == message
    assert refused("-" * 512 + "1").message == message
    values = {"l0": "ctr + ctr", **{f"l{i}": f"l{i - 1} + l{i - 1}" for i in range(1, 40)}}
    assert refused("l39", lets=values).message == message
    calls = {"f0(x)": "x + x", **{f"f{i}(x)": f"f{i - 1}(f{i - 1}(x))" for i in range(1, 40)}}
    assert refused("f39(ctr)", lets=calls).message == message
    nested = "f(" * 9 + "ctr" + ")" * 9
    assert refused(nested, lets={"f(x)": "x + x"}).message == message


@pytest.mark.timeout(10)
def test_lets_that_drop_their_arguments_cannot_hide_endless_work():
    lets = {"zero(x)": "0", "h0(x)": "x"}
    lets |= {f"h{i}(x)": f"zero(h{i - 1}(x)) + zero(h{i - 1}(x + {i}))" for i in range(1, 60)}
    assert "more than 512 nodes" in refused("h59(ctr)", lets=lets).message


@pytest.mark.parametrize("link", ["1+", "1*", "1-", "1/", "1^"])
def test_a_chain_as_long_as_the_limit_runs(link):
    formula = compile_formula("ctr *" + link * 254 + "1", heads=("ctr",))
    assert formula({"ctr": [0.5]}, rows=1).valid.all()
    assert formula.explain({"ctr": [0.5]}, rows=1)


def test_lets_as_deep_as_the_limit_run():
    lets = {f"l{i}(x)": f"abs(l{i + 1}(x))" for i in range(63)} | {"l63(x)": "x"}
    formula = compile_formula("abs(" * 60 + "l0(ctr)" + ")" * 60, lets=lets, heads=("ctr",))
    assert formula({"ctr": [-0.5]}, rows=1).values.tolist() == [0.5]


def test_equal_expressions_run_once_and_constants_never():
    formula = compile_formula(
        "f(ctr) + f(ctr) * (a / 30 + 2^3)",
        lets={"f(x)": "log1p(x) ^ a"},
        params={"a": 2},
        heads=("ctr",),
    )
    calls = [step.call for step in formula._program.steps[: formula._program.scored]]
    expected = ["log1p", "^", "*", "+"]
    assert calls == [FUNCTIONS[name].call for name in expected]
