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
        for depth in (d for d in DEPTHS if d < len(before)):
            both = set(before[:depth]) & set(after[:depth])
            overlaps[depth].append(len(both) / depth)
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
    kept = [depth for depth in DEPTHS if overlaps[depth]]
    assert list(report["overlap"]) == list(report["means"].get("vcr", {})) == list(map(str, kept))
    assert report["longer_than"] == {str(depth): len(overlaps[depth]) for depth in DEPTHS}
    for depth in kept:
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


class Backwards:
    """Rules that turn the order by score around."""

    categories, attributes = frozenset({"author"}), frozenset({"videolen_s"})


def backwards(rules, ids, scores, categories, attributes):
    assert len(ids) == len(scores) == len(categories["author"]) == len(attributes["videolen_s"])
    return np.argsort(-scores, kind="stable")[::-1]


def preview_of_rules(rankings, rules, text="ctr"):
    names = ItemNames()
    draft = Draft(formula(text), rerank=rules)
    found = Preview(lambda asked: draft, names, backwards)
    for batch in stack(rankings, names):
        found.add(batch)
    return found.report()


def turned(number, **changes):
    of = ranked(number, 20)
    author = {"author": np.arange(20, dtype=np.int32)}
    return of._replace(order=of.order[::-1], categories=author, **changes)


def test_what_is_compared_is_the_order_as_served_and_not_that_of_the_scores():
    found = preview([ranked(4, 20), turned(4)], "ctr")
    assert (found["unchanged"], found["top1_changed"]) == (0.5, 0.5)
    assert found["overlap"]["5"] < 1


def test_the_same_rules_in_the_draft_change_nothing():
    found = preview_of_rules([turned(n) for n in range(5)], Backwards)
    assert (found["unchanged"], found["tau_b"]["mean"], found["by_score_only"]) == (1, 1, 0)


def test_rules_that_are_new_change_the_order():
    author = {"author": np.arange(20, dtype=np.int32)}
    found = preview_of_rules([ranked(4, 20, categories=author)], Backwards)
    assert found["unchanged"] == 0
    assert found["tau_b"]["mean"] < 0


def test_what_a_limit_cut_off_follows_by_score():
    of = turned(4)
    (batch,) = stack([of._replace(order=of.order[:3], limit=3)], ItemNames())
    first, rest = batch.served[0][:3], batch.served[0][3:]
    assert first.tolist() == of.order[:3].tolist()
    by_score = [row for row in of.order[::-1].tolist() if row not in first]
    assert rest.tolist() == by_score


def test_where_the_log_lacks_what_rules_read_scores_are_compared_and_counted():
    found = preview_of_rules([turned(4)._replace(categories={}), turned(5)], Backwards)
    assert (found["unchanged"], found["by_score_only"]) == (1, 1)


def test_the_plans_that_ranked_are_counted():
    found = preview([ranked(1, 5), ranked(2, 5, plan=7), ranked(3, 5)], "ctr")
    assert found["plans"] == {"3": 2, "7": 1}


def test_a_request_of_which_nothing_was_scored_is_left_out():
    of = ranked(5, 3)._replace(heads={}, attributes={}, scores=np.full(3, np.nan))
    assert preview([of], "ctr")["requests"] == 0
