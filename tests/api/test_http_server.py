"""The lane is used where uvicorn is as it must be, and nothing breaks where it is not."""

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.h11_impl import RequestResponseCycle as H11Cycle
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.api.fast_lane import FastLane
from service.api.http_server import http_protocol, lacking_internals


def test_the_installed_uvicorn_has_what_the_lane_needs():
    assert lacking_internals(HttpToolsProtocol, RequestResponseCycle) == []


def test_a_uvicorn_that_is_made_differently_is_told_by_what_it_lacks():
    assert lacking_internals(H11Protocol, H11Cycle) == [
        "conn of a cycle",
        "expect_100_continue of a cycle",
        "keep_alive of a cycle",
        "on_message_begin",
        "on_message_complete",
        "parser",
    ]


def test_requests_take_the_lane_unless_they_are_traced(service, monkeypatch):
    app = service.runtime.app
    protocol = http_protocol(app)
    assert isinstance(protocol, type)
    assert issubclass(protocol, FastLane)
    assert protocol.door is app.state.door
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert http_protocol(app) == "auto"
