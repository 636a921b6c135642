"""The parser under texts that are no formulas: seconds here, ten minutes by hand or `--long`."""

import time

import pytest

from loadtest import parser_fuzz
from loadtest.parser_fuzz import Found, fuzz


def test_ten_seconds_of_texts_crash_hang_and_grow_nothing():
    drill = fuzz(10, seed=time.time_ns() % 1_000_000)
    assert drill.texts > 1_000
    assert drill.outcomes["formula"] > 50
    assert len(drill.outcomes) > 10
    assert drill.slowest_s < parser_fuzz.SLOWEST_S


@pytest.mark.long
@pytest.mark.timeout(700)
def test_ten_minutes_of_texts_crash_hang_and_grow_nothing():
    fuzz(600, seed=time.time_ns() % 1_000_000)


def test_what_must_not_happen_is_found_with_its_text_and_seed(monkeypatch):
    def broken(text, rng):
        raise RecursionError("too deep")

    monkeypatch.setattr(parser_fuzz, "_try", broken)
    with pytest.raises(Found, match=r"seed 7: RecursionError: too deep: '"):
        fuzz(5, seed=7)
    monkeypatch.setattr(parser_fuzz, "_try", lambda text, rng: "formula")
    monkeypatch.setattr(parser_fuzz, "SLOWEST_S", -1.0)
    with pytest.raises(Found, match="s of CPU"):
        fuzz(5, seed=7)
