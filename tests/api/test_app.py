"""The OpenAPI document, and that replies are what it says."""

import jsonschema
import pytest

from service.api.app import telemetry_config
from service.api.messages import ColumnReply, Problem, RankReplyHead, RowReply
from service.api.plan_messages import HistoryReply, PlanReply, PublishReply, ValidateReply
from tests.api.running import AUTH, PLAN


@pytest.fixture(scope="module")
def document(service):
    return service.client.get("/openapi.json").json()


def test_every_route_is_documented_with_its_body_and_its_refusals(document):
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    assert {"/rank", "/v1/rank", "/livez", "/readyz", "/healthz", "/metrics"} <= set(paths)
    assert set(paths["/v1/plans/{scene}"]) == {"get", "put", "patch"}
    put = paths["/v1/plans/{scene}"]["put"]
    assert {"200", "400", "401", "403", "412", "413", "422", "428", "503"} <= set(put["responses"])
    assert "application/problem+json" in put["responses"]["412"]["content"]
    body = paths["/v1/rank"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"scene", "user", "candidates", "items", "explain"} <= set(body["properties"])
    operations = [o["operationId"] for path in paths.values() for o in path.values()]
    assert len(set(operations)) == len(operations)


def test_every_write_of_a_plan_documents_who_and_why(document):
    writes = {
        f"{method} {path}": [p["name"] for p in operation["parameters"] if p["in"] == "query"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "PublishReply" in str(operation["responses"].get("200"))
    }
    assert writes.pop("post /v1/plans/{scene}/freeze") == ["author"]  # the reason is the message
    assert len(writes) == 7
    assert all(names == ["author", "message"] for names in writes.values()), writes


def test_the_documented_schemas_are_schemas(document):
    for path in document["paths"].values():
        for operation in path.values():
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                jsonschema.Draft202012Validator.check_schema(schema)


ITEMS = {"scene": "feed", "items": [{"id": "i20"}, {"id": "i21"}]}
COLUMNS = {"scene": "feed", "candidates": {"ids": ["i20", "i21"]}}


@pytest.mark.parametrize("more", [{}, {"explain": True}, {"heads": False}, {"limit": 1}])
@pytest.mark.parametrize(("body", "reply"), [(ITEMS, RowReply), (COLUMNS, ColumnReply)])
def test_a_rank_reply_is_what_the_document_says(service, body, reply, more):
    _is_exactly(reply, service.rank({**body, **more}).json())


def test_a_degraded_reply_is_what_the_document_says(service):
    late = service.rank(COLUMNS, **{"X-Request-Timeout-Ms": "1"}).json()
    _is_exactly(ColumnReply, late)
    assert late["degraded_detail"] == {"deadline": 2}
    assert set(RankReplyHead.model_fields) < set(ColumnReply.model_fields)


def test_plan_replies_are_what_the_document_says(service):
    _is_exactly(PlanReply, service.client.get("/v1/plans/feed").json())
    _is_exactly(PublishReply, service.put(PLAN).json())
    _is_exactly(HistoryReply, service.client.get("/v1/plans/feed/history").json())
    wrong = {**PLAN, "default": {"formula": "bse"}}
    answer = service.client.post("/v1/plans/feed/validate", json=wrong).json()
    _is_exactly(ValidateReply, answer)
    _is_exactly(Problem, service.client.get("/v1/plans/nowhere").json())
    refused = service.client.put("/v1/plans/feed", json=wrong, headers={**AUTH, "If-Match": "*"})
    _is_exactly(Problem, refused.json())


def test_telemetry_is_off_until_an_endpoint_is_set():
    off = {"tracing": False, "metrics": False, "logs": False}
    assert telemetry_config({}) == off
    assert telemetry_config({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}) == off
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        assert telemetry_config({name: "http://collector:4318"}) == {"auto_configure": True}


def _is_exactly(model, reply):
    """The reply validates, and has no key that the model lacks."""
    model.model_validate(reply)
    assert set(reply) <= set(model.model_fields)
