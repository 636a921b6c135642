"""Render refusals as RFC 9457 problem documents, and other rooms' errors as refusals."""

from http import HTTPStatus

import orjson
import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from service.api.answer import Answer
from service.errors import Fault, ServiceError

MEDIA_TYPE = "application/problem+json"
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_TYPE = "urn:finerank:problem:"

log = structlog.get_logger("finerank.api")


def problem(error: ServiceError, instance: str | None = None) -> Answer:
    """The problem document of a refusal, with `errors` for the places it names."""
    document: dict[str, object] = {
        "type": _TYPE + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if instance is not None:
        document["instance"] = instance
    if error.faults:
        document["errors"] = [_fault(fault) for fault in error.faults]
    document.update(error.more)
    content = orjson.dumps(document)
    headers = {"cache-control": "no-store", **error.headers}
    raw = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
    raw.append((b"content-length", b"%d" % len(content)))
    raw.append((b"content-type", MEDIA_TYPE.encode()))
    return Answer(error.status, raw, content)


def surprise(error: Exception, path: str) -> Answer:
    """A bug: the caller learns that it happened, the log learns what."""
    log.error("unhandled_error", path=path, exc_info=error)
    return problem(
        ServiceError(f"{type(error).__name__} while answering; the log has the details"), path
    )


def problem_response(error: ServiceError, instance: str | None = None) -> Response:
    """The same for the framework."""
    return _response(problem(error, instance))


def _response(answer: Answer) -> Response:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.content, answer.status, headers, MEDIA_TYPE)


def _fault(fault: Fault) -> dict[str, object]:
    place = {"pointer": fault.pointer, "header": fault.header}
    return {k: v for k, v in place.items() if v is not None} | {
        "detail": fault.detail,
        **fault.more,
    }


def install(app: FastAPI) -> None:
    """Make every error of the application leave as a problem document."""
    app.add_exception_handler(ServiceError, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error, request.url.path)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    asked = f"{request.method} {request.url.path}"
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["allow"] = _methods(request) or headers.get("allow", "")
    details = {
        HTTPStatus.NOT_FOUND: f"{asked}: there is no such route; /openapi.json lists them",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{asked}: this route takes {headers.get('allow')}",
    }
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": details.get(status, f"{asked}: {error.detail}"),
        "instance": request.url.path,
    }
    return Response(
        orjson.dumps(document),
        status_code=status.value,
        headers=headers,
        media_type=MEDIA_TYPE,
    )


def _methods(request: Request) -> str:
    """What all routes of this path take; the framework names those of the first one only."""
    asked = {key: request.scope[key] for key in ("type", "path", "root_path", "headers")}

    def takes(method: str) -> bool:
        scope = {**asked, "method": method}
        return any(route.matches(dict(scope))[0] is Match.FULL for route in request.app.routes)

    return ", ".join(filter(takes, _METHODS))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    """The caller left while sending: nobody reads this, and it is no bug."""
    return Response(status_code=400)


async def _on_surprise(request: Request, error: Exception) -> Response:
    return _response(surprise(error, request.url.path))
