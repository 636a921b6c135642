import math

import pytest

from service.fusion.errors import FormulaError
from service.fusion.scope import read_scope


def scope(lets=None, params=None, heads=("ctr", "cvr"), attributes=("price",), scalars=()):
    return read_scope(
        lets=lets or {}, params=params or {}, heads=heads, attributes=attributes, scalars=scalars
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"params": {"ctr": 1}}, "'ctr' is both a head and a param: a name has one meaning"),
        ({"params": {"price": 1}}, "'price' is both an attribute and a param"),
        ({"lets": {"ctr": "1"}}, "'ctr' is both a head and a let"),
        ({"lets": {"price(x)": "x"}}, "'price' is both an attribute and a let"),
        ({"lets": {"a": "1"}, "params": {"a": 1}}, "'a' is both a param and a let"),
        ({"lets": {"f": "1", "f(x)": "x"}}, "'f' is two lets"),
        ({"attributes": ("ctr",)}, "'ctr' is both a head and an attribute"),
        ({"heads": ("rank_in",)}, "'rank_in' is both a head and a built-in name"),
        ({"params": {"log1p": 1}}, "'log1p' is both a function and a param"),
        ({"lets": {"if(x)": "x"}}, "'if' is both a function and a let"),
        ({"lets": {"rank_in": "1"}}, "'rank_in' is both a let and a built-in name"),
        ({"lets": {"f(x, x)": "x"}}, "'x' is a parameter twice"),
        ({"lets": {"f(ctr)": "ctr"}}, "parameter 'ctr' has the name of a head"),
        ({"lets": {"f(abs)": "abs"}}, "parameter 'abs' has the name of a function"),
        ({"params": {"a": math.nan}}, "param a must be a finite number; it is nan"),
        ({"params": {"a": -math.inf}}, "param a must be a finite number; it is -inf"),
        ({"params": {"a": 10**400}}, "param a must be a finite number; it is 1000"),
        ({"params": {"a": True}}, "param a must be a finite number; it is True"),
    ],
)
def test_one_name_has_one_meaning(given, message):
    with pytest.raises(FormulaError) as caught:
        scope(**given)
    assert caught.value.message.startswith(message)


def test_a_model_may_name_a_head_like_a_function():
    assert scope(heads=("rank", "log")).meanings["rank"] == "head"


def test_the_place_of_a_bad_parameter_is_in_the_left_side():
    with pytest.raises(FormulaError) as caught:
        scope(lets={"ctr2(a, ctr)": "a"})
    assert str(caught.value) == (
        "parameter 'ctr' has the name of a head\n"
        "  let, line 1, column 9\n"
        "    ctr2(a, ctr)\n"
        "            ^~~"
    )


@pytest.mark.parametrize(
    ("lets", "cycles"),
    [
        ({"a": "a + 1"}, ["a → a"]),
        ({"f(x)": "x * f(x - 1)"}, ["f → f"]),
        (
            {"a": "b", "b": "f(1)", "f(x)": "x + a"},
            ["a → b → f → a", "b → f → a → b", "f → a → b → f"],
        ),
    ],
)
def test_a_let_may_not_reach_itself(lets, cycles):
    with pytest.raises(FormulaError) as caught:
        scope(lets=lets)
    assert caught.value.message in [f"a let may not use itself: {cycle}" for cycle in cycles]
    assert caught.value.where.startswith("let ")


def test_a_parameter_may_be_called_like_another_lets_parameter():
    assert set(scope(lets={"f(x)": "x", "g(x)": "f(x)"}).lets) == {"f", "g"}


def test_chains_of_lets_are_limited():
    chain = {f"l{i}(x)": f"l{i + 1}(x)" for i in range(63)}
    scope(lets={**chain, "l63(x)": "x"})
    with pytest.raises(FormulaError, match="lets that use lets nest deeper than 64"):
        scope(lets={**chain, "l63(x)": "l64(x)", "l64(x)": "x"})


def test_a_syntax_error_in_a_let_is_shown_in_its_text():
    with pytest.raises(FormulaError) as caught:
        scope(lets={"f(x)": "1 / (x"})
    assert str(caught.value) == (
        "this bracket is never closed\n  let f(x), line 1, column 5\n    1 / (x\n        ^"
    )
