import contextlib
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.fusion.errors import FormulaError
from service.fusion.parser import Signature, parse, parse_signature
from service.fusion.tree import Call, Name, Number


@pytest.mark.parametrize(
    ("source", "bracketed"),
    [
        ("2^3^2", "2^(3^2)"),
        ("-2^2", "-(2^2)"),
        ("2^-1", "2^(-1)"),
        ("2^-x^2", "2^(-(x^2))"),
        ("a ** b", "a ^ b"),
        ("a * -1", "a * (-1)"),
        ("-a * b", "(-a) * b"),
        ("a - b - c", "(a - b) - c"),
        ("a / b / c", "(a / b) / c"),
        ("a + b * c ^ d", "a + (b * (c ^ d))"),
        ("a - -b", "a - (-b)"),
        ("not a < b and c < d or e < f", "((not (a < b)) and (c < d)) or (e < f)"),
        ("not not a < b", "not (not (a < b))"),
        ("a + b < c * d", "(a + b) < (c * d)"),
        ("a # a comment ( with $ anything\n * b", "a * b"),
    ],
)
def test_precedence_reads_as(source, bracketed):
    assert parse(source) == parse(bracketed)


@pytest.mark.parametrize(
    ("source", "value"),
    [("1e-3", 0.001), ("1E+2", 100), (".5", 0.5), ("2.", 2), ("007", 7), ("0e5", 0)],
)
def test_numbers(source, value):
    assert parse(source) == Number(float(value))


def test_keywords_inside_names_are_names():
    assert parse("notable + android + iffy") == parse("(notable + android) + iffy")
    assert parse("nota") == Name("nota")


def test_spans_cover_what_was_written():
    source = "1 + (a*b) ^ f( c )"
    tree = parse(source)
    assert isinstance(tree, Call)
    power = tree.operands[1]
    assert isinstance(power, Call)
    spans = [tree.span, power.span, power.operands[0].span, power.operands[1].span]
    assert [source[first:last] for first, last in spans] == [
        source, "(a*b) ^ f( c )", "(a*b)", "f( c )",
    ]  # fmt: skip
    assert source[slice(*power.mark)] == "^"


@pytest.mark.parametrize(
    ("source", "message", "column", "suggestion"),
    [
        ("", "the text is empty: write an expression, such as ctr * cvr", 1, None),
        (" # nothing", "expected a number, a name or '(', found the end", 11, None),
        ("${ctr} * 2", "names stand by themselves here, without '$': write ctr", 1, "ctr"),
        ("2 * ${ ctr }", "names stand by themselves here, without '$': write ctr", 5, "ctr"),
        ("2 * $", "names stand by themselves here, without '$'", 5, None),
        ("(ctr + cvr", "this bracket is never closed", 1, None),
        ("f(a, (b)", "this bracket is never closed", 2, None),
        ("ctr)", "this bracket closes nothing", 4, None),
        ("ctr +", "expected a number, a name or '(', found the end", 6, None),
        ("ctr cvr", "expected an operator or the end, found 'cvr'", 5, None),
        ("2 (ctr)", "expected an operator or the end, found '('", 3, None),
        ("1e * ctr", "expected an operator or the end, found 'e'", 2, None),
        ("f(a,)", "expected a number, a name or '(', found ')'", 5, None),
        ("+ctr", "expected a number, a name or '(', found '+'", 1, None),
        ("a < b < c", "comparisons do not chain: write a < b and b < c", 7, None),
        ("a = b", "'=' means nothing here: write ==", 3, "=="),
        ("a && b", "'&' means nothing here: write and", 3, "and"),
        ("a ? b : c", "'?' means nothing here: write if(c, a, b)", 3, "if(c, a, b)"),
        ("（ctr）", "'（' means nothing here: write (", 1, "("),
        ("a × b", "'×' means nothing here: write *", 3, "*"),
        ("a % b", "'%' means nothing here", 3, None),
        ("'a'", '"\'" means nothing here', 1, None),
        ("a[0]", "'[' means nothing here: write (", 2, "("),
        ("a.b.c", "'.' means nothing here", 4, None),
        ("1e999", "1e999 is too large for a number", 1, None),
        ("1 + 1e-999", "1e-999 is too small for a number: it would be 0", 5, None),
    ],
)
def test_a_syntax_error_says_what_and_where(source, message, column, suggestion):
    with pytest.raises(FormulaError) as caught:
        parse(source)
    error = caught.value
    assert (error.message, error.line, error.column) == (message, 1, column)
    assert error.suggestion == suggestion
    assert error.source == source


