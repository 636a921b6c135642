"""A finding is a sentence and a place; near names are offered."""

from service.experiment.findings import Finding, did_you_mean, errors, pointer


def test_a_pointer_is_escaped_as_rfc_6901_says():
    assert pointer() == ""
    assert pointer("formulas", "base", "let", "f(x)", 0) == "/formulas/base/let/f(x)/0"
    assert pointer("a/b", "c~d", "~1") == "/a~1b/c~0d/~01"


def test_the_nearest_name_is_offered_else_what_there_is():
    assert did_you_mean("vrc", ["ctr", "vcr"]) == "; did you mean 'vcr'?"
    assert did_you_mean("zzz", ["vcr", "ctr"]) == " (known: ctr, vcr)"
    assert did_you_mean("zzz", []) == " (known: none)"


def test_a_finding_reads_as_place_sentence_and_caret():
    assert str(Finding("error", "/a", "wrong")) == "/a: wrong"
    assert str(Finding("error", "", "wrong")) == "/: wrong"
    assert str(Finding("error", "/a", "wrong", 1, 2, "xy\n ^")) == "/a: wrong\nxy\n ^"


def test_warnings_are_no_errors():
    wrong, doubtful = Finding("error", "/a", "x"), Finding("warning", "/b", "y")
    assert errors([doubtful, wrong]) == [wrong]
