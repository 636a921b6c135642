"""A preview against the same figures, computed request by request in plain Python."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.traffic.batch import ItemNames, stack
from service.traffic.preview import DEPTHS, LENGTHS_S, SHOWN, TAU_DEPTH, Preview
from tests.traffic.rankings import Draft, formula, ranked

FORMULAS = (
    "ctr",
    "ctr * vcr + 1e-3 * videolen_s",
    "rank(ctr) + zscore(vcr)",
    "vcr / ctr",  # invalid where ctr is 0
    "ctr * context.hour - vcr * user.age",
    "rank_in",
    "1",
)


def preview(rankings, text):
    names = ItemNames()
    found = Preview(lambda asked: Draft(formula(text)), names)
    for batch in stack(rankings, names):
        found.add(batch)
    return found.report()


def two_orders(of, text):
    """Scores (None: invalid) and orders of a request, as served and as drafted."""
    draft = Draft(formula(text))
    scores = draft.formula(
        {**of.heads, **of.attributes}, draft.scalars(of.all_user, of.all_context), rows=len(of.ids)
    )
    drafted = [
        v if ok else None for v, ok in zip(scores.values.tolist(), scores.valid, strict=True)
    ]
    served = [None if np.isnan(v) else v for v in of.scores.tolist()]

    def order(values):
        return sorted(range(len(values)), key=lambda i: (values[i] is None, -(values[i] or 0)))

    return served, drafted, (order(served), order(drafted))


def slow_tau(served, drafted, order):
    chosen = order[:TAU_DEPTH]
    low = float("-inf")
    x = [low if served[i] is None else served[i] for i in chosen]
    y = [low if drafted[i] is None else drafted[i] for i in chosen]
    agree = in_x = in_y = 0
    for a, b in combinations(range(len(chosen)), 2):
        sign_x, sign_y = (x[a] > x[b]) - (x[a] < x[b]), (y[a] > y[b]) - (y[a] < y[b])
        agree += sign_x * sign_y
        in_x += sign_x != 0
        in_y += sign_y != 0
    return agree / (in_x * in_y) ** 0.5 if in_x and in_y else None


@pytest.mark.parametrize("text", FORMULAS)
@given(sizes=st.lists(st.integers(1, 130), min_size=1, max_size=5), first=st.integers(0, 1000))
def test_every_figure_is_what_it_says(text, sizes, first):
    rankings = [ranked(first + n, size, "ctr + vcr") for n, size in enumerate(sizes)]
    report = preview(rankings, text)
    taus, moved, unchanged, invalid = [], 0, 0, 0
    overlaps = {depth: [] for depth in DEPTHS}
    means = {depth: ([], []) for depth in DEPTHS}
    lengths = ([], [])
    entered = {}
    for of in rankings:
        served, drafted, (before, after) = two_orders(of, text)
        taus.append(slow_tau(served, drafted, before))
        moved += before[0] != after[0]
        unchanged += before == after
        invalid += sum(d is None and s is not None for s, d in zip(served, drafted, strict=True))
        for depth in DEPTHS:
            both = set(before[:depth]) & set(after[:depth])
            overlaps[depth].append(len(both) / min(depth, len(before)))
            for side, order in zip(means[depth], (before, after), strict=True):
                side.append(np.mean([of.heads["vcr"][i] for i in order[:depth]], dtype=float))
        for side, order in zip(lengths, (before, after), strict=True):
            side += [of.attributes["videolen_s"][i] for i in order[:SHOWN]]
        for i in before[:SHOWN]:
            entered[of.ids[i]] = entered.get(of.ids[i], 0) - 1
        for i in after[:SHOWN]:
            entered[of.ids[i]] = entered.get(of.ids[i], 0) + 1
    defined = [tau for tau in taus if tau is not None]
    tau = report["tau_b"]
    assert tau["undefined"] == len(taus) - len(defined)
    assert tau["mean"] == (pytest.approx(np.mean(defined)) if defined else None)
    assert tau["p10"] == (pytest.approx(np.quantile(defined, 0.1)) if defined else None)
    assert report["top1_changed"] == moved / len(rankings)
    assert report["unchanged"] == unchanged / len(rankings)
    assert report["newly_invalid"] == invalid
    for depth in DEPTHS:
        assert report["overlap"][str(depth)] == pytest.approx(np.mean(overlaps[depth]))
        found = report["means"]["vcr"][str(depth)]
        was, now = map(np.mean, means[depth])
        assert (found["served"], found["draft"]) == (pytest.approx(was), pytest.approx(now))
        assert found["delta"] == pytest.approx(now - was)
    for one in report["lengths"]:
        for name, side in zip(("served", "draft"), lengths, strict=True):
            inside = [one["from_s"] <= s < (one["below_s"] or np.inf) for s in side]
            assert one[name] == pytest.approx(np.mean(inside))
    for sign, item in [(1, i) for i in report["movers"]["up"]] + [
        (-1, i) for i in report["movers"]["down"]
    ]:
        assert item["draft"] - item["served"] == entered[item["id"]]
        assert sign * entered[item["id"]] > 0
    gains = sorted((n for n in entered.values() if n > 0), reverse=True)
    ups = [i["draft"] - i["served"] for i in report["movers"]["up"]]
    assert ups == gains[: len(ups)]
    assert len(ups) == min(10, len(gains))


def test_lengths_have_a_class_for_every_video():
    report = preview([ranked(1, 40)], "ctr")
    assert len(report["lengths"]) == len(LENGTHS_S) + 1
    assert sum(one["draft"] for one in report["lengths"]) == pytest.approx(1)


def test_requests_without_the_heads_of_the_draft_are_skipped_and_said():
    other = ranked(1, 9)
    other = other._replace(model="old/1", heads={"ctr": other.heads["ctr"]})
    report = preview([other, ranked(2, 9)], "vcr")
    assert report["requests"] == 1
    assert report["skipped"] == {"old/1 gave no 'vcr'": 1}


def test_of_a_request_with_unscored_candidates_the_scored_ones_are_compared():
    of = ranked(3, 20)
    tail = [f"late{n}" for n in range(10)]
    longer = of._replace(
        ids=[*of.ids, *tail],
        order=np.concatenate([of.order, np.arange(20, 30)]),
        scores=np.concatenate([of.scores, np.full(10, np.nan)]),
    )
    assert preview([longer], "vcr") == preview([of], "vcr")


def test_what_was_not_served_by_score_is_counted():
    of = ranked(4, 20)
    assert preview([of, of._replace(order=of.order[::-1])], "ctr")["not_by_score"] == 1


def test_a_request_of_which_nothing_was_scored_is_left_out():
    of = ranked(5, 3)._replace(heads={}, attributes={}, scores=np.full(3, np.nan))
    assert preview([of], "ctr")["requests"] == 0
