"""Health and metrics: ready means a scene can rank, whatever the store does."""

from prometheus_client.parser import text_string_to_metric_families

from tests.api.running import PLAN, running
from tests.scoring.packages import publish_tiny


def test_without_a_plan_the_service_is_live_not_ready_and_takes_a_first_plan(
    models, valkey_of_its_own, tmp_path
):
    with running(models, valkey_of_its_own, tmp_path) as service:
        assert service.client.get("/livez").status_code == 200
        ready = service.client.get("/readyz")
        why = "no scene has a plan yet; publish one: finerank plan publish SCENE plan.json"
        assert ready.status_code == 503
        assert ready.json() == {"status": "not ready", "reason": why}
        health = service.client.get("/healthz")
        assert (health.status_code, health.json()["reason"]) == (503, why)
        ranked = service.rank({"items": []})
        assert ranked.status_code == 503
        assert ranked.json()["detail"] == "no scene has a plan yet: PUT one to /v1/plans/{scene}"
        assert service.put(PLAN).json() == {"version": 1, "findings": []}
        assert service.client.get("/readyz").json() == {"status": "ready", "scenes": ["feed"]}
        report = service.client.get("/healthz").json()
        assert report["status"] == "ok"
        assert "reason" not in report
        assert report["scenes"]["feed"] == {"ranks": True, "plan": 1, "models": ["tiny/1"]}
        assert report["models"] == {"loaded": ["tiny/1"], "problems": {}}


def test_a_plan_that_cannot_be_used_here_is_named_with_the_reason(tmp_path, valkey_of_its_own):
    """Another replica published it, with a model that this one's disk has damaged."""
    publish_tiny(tmp_path / "good")
    with running(tmp_path / "good", valkey_of_its_own, tmp_path / "a") as service:
        service.publish(PLAN)
    publish_tiny(tmp_path / "bad")
    with (tmp_path / "bad" / "tiny" / "1" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with running(tmp_path / "bad", valkey_of_its_own, tmp_path / "b") as service:
        assert service.client.get("/livez").status_code == 200
        ready = service.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["reason"].startswith("scene feed: version 1 is refused: ")
        report = service.client.get("/healthz").json()
        assert report["status"] == "not ready"
        assert "does not match its digest" in report["scenes"]["feed"]["problem"]
        assert report["reason"] == ready.json()["reason"]
        assert "does not match its digest" in report["models"]["problems"]["tiny/1"]
        ranked = service.rank({"scene": "feed", "items": []})
        assert ranked.status_code == 503
        assert "does not match its digest" in ranked.json()["detail"]
        text = service.client.get("/metrics").text
        assert 'finerank_plan_refused{scene="feed"} 1.0' in text
        assert 'finerank_model_refused{model="tiny/1"} 1.0' in text


def test_a_plan_whose_model_does_not_load_is_refused_at_put(tmp_path, valkey_of_its_own, models):
    publish_tiny(tmp_path)
    with (tmp_path / "tiny" / "1" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with running(tmp_path, valkey_of_its_own, tmp_path / "state") as service:
        answer = service.put(PLAN)
        assert answer.status_code == 422
        assert "does not match its digest" in answer.json()["errors"][0]["detail"]
        assert service.client.get("/v1/plans/feed").status_code == 404


def test_metrics_count_what_requests_met(service):
    def values():
        text = service.client.get("/metrics").text
        return {
            (s.name, *sorted(s.labels.items())): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }

    before = values()
    service.rank({"scene": "feed", "candidates": {"ids": ["i20", "not-in-vocabulary"]}})
    after = values()

    def grew(name, **labels):
        key = (name, *sorted(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert grew("finerank_requests_total", scene="feed", status="200") == 1
    assert grew("finerank_request_seconds_count", scene="feed") == 1
    assert grew("finerank_stage_seconds_count", stage="infer") == 1
    assert grew("finerank_candidates_sum", scene="feed") == 2
    assert grew("finerank_features_defaulted_total", scene="feed", feature="videolen_s") == 2
    assert grew("finerank_features_out_of_vocabulary_total", scene="feed", feature="item_id") == 1
    assert after["finerank_plan_version", ("scene", "feed")] == 1
    assert after["finerank_model_loaded", ("model", "tiny/1")] == 1
    assert after["finerank_plan_store_up",] == 1
    assert after["finerank_inference_threads",] == 2
