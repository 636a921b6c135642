"""Conditions are the formula language over request-wide values, and always true or false."""

import math

import pytest

from service.fusion import FormulaError, compile_condition

NAN = math.nan


def test_a_condition_names_what_it_reads_in_order():
    condition = compile_condition("user.is_new == 1 or context.hour >= 20 and context.tab == 1")
    assert condition.scalars == ("context.hour", "context.tab", "user.is_new")


@pytest.mark.parametrize(
    ("text", "values", "met"),
    [
        ("context.a == 1", (1.0,), True),
        ("context.a == 1", (2.0,), False),
        ("context.a == 1", (NAN,), False),
        ("context.a != 1", (NAN,), False),
        ("not context.a == 1", (NAN,), False),
        ("context.a == 1 or context.b == 1", (1.0, NAN), True),
        ("context.a == 1 or context.b == 1", (NAN, 1.0), False),
        ("context.a == 1 and context.b == 1", (0.0, NAN), False),
        ("1 / context.a > 0", (0.0,), False),
        ("log(context.a) < 5", (-1.0,), False),
        ("max(context.a, 3) + 1 == 4", (2.0,), True),
        ("1 < 2", (), True),
    ],
)
def test_conditions_follow_the_language(text: str, values: tuple[float, ...], met: bool):
    condition = compile_condition(text)
    assert condition(values) is met
    assert condition(values) is met  # remembered


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("tab == 1", "a condition reads context.<name> and user.<name>, not 'tab'", 1),
        ("1 == item.price", "a condition reads context.<name> and user.<name>, not 'item", 6),
        ("rank_in < 3", "a condition reads context.<name> and user.<name>, not 'rank_in'", 1),
        ("context.tab", "a condition compares, as in context.tab == 1; this is a number", 1),
        ("rank(context.a) < 2", "rank looks across candidates; a condition has none", 1),
        ("context.tab = 1", "'=' means nothing here: write ==", 13),
        ("", "the text is empty", 1),
    ],
)
def test_everything_wrong_is_shown_with_its_place(text: str, message: str, column: int):
    with pytest.raises(FormulaError) as caught:
        compile_condition(text)
    assert message in caught.value.message
    assert (caught.value.where, caught.value.column) == ("when", column)
