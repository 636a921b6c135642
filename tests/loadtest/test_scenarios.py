"""Servers are compared only when they give the same scores."""

import pytest

from loadtest.scenarios import Disagreement, check_agreement, scores

COLUMNS = {"ids": ["b", "a"], "scores": [0.5, 0.25]}
ROWS = {"items": [{"id": "b", "score": 0.500001}, {"id": "a", "score": 0.25}]}


def test_both_reply_forms_can_agree() -> None:
    check_agreement("rows", scores(ROWS), scores(COLUMNS))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({"ids": ["b", "a"], "scores": [0.5, 0.26]}, "peer scores a 0.26, the first server 0.25"),
        ({"ids": ["b", "a"], "scores": [0.5, None]}, "peer scores a nan"),
        ({"ids": ["b"], "scores": [0.5]}, "peer ranked 1 candidates, the first server 2"),
    ],
)
def test_another_score_is_a_disagreement(reply: dict, why: str) -> None:
    with pytest.raises(Disagreement, match=why):
        check_agreement("peer", scores(reply), scores(COLUMNS))


def test_a_variant_may_be_a_little_off_and_no_more() -> None:
    check_agreement("int8", {"a": 0.2525}, {"a": 0.25}, "int8")
    with pytest.raises(Disagreement, match=r"int8 scores a 0\.26, the first server 0\.25"):
        check_agreement("int8", {"a": 0.26}, {"a": 0.25}, "int8")
