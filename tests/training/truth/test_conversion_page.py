"""The page about known truth: all worlds and estimators, and a plot that stands beside it."""

from training.truth.conversion_estimators import ESTIMATORS
from training.truth.conversion_page import write
from training.truth.conversion_worlds import WORLDS


def test_the_page_shows_every_estimator_in_every_world_and_names_its_plot(tmp_path):
    page = tmp_path / "truth.md"
    write(page, rows=500, seeds=2)
    text = page.read_text()
    for world in WORLDS:
        assert f"## {world.name.capitalize()}\n" in text
    for name in ESTIMATORS:
        assert text.count(f"\n| {name} | ") == len(WORLDS)
    assert "](truth.svg)" in text
    assert "-0.0%" not in text
    assert (tmp_path / "truth.svg").read_text().lstrip().startswith("<?xml")
