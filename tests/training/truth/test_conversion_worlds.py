"""The grid that stands for infinitely many impressions, and logs drawn from the same truth."""

import pytest

from training.truth.conversion_worlds import WORLDS, draw, population


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_drawn_log_has_the_populations_clicks_and_conversions(world):
    infinite, drawn = population(world), draw(world, 200_000, seed=1)
    assert infinite.weight.sum().item() == pytest.approx(1)
    for of in (lambda r: r.click.double(), lambda r: r.label, lambda r: r.x * r.click):
        expected = (of(infinite) * infinite.weight).sum().item()
        assert of(drawn).mean().item() == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_nothing_converts_unclicked(world):
    for rows in (population(world), draw(world, 1000, seed=0)):
        assert not rows.label[~rows.click].any()


def test_among_those_who_click_conversion_differs_from_everybodys_only_where_a_cause_is_hidden():
    for world in WORLDS:
        rows, curves = population(world), world.curves()
        here = rows.click & (rows.x.abs() < 1e-9)
        of_clicked = (rows.label * rows.weight)[here].sum() / rows.weight[here].sum()
        middle = curves["cvr"][len(curves["x"]) // 2]
        assert (abs(of_clicked.item() - middle) > 0.05) == world.hidden
