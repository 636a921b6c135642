"""`/v1/libraries`: functions and formulas that scenes share, written like plans."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from service.api.access import require_token
from service.api.etags import etag, read_precondition
from service.api.json_body import parse
from service.api.json_reply import json_reply
from service.api.openapi import body_of, problems
from service.api.plan_messages import HistoryReply, LibrariesReply, LibraryReply, PublishReply
from service.api.plan_query import read_number, read_page, read_signature, signed_by
from service.api.plan_refusals import refusal_of, store_errors
from service.api.publishing import Publisher
from service.errors import UnknownVersion
from service.experiment.errors import PlanInvalid
from service.experiment.library import Library, check_library
from service.experiment.store import StoredPlan

_READ = problems(404, 503)
_WRITE = problems(400, 401, 403, 404, 412, 413, 415, 422, 428, 503)


def library_routes(publisher: Publisher, token: str) -> APIRouter:
    """The library routes of one application."""
    router = APIRouter(prefix="/v1/libraries", tags=["libraries"], default_response_class=Response)
    store = publisher.loader.shelf.store

    @router.get("", responses={200: {"model": LibrariesReply}, **problems(503)})
    async def list_libraries() -> Response:
        """Every library with its newest version."""
        with store_errors():
            found = await store.live_all(await store.scenes())
        return json_reply({"libraries": found})

    @router.get("/{name}", responses={200: {"model": LibraryReply}, **_READ})
    async def get_library(name: str, request: Request) -> Response:
        """The newest version, or another (`?version=`)."""
        stored = await _read(name, read_number(request, "version"))
        reply = {k: v for k, v in asdict(stored).items() if k != "signature" or v}
        reply["library"] = reply.pop("plan")
        return json_reply(reply, headers={"etag": etag(stored.version)})

    @router.put(
        "/{name}",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=body_of(Library) | signed_by(),
    )
    async def put_library(name: str, request: Request) -> Response:
        """Publish a version: `If-Match: "v<newest>"`; a library's first: `If-None-Match: *`.

        No plan changes by it: plans pin versions.
        """
        require_token(request, token)
        precondition, signature = read_precondition(request), read_signature(request)
        with store_errors():
            newest = await store.live(name)
        precondition.check(name, newest)
        document = parse(await request.body())
        try:
            check_library(name, document)
        except PlanInvalid as err:
            raise refusal_of(err.findings) from err
        signed = publisher.signed(document, signature.signed)
        with store_errors():
            version = await store.publish(
                name,
                document,
                expected=newest,
                author=signature.author,
                message=signature.message,
                signature=signed,
            )
        return json_reply({"version": version, "findings": []}, headers={"etag": etag(version)})

    @router.get("/{name}/history", responses={200: {"model": HistoryReply}, **_READ})
    async def history(name: str, request: Request) -> Response:
        """Versions, newest first, in pages as those of a plan."""
        limit, before = read_page(request)
        newest = (await _read(name, None)).version
        with store_errors():
            page = await store.history_page(name, limit, before)
        entries = [asdict(entry) for entry in page.entries]
        body = {"scene": name, "live": newest, "history": entries, "next": page.next}
        return json_reply(body)

    async def _read(name: str, version: int | None) -> StoredPlan:
        with store_errors():
            found = await store.live(name) if version is None else version
            if found is None:
                known = ", ".join(await store.scenes()) or "none"
                raise UnknownVersion(f"there is no library {name!r} (libraries: {known})")
            return await store.get(name, found)

    return router
