"""Every candidate of the request is in the answer, whether it was scored or not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.contract.encode import Counts
from service.experiment.snapshot import Snapshot
from service.scoring.answers import in_input_order, ranked
from service.scoring.ranking import RankOutput
from service.scoring.scored import Scored
from tests.scoring.conftest import asked, compiled


@pytest.fixture(scope="module")
def snapshot(models: Path) -> Snapshot:
    return compiled(models)


@pytest.fixture
def answer(snapshot: Snapshot) -> Callable[..., RankOutput]:
    """Three candidates were scored; the second one has no valid score."""

    def of(rows: int, **given: object) -> RankOutput:
        scored = Scored(
            heads={"ctr": np.array([0.1, np.nan, 0.3], np.float32)},
            scores=np.array([0.1, np.nan, 0.3]),
            valid=np.array([True, False, True]),
            order=np.array([2, 0, 1]),
            counts=Counts(),
            bad_features=4,
            timings_ms={},
            explained=None,
        )
        treatment = snapshot.assign("u7", "r-1", {})
        return ranked(asked(rows, **given), snapshot, treatment, scored, {"why": 1}, {"infer": 2.0})

    return of


def test_unscored_candidates_follow_the_invalid_ones_in_input_order(
    answer: Callable[..., RankOutput],
) -> None:
    output = answer(6)
    assert output.order.tolist() == [2, 0, 1, 3, 4, 5]
    assert output.valid.tolist() == [True, False, True, False, False, False]
    np.testing.assert_array_equal(output.scores, [0.1, np.nan, 0.3, np.nan, np.nan, np.nan])
    assert len(output.heads["ctr"]) == 6
    assert output.heads["ctr"].dtype == np.float64


def test_reasons_are_counted_and_unscored_candidates_are_not_invalid_ones(
    answer: Callable[..., RankOutput],
) -> None:
    assert answer(6).degraded == {"why": 1, "bad_feature": 4, "invalid_score": 1}


def test_limit_is_over_all_candidates(answer: Callable[..., RankOutput]) -> None:
    assert answer(6, limit=4).order.tolist() == [2, 0, 1, 3]
    assert answer(3, limit=2).order.tolist() == [2, 0]


def test_input_order_has_every_candidate_and_no_score(snapshot: Snapshot) -> None:
    treatment = snapshot.assign("u7", "r-1", {})
    output = in_input_order(asked(4, limit=3), snapshot, treatment, {}, {"deadline": 4})
    assert output.order.tolist() == [0, 1, 2]
    assert np.isnan(output.scores).all()
    assert (output.heads, output.degraded) == ({}, {"deadline": 4})