def test_an_error_on_a_later_line_points_there():
    with pytest.raises(FormulaError) as caught:
        parse("ctr *\n\t(cvr +\n ?)")
    assert (caught.value.line, caught.value.column) == (3, 2)
    assert str(caught.value).endswith("     ?)\n     ^")


def test_length_is_limited_in_bytes():
    assert parse("1" + " " * 4095) == Number(1.0)
    with pytest.raises(FormulaError, match="the text has 4097 bytes; the limit is 4096"):
        parse("1" + " " * 4096)
    with pytest.raises(FormulaError, match="the text has 4504 bytes; the limit is 4096"):
        parse("1 #" + "é" * 2250 + "x")


def test_nesting_of_brackets_is_limited():
    parse("(" * 64 + "1" + ")" * 64)
    parse("abs(" * 64 + "1" + ")" * 64)
    for source in ("(" * 65 + "1" + ")" * 65, "abs(" * 65 + "1" + ")" * 65, "(" * 4096):
        with pytest.raises(FormulaError, match="brackets nest deeper than 64") as caught:
            parse(source)
        assert source[: caught.value.column].count("(") == 65


@pytest.mark.parametrize(
    "link", ["1+", "1*", "1-", "1/", "1^", "-", "1^-", "1<2 and ", "not 1<2 or "]
)
def test_a_chain_as_long_as_the_text_may_be_parses(link):
    source = link * (4090 // len(link)) + ("1<2" if link[-1] == " " else "1")
    assert parse(source).span == (0, len(source))


@pytest.mark.parametrize(
    ("key", "signature"),
    [("boost", ("boost", ())), ("f(x)", ("f", ("x",))), (" g( x ,k )", ("g", ("x", "k")))],
)
def test_the_left_side_of_a_let(key, signature):
    assert parse_signature(key) == Signature(*signature)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "the text is empty"),
        ("f()", "expected a name, found '\\)'"),
        ("f(1)", "expected a name, found '1'"),
        ("f(x", "this bracket is never closed"),
        ("f(x) y", "expected an operator or the end, found 'y'"),
        ("a + b", "expected an operator or the end, found '\\+'"),
        ("context.x", "'context.x' has a dot: only scalars such as context.hour have one"),
        ("f(user.age)", "'user.age' has a dot"),
        ("not", "expected a name, found 'not'"),
    ],
)
def test_a_bad_left_side_of_a_let_is_refused(key, message):
    with pytest.raises(FormulaError, match=message):
        parse_signature(key)


PIECES = [
    *string.printable,
    "ctr",
    "if(",
    "min(",
    "and ",
    "not ",
    "1e-3",
    "**",
    "${",
    "<=",
    "é",
    "\x00",
    "\ud800",
]


@settings(deadline=None, max_examples=500)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
@example("\ud800")
@example("1" * 5000)
def test_a_text_parses_or_is_a_formula_error(source):
    for read in (parse, parse_signature):
        try:
            read(source)
        except FormulaError as error:
            shown = error.excerpt
        else:
            continue
        assert len(shown.split("\n")) == 2


@pytest.mark.parametrize(
    "piece", ["(", "-", "1+", "a(", "1e", "not ", "if(a<b,", "9", "x", "#", "$", "\n"]
)
@pytest.mark.timeout(10)  # what is measured is 0.03 s; only runaway work comes near
def test_the_worst_texts_are_answered_at_once(piece):
    with contextlib.suppress(FormulaError):
        parse((piece * 4096)[:4096])
