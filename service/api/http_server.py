"""Which protocol uvicorn speaks: with the fast lane, or its own where that cannot be."""

import asyncio
import inspect
import os
from typing import Literal

import structlog

from service.api.app import App, telemetry_config

log = structlog.get_logger("finerank.http_server")

# What the lane uses of uvicorn that uvicorn promises nobody.
_ATTRIBUTES = frozenset(
    {
        "access_logger", "config", "cycle", "flow", "limit_concurrency", "logger",
        "loop", "parser", "root_path", "server_state", "tasks", "transport",
    }
)  # fmt: skip
_METHODS = frozenset(
    {
        "_unset_keepalive_if_required", "data_received", "on_message_begin", "on_message_complete",
        "on_response_complete",
    }
)  # fmt: skip
_ARGUMENTS = frozenset(
    {
        "access_log", "access_logger", "default_headers", "expect_100_continue", "flow",
        "keep_alive", "logger", "message_event", "on_response", "scope", "transport",
    }
)  # fmt: skip
_CYCLE = frozenset({"disconnected", "keep_alive", "on_response", "response_complete"})


def http_protocol(app: App) -> type[asyncio.Protocol] | Literal["auto"]:
    """What to give to `http=` of `uvicorn.Config` for this application."""
    if telemetry_config(os.environ).get("auto_configure"):
        log.info("fast_lane_closed", reason="requests are traced")
        return "auto"
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

        from service.api.fast_lane import fast_lane
    except ImportError as err:
        log.warning("fast_lane_closed", reason=str(err))
        return "auto"
    if lacking := lacking_internals(HttpToolsProtocol, RequestResponseCycle):
        log.warning("fast_lane_closed", reason=f"this uvicorn has no {', '.join(lacking)}")
        return "auto"
    return fast_lane(app.state.door)


def lacking_internals(protocol: type, cycle: type) -> list[str]:
    """What the lane needs of uvicorn's two classes and does not find there."""
    made = inspect.signature(cycle).parameters
    return sorted(
        {name for name in _METHODS if not hasattr(protocol, name)}
        | (_ATTRIBUTES - _set_by(protocol))
        | (_CYCLE - _set_by(cycle))
        | {f"{name} of a cycle" for name in _ARGUMENTS ^ set(made)}
    )


def _set_by(owner: type) -> frozenset[str]:
    """The names that its constructor mentions, those of all attributes it sets among them."""
    return frozenset(owner.__init__.__code__.co_names)  # type: ignore[misc]
