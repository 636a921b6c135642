"""The scorer gathers what rules read and takes the order that they give."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.commands.reranking import rerank_by_plan
from service.scoring.aside import Aside
from service.scoring.pool import ModelPool
from service.scoring.scorer import Scorer
from service.scoring.workers import Workers
from tests.scoring.conftest import asked, compiled

AUTHORS = {"author_id": ["a1", "a1", "a1", "a2", "a2", "a3", None, "a1"]}
ONE_A_WINDOW = {"caps": [{"by": "author_id", "most": 1, "window": 2}]}


@pytest.fixture
def ruled(pool: ModelPool, workers: Workers) -> Scorer:
    return Scorer(pool, workers, None, reranker=rerank_by_plan)


async def test_authors_of_the_answer_keep_apart(ruled: Scorer, models: Path) -> None:
    request = asked(8, item_columns=AUTHORS)
    found = await ruled.rank(request, compiled(models, rerank=ONE_A_WINDOW))
    authors = [AUTHORS["author_id"][row] for row in found.order]
    assert all(a != b or a is None for a, b in itertools.pairwise(authors))
    assert found.reranked is not None
    assert found.reranked.unmet == {}
    assert "rerank" in found.timings_ms


async def test_without_rules_nothing_is_timed_or_moved(ruled: Scorer, models: Path) -> None:
    request = asked(8, item_columns=AUTHORS)
    plain = await ruled.rank(request, compiled(models))
    off = await ruled.rank(request, compiled(models, rerank={}))
    assert plain.reranked is off.reranked is None
    assert "rerank" not in plain.timings_ms
    np.testing.assert_array_equal(plain.order, off.order)


async def test_candidates_without_scores_stay_last_under_any_rule(
    ruled: Scorer, models: Path
) -> None:
    rules = {"pins": {"i13": 1}}
    snapshot = compiled(models, model="nan/1", rerank=rules)
    found = await ruled.rank(asked(20), snapshot)
    assert found.order[-1] == 13
    assert found.reranked is not None
    assert found.reranked.unmet == {"pins": 1}


async def test_a_limit_cuts_the_order_after_the_rules(ruled: Scorer, models: Path) -> None:
    snapshot = compiled(models, rerank={"pins": {"i7": 2}})
    found = await ruled.rank(replace(asked(8), limit=3), snapshot)
    assert found.order.tolist()[1] == 7
    assert len(found.order) == 3


async def test_what_is_scored_aside_is_ordered_by_its_scores(
    pool: ModelPool, workers: Workers, models: Path
) -> None:
    snapshot = compiled(models, rerank={"pins": {"i7": 1}})
    found = await Aside(pool, workers, None).score(asked(8), snapshot.default)
    np.testing.assert_array_equal(found.order, np.argsort(-found.scores, kind="stable"))
    assert found.reranked is None


async def test_a_scorer_without_a_reranker_says_so(scorer: Scorer, models: Path) -> None:
    rules: dict[str, Any] = {"pins": {"i7": 2}}
    with pytest.raises(RuntimeError, match="this scorer was built without a reranker"):
        await scorer.rank(asked(8), compiled(models, rerank=rules))
