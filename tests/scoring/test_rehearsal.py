"""The last requests of each scene are kept, and ranked by a model before it serves."""

import time
from pathlib import Path

import pytest

from service.contract.errors import PackageError
from service.scoring.pace import Pace
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput
from service.scoring.rehearsal import RecentRequests, Rehearsal
from service.scoring.scorer import Scorer
from tests.scoring.conftest import asked, compiled


def request(number: int, scene: str = "feed") -> RankInput:
    return RankInput(str(number), scene, ["i1"], deadline=float("inf"))


def test_the_last_requests_of_each_scene_are_kept() -> None:
    recent = RecentRequests(kept=2)
    for number in range(3):
        recent.add(request(number))
    recent.add(request(7, "shop"))
    assert [r.request_id for r in recent.of("feed")] == ["1", "2"]
    assert [r.request_id for r in recent.of("shop")] == ["7"]
    assert recent.of("unknown") == ()


class Noting(Pace):
    """Notes after how much work it was to rest; does not rest."""

    def __init__(self) -> None:
        super().__init__(lambda: True)
        self.after_s: list[float] = []

    async def rest(self, worked_s: float) -> None:
        self.after_s.append(worked_s)


def recent_of(*requests: RankInput) -> RecentRequests:
    recent = RecentRequests()
    for one in requests:
        recent.add(one)
    return recent


async def test_a_rehearsal_is_no_load_that_is_offered(
    models: Path, pool: ModelPool, scorer: Scorer
) -> None:
    recent = recent_of(*[asked()] * 5)
    rehearsal = Rehearsal(pool, scorer, recent, lambda _: None, Pace(lambda: True))
    await rehearsal("feed", [("tiny/2", compiled(models, model="tiny/2"))])
    assert set(scorer.costs.predictions(8)) == {"tiny/2"}, "the requests were ranked"
    assert scorer.admission.offered == 0
    assert scorer.admission.in_progress == 0
    await scorer.rank(asked(), compiled(models))
    await scorer.rank(asked(), compiled(models))
    assert scorer.admission.offered > 0


async def test_a_rehearsal_says_nothing_of_what_is_usual(
    models: Path, pool: ModelPool, scorer: Scorer
) -> None:
    await scorer.rank(asked(8), compiled(models))
    usual_s = scorer.admission.typical_s
    scorer.costs.observe("tiny/2", 8, {"infer": 1000.0})
    rehearsal = Rehearsal(pool, scorer, recent_of(*[asked()] * 5), lambda _: None)
    await rehearsal("feed", [("tiny/2", compiled(models, model="tiny/2"))])
    assert scorer.admission.typical_s == usual_s > 0
    await scorer.rank(asked(8), compiled(models, model="tiny/2"))
    assert scorer.admission.typical_s > usual_s


async def test_the_rest_after_each_run_is_for_what_a_thread_worked(
    models: Path, pool: ModelPool, scorer: Scorer
) -> None:
    pace, plan = Noting(), compiled(models, model="tiny/2")
    rehearsal = Rehearsal(pool, scorer, recent_of(*[asked()] * 3), lambda _: None, pace)
    began = time.monotonic()
    await rehearsal("feed", [("tiny/2", plan)])
    assert len(pace.after_s) == 3
    assert all(worked_s > 0 for worked_s in pace.after_s)
    assert sum(pace.after_s) < time.monotonic() - began


@pytest.mark.parametrize("requests", [0, 1])
async def test_a_model_that_is_not_loaded_is_not_rehearsed(
    models: Path, pool: ModelPool, scorer: Scorer, requests: int
) -> None:
    plan = compiled(models, model="tiny/2")
    rehearsal = Rehearsal(pool, scorer, recent_of(*[asked()] * requests), lambda _: plan)
    await rehearsal("feed", [("tiny/2", plan)])
    del pool._models["tiny/2"]
    with pytest.raises(PackageError) as caught:
        await rehearsal("feed", [("tiny/2", plan)])
    assert str(caught.value) == (
        "tiny/2: it is not loaded any more, and was not rehearsed for scene 'feed'"
    )
    assert pool.refusals == {}, "it is no fault of the model's"


class Dropping(Pace):
    """Rests until another plan's swap has dropped a model."""

    def __init__(self, pool: ModelPool) -> None:
        super().__init__(lambda: True)
        self.pool = pool

    async def rest(self, worked_s: float) -> None:
        self.pool._models.pop("tiny/2", None)


async def test_a_model_that_is_dropped_meanwhile_is_not_rehearsed(
    models: Path, pool: ModelPool, scorer: Scorer
) -> None:
    plan = compiled(models, model="tiny/2")
    rehearsal = Rehearsal(pool, scorer, recent_of(asked()), lambda _: plan, Dropping(pool))
    with pytest.raises(PackageError, match=r"tiny/2: it is not loaded any more"):
        await rehearsal("feed", [("tiny/2", plan)])


async def test_what_only_the_new_model_gets_wrong_refuses_it(
    models: Path, pool: ModelPool, scorer: Scorer
) -> None:
    pace, bad = Noting(), compiled(models, model="nan/1")
    recent = recent_of(asked(["i1", "i13"]))
    rehearsal = Rehearsal(pool, scorer, recent, lambda _: compiled(models), pace)
    with pytest.raises(PackageError) as caught:
        await rehearsal("feed", [("nan/1", bad)])
    assert str(caught.value) == (
        "nan/1: on a recent request of scene 'feed', head 'ctr' is not finite"
    )
    assert len(pace.after_s) == 2, "the run of the live model is rested for, too"
    same = Rehearsal(pool, scorer, recent, lambda _: bad, pace)
    await same("feed", [("nan/1", bad)])
