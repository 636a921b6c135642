import pytest

from service.fusion.errors import FormulaError, nearest


def test_an_error_shows_sentence_place_line_and_caret():
    source = "ctr *\n  cvrr + 1"
    error = FormulaError("unknown name 'cvrr'", source=source, span=(8, 12), suggestion="cvr")
    assert (error.line, error.column, error.suggestion) == (2, 3, "cvr")
    assert str(error) == (
        "unknown name 'cvrr'\n  score, line 2, column 3\n      cvrr + 1\n      ^~~~"
    )


def test_the_caret_lines_up_after_tabs():
    error = FormulaError("no", source="\tctr\t* x", span=(7, 8))
    assert error.excerpt == "    \tctr\t* x\n    \t   \t  ^"


def test_a_long_line_is_shown_around_its_place():
    error = FormulaError("no", source="a + " * 500 + "?" + " + b" * 400, span=(2000, 2001))
    shown, caret = error.excerpt.split("\n")
    assert len(shown) < 120
    assert shown[caret.index("^")] == "?"
    assert shown.startswith("    …")
    assert shown.endswith("…")


def test_only_the_side_that_is_cut_has_an_ellipsis():
    def shown(source, at):
        return FormulaError("no", source=source, span=(at, at + 1)).excerpt.split("\n")[0][4:]

    assert shown("x" * 61 + "?", 61) == "…" + "x" * 60 + "?"
    assert shown("x" * 60 + "?", 60) == "x" * 60 + "?"
    assert shown("?" + "x" * 40, 0) == "?" + "x" * 39 + "…"
    assert shown("?" + "x" * 39, 0) == "?" + "x" * 39


def test_a_place_after_the_end_has_a_caret_there():
    assert FormulaError("no", source="ctr *", span=(5, 6)).excerpt == "    ctr *\n         ^"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("cvrr", "cvr"), ("CTR", "ctr"), ("ctcv", "ctcvr"), ("zzz", None), ("", None)],
)
def test_nearest_is_a_near_name_or_none(name, meant):
    assert nearest(name, ["ctr", "cvr", "ctcvr"]) == meant
