"""Rows in lists: read, grouped, split by user, scored as serving scores a request."""

import numpy as np
import polars as pl
import pytest

from service.fusion import compile_formula
from tests.training.tune.worlds import generated
from training.tune.errors import TuneError
from training.tune.lists import read_lists


def _compiled(text, lists):
    return compile_formula(text, heads=lists.heads, attributes=lists.attributes)


def test_heads_labels_and_attributes_are_told_apart_by_their_names():
    lists = read_lists(generated(lists=10))
    assert list(lists.heads) == ["ctr", "vtr"]
    assert list(lists.labels) == ["buy", "long"]
    assert list(lists.attributes) == ["videolen_s", "context.hour"]
    assert lists.rows == 120
    assert lists.count == 10
    assert lists.propensity is None
    assert lists.shown.all()


def test_a_list_is_a_request_where_there_is_one_and_else_a_users_day():
    frame = generated(lists=8, size=3)
    assert read_lists(frame).count == 8
    assert read_lists(frame.with_columns(request_id=pl.lit("r"))).count == 1
    assert read_lists(frame, list_by=["user_id"]).count == 4
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    lists = read_lists(shuffled)
    assert (np.diff(lists.of_list) >= 0).all(), "the rows of a list stand together"
    assert lists.heads["ctr"].sum() == pytest.approx(frame["ctr"].sum())


@pytest.mark.parametrize(
    "text", ["ctr^0.5 * vtr", "rank(ctr) + 0.01 * rank_in", "minmax(ctr) * vtr", "zscore(vtr)"]
)
def test_every_list_is_scored_as_a_request_of_its_own(text):
    lists = read_lists(generated(lists=20, size=7))
    formula = _compiled(text, lists)
    scores = lists.score(formula)
    for at in range(lists.count):
        of = lists.of_list == at
        alone = formula({n: v[of] for n, v in lists.heads.items()}, rows=7)
        assert np.array_equal(scores[of], alone.values)


def test_scalars_of_a_request_are_read_from_its_rows():
    lists = read_lists(generated(lists=20))
    scores = lists.score(_compiled("if(context.hour < 12, ctr, -ctr)", lists))
    early = lists.attributes["context.hour"] < 12
    assert np.array_equal(scores, np.where(early, 1, -1) * lists.heads["ctr"])
    assert early.any()
    assert not early.all()


def test_an_invalid_candidate_stands_behind_all_others():
    lists = read_lists(generated(lists=20))
    scores = lists.score(_compiled("log(ctr - 0.5)", lists))
    assert np.isneginf(scores[lists.heads["ctr"] <= 0.5]).all()
    assert np.isfinite(scores[lists.heads["ctr"] > 0.5]).all()


def test_a_split_keeps_every_user_on_one_side_and_repeats_itself():
    lists = read_lists(generated(lists=400))
    rest, held = lists.split(0.3, seed=1)
    assert not set(rest.user) & set(held.user)
    assert rest.rows + held.rows == lists.rows
    assert 0.2 < held.rows / lists.rows < 0.4
    assert rest.count == len(set(rest.of_list)) == rest.of_list[-1] + 1
    assert np.array_equal(lists.split(0.3, seed=1)[1].user, held.user)
    assert not np.array_equal(lists.split(0.3, seed=2)[1].user, held.user)
    assert lists.split(0, seed=1)[1].rows == 0


def test_columns_that_are_not_there_and_chances_that_are_none_are_refused():
    frame = generated(lists=2)
    with pytest.raises(TuneError, match="the predictions have no column 'session'"):
        read_lists(frame, list_by=["session"])
    with pytest.raises(TuneError, match="no column 'p' "):
        read_lists(frame, propensity="p")
    with pytest.raises(TuneError, match=r"propensity 'propensity' is 0 in some row: not in \(0, 1"):
        read_lists(frame.with_columns(propensity=0.0))
    with pytest.raises(TuneError, match="hold no row"):
        read_lists(frame.head(0))
    with pytest.raises(TuneError, match=r"no label or attribute 'buys' \(known: buy, long, vid"):
        read_lists(frame).column("buys")
