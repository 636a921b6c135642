"""Overload is refused before the body is read, with the reason, and only overload is."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.api.running import PLAN, Running

BODY = {"scene": "feed", "candidates": {"ids": [f"i{n}" for n in range(20)]}}


@contextmanager
def overloaded(service: Running) -> Iterator[None]:
    """Accepted work that fills any deadline."""
    admission = service.runtime.parts.scorer.admission
    usual_s = admission.typical_s
    admission.typical_s = 60.0
    tickets = [admission.enter(5000.0) for _ in range(2)]  # as many as threads
    for ticket in tickets:
        ticket.started()
    try:
        yield
    finally:
        admission.typical_s = usual_s
        for ticket in tickets:
            ticket.leave()


def test_overload_is_refused_with_the_reason_and_when_to_come_back(service: Running) -> None:
    with overloaded(service):
        for path in ("/rank", "/v1/rank"):
            answer = service.client.post(path, json=BODY | {"user": {"id": "x" * 5000}})
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["type"] == "urn:finerank:problem:overloaded"
            assert problem["detail"].startswith("the work accepted so far takes ")
            assert problem["instance"] == path
    assert service.rank(BODY).status_code == 200


def test_refusal_does_not_wait_for_the_body(service: Running) -> None:
    where = urlsplit(service.url)
    head = "POST /rank HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"
    with overloaded(service), socket.create_connection((where.hostname, where.port)) as client:
        client.settimeout(10)
        client.sendall(head.encode())
        found = b""
        while b'"instance":"/rank"}' not in found:
            more = client.recv(65536)
            assert more, found
            found += more
    assert found.startswith(b"HTTP/1.1 503 ")


def test_other_routes_answer_under_overload(service: Running) -> None:
    with overloaded(service):
        for path in ("/livez", "/readyz", "/healthz", "/metrics", "/v1/plans/feed"):
            assert service.client.get(path).status_code == 200


def test_refusals_and_work_in_progress_are_counted(service: Running) -> None:
    with overloaded(service):
        service.rank(BODY | {"user": {"id": "x" * 5000}})
        text = service.client.get("/metrics").text
    assert 'finerank_requests_total{scene="",status="503"}' in text
    assert 'finerank_refused_total{reason="overload"}' in text
    assert "finerank_requests_in_progress 2.0" in text
    assert "finerank_backlog_seconds" in text
    service.rank(BODY)
    assert 'finerank_predicted_seconds{model="tiny/1"}' in service.client.get("/metrics").text


def test_header_that_is_no_duration_is_let_in_to_be_told_so(service: Running) -> None:
    answer = service.rank(BODY, **{"X-Request-Timeout-Ms": "soon"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["header"] == "X-Request-Timeout-Ms"


def test_every_request_gives_its_ticket_back(service: Running) -> None:
    for body in (BODY, {"scene": "feed"}, {"scene": "nowhere", "candidates": {"ids": []}}):
        service.rank(body)
    assert service.runtime.parts.scorer.admission.in_progress == 0


def test_plan_without_the_input_order_refuses_what_it_cannot_score(service: Running) -> None:
    hurry = {"X-Request-Timeout-Ms": "1"}
    late = service.rank(BODY, **hurry)
    assert (late.status_code, late.json()["degraded_detail"]) == (200, {"deadline": 20})
    service.publish({**PLAN, "ladder": [{"step": "fewer", "least": 10}]})
    for _ in range(200):  # until the loader has it
        late = service.rank(BODY, **hurry)
        if late.status_code == 503:
            break
    assert late.json()["type"] == "urn:finerank:problem:nothing-scored"
    assert late.headers["retry-after"] == "1"
    assert 'finerank_refused_total{reason="deadline"}' in service.client.get("/metrics").text
    service.publish(PLAN)
