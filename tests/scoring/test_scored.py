"""From raw values to scores: the formula applied to the model's heads, candidate by candidate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.features.errors import InlineError
from service.scoring.ranking import RankOutput
from service.scoring.scorer import Scorer
from tests.scoring.conftest import asked, compiled
from tests.scoring.graphs import HEADS


def formula_by_hand(output: RankOutput, videolen_s: Any = 20.0) -> Any:
    """SCORE of conftest, written out in NumPy."""
    ctr, vcr = (output.heads[h].astype(np.float64) for h in ("ctr", "vcr"))
    return ctr**0.5 * (1 + vcr) * (1 / (1 + np.log1p(np.asarray(videolen_s) / 30)))


async def test_candidates_are_ordered_by_the_formula(scorer: Scorer, models: Path) -> None:
    videolen = [float(n + 3) for n in range(40)]
    output = await scorer.rank(asked(40, item_columns={"videolen_s": videolen}), compiled(models))
    expected = formula_by_hand(output, videolen)
    np.testing.assert_array_equal(output.scores, expected)
    np.testing.assert_array_equal(output.order, np.argsort(-expected, kind="stable"))
    assert output.valid.all()
    assert output.degraded == {}
    assert (output.model, output.plan, set(output.heads)) == ("tiny/1", 1, set(HEADS))


async def test_ties_keep_the_input_order(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(["i3", "x1", "x2", "x3"]), compiled(models, "price * a"))
    assert output.order.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("rows", [1, 2, 2000])
async def test_every_number_of_candidates_is_scored(
    scorer: Scorer, models: Path, rows: int
) -> None:
    output = await scorer.rank(asked(rows), compiled(models))
    assert sorted(output.order.tolist()) == list(range(rows))
    assert output.valid.all()


async def test_heads_do_not_depend_on_the_other_candidates(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models)
    author = {"author_id": [f"a{n % 7}" for n in range(300)]}
    user = {"user_author_rates": {"a3": [4, 0.5]}}
    whole = await scorer.rank(asked(300, item_columns=author, user=user), snapshot)
    for row in range(0, 300, 11):
        own = {"author_id": [author["author_id"][row]]}
        alone = await scorer.rank(asked([f"i{row}"], item_columns=own, user=user), snapshot)
        for head in HEADS:
            assert alone.heads[head][0] == whole.heads[head][row], (head, row)


async def test_unknown_user_and_items_are_scored_and_counted(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(["new-1", "new-2"], user_id="new-user"), compiled(models))
    assert output.valid.all()
    assert output.degraded == {}
    assert output.counts.out_of_vocabulary["item_id"] == 2
    assert output.counts.out_of_vocabulary["user_id"] == 1
    np.testing.assert_array_equal(output.heads["ctr"][0], output.heads["ctr"][1])


async def test_nobody_at_all_is_scored_with_defaults(scorer: Scorer, models: Path) -> None:
    output = await scorer.rank(asked(3, user_id=None, context={}), compiled(models))
    assert output.valid.all()
    assert output.degraded == {}
    for name in ("user_id", "age_range", "tab", "hour"):
        assert output.counts.defaulted[name] == 1, name
    assert output.counts.defaulted["videolen_s"] == 3
    assert output.counts.defaulted["price"] == 3


async def test_unknown_names_are_ignored_and_counted(scorer: Scorer, models: Path) -> None:
    plain = await scorer.rank(asked(2), compiled(models))
    noisy = asked(2, user={"shoe_size": 44}, item_columns={"colour": ["red", "blue"]})
    output = await scorer.rank(noisy, compiled(models))
    assert output.counts.unknown == {"shoe_size": 1, "colour": 1}
    np.testing.assert_array_equal(output.scores, plain.scores)


@pytest.mark.parametrize(
    ("given", "side", "feature", "row", "value"),
    [
        ({"item_columns": {"videolen_s": [9.0, "long"]}}, "item", "videolen_s", 1, "long"),
        ({"item_columns": {"price": [True, 1.0]}}, "item", "price", 0, True),
        ({"item_columns": {"tags": [["a"], "b"]}}, "item", "tags", 1, "b"),
        ({"item_columns": {"author_id": ["a1", 1.5]}}, "item", "author_id", 1, 1.5),
        ({"user": {"user_clicks_7d": "many"}}, "user", "user_clicks_7d", 0, "many"),
        ({"user": {"user_author_rates": [1]}, "item_columns": {"author_id": ["a1", "a2"]}},
         "user", "user_author_rates", 0, [1]),
        ({"context": {"hour": [20]}}, "context", "hour", 0, [20]),
    ],
)  # fmt: skip
async def test_bad_inline_value_is_refused_with_its_place(
    scorer: Scorer, models: Path, given: Any, side: str, feature: str, row: int, value: Any
) -> None:
    with pytest.raises(InlineError) as caught:
        await scorer.rank(asked(2, **given), compiled(models))
    error = caught.value
    assert (error.side, error.feature, error.row, error.value) == (side, feature, row, value)
    assert str(error).startswith(f"feature {feature!r}, row {row}: {value!r} ")


async def test_candidate_with_nan_heads_is_invalid_and_comes_last(
    scorer: Scorer, models: Path
) -> None:
    snapshot = compiled(models, "ctr", model="nan/1")
    output = await scorer.rank(asked(["i12", "i13", "i14"]), snapshot)
    assert output.valid.tolist() == [True, False, True]
    assert output.order.tolist()[-1] == 1
    assert np.isnan(output.scores[1])
    assert output.degraded == {"invalid_score": 1}


@pytest.mark.parametrize("formula", ["price", "if(price > 0, price, ctr)"])
async def test_nan_head_that_the_formula_does_not_read_is_no_harm(
    scorer: Scorer, models: Path, formula: str
) -> None:
    request = asked(["i13", "i14"], item_columns={"price": [3.0, 2.0]})
    output = await scorer.rank(request, compiled(models, formula, model="nan/1"))
    assert output.scores.tolist() == [3.0, 2.0]
    assert output.degraded == {}
    assert np.isnan(output.heads["ctr"][0])


async def test_nan_candidate_does_not_move_the_others(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models, "minmax(ctr) + rank(vcr)", model="nan/1")
    without = await scorer.rank(asked(["i12", "i14", "i15"]), snapshot)
    with_nan = await scorer.rank(asked(["i12", "i13", "i14", "i15"]), snapshot)
    np.testing.assert_array_equal(with_nan.scores[[0, 2, 3]], without.scores)


async def test_formula_without_an_answer_is_counted(scorer: Scorer, models: Path) -> None:
    price = {"price": [1.0, 0.0, 4.0]}
    output = await scorer.rank(asked(3, item_columns=price), compiled(models, "log(price)"))
    assert output.order.tolist() == [2, 0, 1]
    assert output.degraded == {"invalid_score": 1}


async def test_scalars_reach_the_formula(scorer: Scorer, models: Path) -> None:
    snapshot = compiled(models, "context.hour + user.user_clicks_7d / 100")
    output = await scorer.rank(asked(1, user={"user_clicks_7d": 30}), snapshot)
    assert output.scores[0] == 20.3


async def test_attributes_are_used_in_float64(scorer: Scorer, models: Path) -> None:
    price = {"price": [49.9]}
    output = await scorer.rank(asked(1, item_columns=price), compiled(models, "price"))
    assert output.scores[0] == 49.9


async def test_explanation_recomposes_to_the_score(scorer: Scorer, models: Path) -> None:
    columns = {"videolen_s": [9.0, None, 40.0]}
    output = await scorer.rank(asked(3, item_columns=columns, explain=True), compiled(models))
    assert output.explained is not None
    for row, explanation in enumerate(output.explained.terms):
        product = np.prod([term.value for term in explanation.terms])
        assert product == pytest.approx(output.scores[row], rel=1e-6)
    assert output.explained.attributes["videolen_s"].tolist() == [9.0, 20.0, 40.0]


async def test_explanation_names_what_is_missing(scorer: Scorer, models: Path) -> None:
    request = asked(
        2, context={"tab": 1}, item_columns={"price": [1.0, None]}, explain=True, heads=False
    )
    output = await scorer.rank(request, compiled(models))
    assert output.explained is not None
    assert output.explained.missing == [
        "age_range",
        "recent_items",
        "user_author_rates",
        "user_clicks_7d",
        "hour",
    ]
    absent = ["author_id", "item_ctr_7d", "tags", "videolen_s"]
    assert output.explained.missing_by_item == [absent, sorted([*absent, "price"])]
    assert set(output.heads) == set(HEADS)
