"""What peers get wrong when work does not fit into the time or the machine."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.scoring.threads import cpu_budget
from tests.peer_traps.scene import Scene, by_id
from tests.scoring.packages import publish_tiny


@contextmanager
def believed_to_cost(scene: Scene, model: str, ms_a_row: float) -> Iterator[None]:
    """The service has learned this, and is not idle: it does not try the model to see.

    Runs differed by a fifth, so that it keeps some time in hand: a busy test machine needs it.
    """
    scorer = scene.service.runtime.parts.scorer
    usual_s = scorer.admission.typical_s
    patient = scorer.admission.enter(3600)
    for rows in (100, 500) * 30:
        for factor in (0.8, 1.2):
            scorer.costs.observe(model, rows, {"infer": factor * ms_a_row * rows})
    try:
        yield
    finally:
        patient.leave()
        scorer.admission.typical_s = usual_s


def test_limits_count_rows_and_not_requests(scene: Scene, models: Path) -> None:
    # a request of hundreds of rows counts as one (Navi, MLServer, BentoML)
    publish_tiny(models, "costly")
    scene.publish("ctr", model="costly@champion")
    with believed_to_cost(scene, "costly/1", 10):
        small = [scene.rank(20, timeout_ms=5000) for _ in range(5)]
        large = scene.rank(1000, timeout_ms=5000)
    assert [reply["degraded"] for reply in small] == [[]] * 5
    assert large["degraded"] == ["fewer_candidates"]
    assert 200 < 1000 - large["degraded_detail"]["fewer_candidates"] < 500


def test_a_request_that_is_late_takes_nobody_with_it(scene: Scene) -> None:
    # one stale request drops the batch of its neighbours (Navi)
    scene.publish("ctr + vcr")
    alone = by_id(scene.rank(100))
    ids = [f"i{14 + n}" for n in range(100)]
    document = {"scene": scene.name, "user": {"id": "u7"}, "candidates": {"ids": ids}}

    def stale(_: int) -> tuple[int, object]:
        answer = scene.service.rank(document, **{"X-Request-Timeout-Ms": "1"})
        return answer.status_code, answer.json().get("degraded")

    with ThreadPoolExecutor(2) as hurried, ThreadPoolExecutor(6) as patient:
        late = hurried.map(stale, range(30))
        replies = list(patient.map(lambda _: scene.rank(100), range(30)))
    assert set(map(str, late)) <= {"(200, ['deadline'])", "(503, None)"}
    for reply in replies:
        assert reply["degraded"] == []
        assert by_id(reply) == alone


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the threads of Linux")
def test_models_share_the_threads_of_the_quota(scene: Scene, models: Path, tmp_path: Path) -> None:
    # a pool by the host's cores, and one more for each session (ONNX Runtime's default)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("200000 100000")
    assert cpu_budget(tmp_path, affinity=64).threads == 2

    def native_threads() -> int:
        return len(os.listdir("/proc/self/task")) - threading.active_count()

    scene.publish("ctr")
    scene.rank(500)
    before = native_threads()
    for name in ("one", "two", "three"):
        publish_tiny(models, name)
        scene.publish("ctr", model=f"{name}@champion")
        assert scene.rank(500)["model"] == f"{name}/1"
    assert native_threads() <= before
    assert "finerank_inference_threads 2.0" in scene.service.client.get("/metrics").text


def test_scores_that_are_there_are_kept(scene: Scene, models: Path) -> None:
    # the fallback throws away the scores already computed (PAI-Rec)
    publish_tiny(models, "partly")
    scene.publish("ctr", model="partly@champion")
    with believed_to_cost(scene, "partly/1", 10):
        reply = scene.rank(1000, timeout_ms=5000)
    scored = 1000 - reply["degraded_detail"]["fewer_candidates"]
    whole = by_id(scene.rank(scored))
    kept = dict(list(by_id(reply).items())[:scored])
    assert kept == whole
    assert reply["scores"][:scored] == sorted(whole.values(), reverse=True)
    assert reply["ids"][scored:] == [f"i{14 + n}" for n in range(scored, 1000)]
    assert set(reply["scores"][scored:]) == {None}


def test_work_that_nobody_waits_for_is_stopped(scene: Scene) -> None:
    # the work that lost against the fallback's timer goes on (PAI-Rec)
    scene.publish("ctr", model="slow@champion")  # beyond 600 rows it would run for minutes
    admission = scene.service.runtime.parts.scorer.admission
    with ThreadPoolExecutor(2) as pool:  # as many as inference threads
        # each half, if two threads share a request, would run for minutes, too
        late = list(pool.map(lambda rows: scene.rank(rows, timeout_ms=300), (1500, 1500)))
    assert [reply["degraded_detail"] for reply in late] == [{"deadline": 1500}] * 2
    while admission.in_progress:
        pass  # a run stops at its next operator; the test's own timeout ends this
    assert scene.rank(600)["degraded"] == []
