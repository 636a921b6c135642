"""A refusal stands until something has changed, or its time has come."""

from structlog.testing import capture_logs

from service.experiment.errors import DamagedPlan
from service.experiment.refusals import Refusals, sentence

ALIASES = {"toy": {"champion": 1}}


def test_a_refusal_stands_for_its_version_and_aliases():
    found = Refusals()
    found.add("feed", 7, ALIASES, DamagedPlan("it is damaged"))
    assert found.reasons() == {"feed": "version 7 is refused: it is damaged"}
    assert found.aliases("feed") == ALIASES
    assert found.stands("feed", 7, ALIASES)
    assert not found.stands("feed", 8, ALIASES)
    assert not found.stands("feed", 7, {"toy": {"champion": 2}})
    assert not found.stands("search", 7, ALIASES)
    assert (found.why("feed", 7), found.why("feed", 8)) == ("it is damaged", None)
    found.clear("feed")
    assert (found.reasons(), found.aliases("feed")) == ({}, {})


def test_a_refused_version_is_tried_again_ever_more_rarely():
    now = 100.0
    found = Refusals(clock=lambda: now)
    pauses = []
    for _ in range(8):
        found.add("feed", 7, ALIASES, DamagedPlan("x"))
        start = now
        while found.stands("feed", 7, ALIASES):
            now += 1
        pauses.append(now - start)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    found.add("feed", 8, ALIASES, DamagedPlan("x"))
    now += 2
    assert not found.stands("feed", 8, ALIASES)


def test_what_nobody_expected_is_logged_with_its_traceback():
    bug = ZeroDivisionError("in a hook")
    with capture_logs() as logs:
        Refusals().add("feed", 7, {}, DamagedPlan("x"))
        Refusals().add("feed", 8, {}, bug)
    assert [(e["version"], e["exc_info"]) for e in logs] == [(7, None), (8, bug)]


def test_an_error_without_words_is_named_by_its_class():
    assert sentence(KeyError()) == "KeyError"
