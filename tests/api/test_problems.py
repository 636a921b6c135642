import httpx
import orjson
import pytest
from fastapi import FastAPI, Request

from service.api.problems import install, problem_response
from service.errors import Fault, InvalidRequest, StoreDown
from tests.api.server import serving


def test_a_problem_has_the_members_of_rfc_9457_and_a_pointer_for_each_place():
    faults = [Fault("is bad", "/a/0"), Fault("is odd", header="x-y", more={"line": 3})]
    response = problem_response(InvalidRequest("/a/0: is bad", faults=faults), "/rank")
    assert response.media_type == "application/problem+json"
    assert orjson.loads(response.body) == {
        "type": "urn:finerank:problem:invalid-request",
        "title": "The request breaks a rule of its form",
        "status": 422,
        "detail": "/a/0: is bad",
        "instance": "/rank",
        "errors": [
            {"pointer": "/a/0", "detail": "is bad"},
            {"header": "x-y", "detail": "is odd", "line": 3},
        ],
    }


def test_headers_of_a_refusal_are_sent():
    response = problem_response(StoreDown("gone", headers={"retry-after": "1"}))
    assert response.headers["retry-after"] == "1"
    assert response.headers["cache-control"] == "no-store"


@pytest.fixture
def client():
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    install(app)

    @app.get("/broken")
    async def broken(request: Request) -> None:
        raise ZeroDivisionError("secret detail")

    with serving(app) as url, httpx.Client(base_url=url) as client:
        yield client


def test_a_bug_is_a_problem_document_that_tells_no_secrets(client):
    answer = client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "ZeroDivisionError while answering; the log has the details"
    assert "secret" not in answer.text


def test_a_missing_route_is_a_problem_document(client):
    answer = client.get("/nowhere")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "GET /nowhere: there is no such route; /openapi.json lists them",
        "instance": "/nowhere",
    }


def test_a_wrong_method_is_told_the_right_one(client):
    answer = client.delete("/broken")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["detail"] == "DELETE /broken: this route takes GET"
