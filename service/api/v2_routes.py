"""`/v2`: the raw models by the Open Inference Protocol, for those who bring their own encoding.

No user, plan or formula is involved. One request is run at a time, beside the ranking ones, which
keep the other threads. Refusals are problem documents that also have the protocol's `error`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from service.api.deadline import LARGEST_MS, read_timeout_ms
from service.api.decoding import validated
from service.api.json_body import parse
from service.api.json_reply import NO_STORE, json_reply
from service.api.openapi import body_of, problems
from service.api.places import Places
from service.api.tensors import DATATYPES, InferRequest, read_blocks, refused
from service.contract.repository import ModelRef
from service.errors import InferenceFailed, ServiceError, UnknownModel
from service.experiment.findings import did_you_mean, pointer
from service.experiment.loader import PlanLoader
from service.scoring.errors import RunFailed, RunStopped
from service.scoring.package import LoadedModel
from service.scoring.pool import ModelPool
from service.scoring.raw import run_rows
from service.scoring.session import Stop

_READ = problems(404)
_INFER = problems(400, 404, 413, 415, 422, 503)
_BINARY = "inference-header-content-length"


def v2_routes(
    loader: PlanLoader,
    pool: ModelPool,
    version: str,
    most_rows: int,
    places: Places | None = None,
) -> APIRouter:
    """The protocol's routes of one application. `places`: of those who wait for a run."""
    router = APIRouter(prefix="/v2", tags=["raw models"], default_response_class=Response)
    places = places or Places("runs of raw models")
    one_at_a_time = asyncio.Semaphore(1)

    @router.get("", summary="This server")
    async def server() -> Response:
        return json_reply({"name": "finerank", "version": version, "extensions": []})

    @router.get("/health/live", summary="The process answers")
    async def live() -> Response:
        return json_reply({"live": True})

    @router.get("/health/ready", summary="A model is loaded")
    async def ready() -> Response:
        return json_reply({"ready": bool(pool.ids)}, 200 if pool.ids else 503)

    @router.get("/models/{name}", summary="Inputs and heads of a model", responses=_READ)
    @router.get("/models/{name}/versions/{number}", responses=_READ)
    async def model(name: str, number: str | None = None) -> Response:
        with _in_the_protocol():
            return json_reply(_metadata(_find(loader, pool, name, number), pool))

    @router.get("/models/{name}/ready", summary="Whether it is loaded", responses=_READ)
    @router.get("/models/{name}/versions/{number}/ready", responses=_READ)
    async def model_ready(name: str, number: str | None = None) -> Response:
        with _in_the_protocol():
            found = _find(loader, pool, name, number)
            return json_reply({"name": found.manifest.name, "ready": True})

    @router.post("/models/{name}/infer", responses=_INFER, openapi_extra=body_of(InferRequest))
    @router.post(
        "/models/{name}/versions/{number}/infer",
        responses=_INFER,
        openapi_extra=body_of(InferRequest),
    )
    async def infer(request: Request, name: str, number: str | None = None) -> Response:
        """Run encoded rows; every output is a head, by name."""
        with _in_the_protocol():
            found = _find(loader, pool, name, number)
            if _BINARY in request.headers:
                raise refused("tensors are read as JSON; the binary extension is not spoken", "")
            timeout_s = (read_timeout_ms(request.headers) or LARGEST_MS) / 1000
            body = await request.body()
            with places.take():
                asked = validated(InferRequest, parse(body))
                wanted = _wanted(asked, found)
                blocks = read_blocks(asked.inputs, found.schema, most_rows)
                heads = await _run(found, blocks, one_at_a_time, timeout_s)
            return _answer(asked, found, {name: heads[name] for name in wanted})

    return router


@contextmanager
def _in_the_protocol() -> Iterator[None]:
    try:
        yield
    except ServiceError as error:
        error.more.setdefault("error", error.detail)
        raise


def _find(loader: PlanLoader, pool: ModelPool, name: str, number: str | None) -> LoadedModel:
    """The loaded version; without a number, the one that a live scene's default ranks with, else
    the newest loaded.

    Raises:
        UnknownModel: it is not loaded; raw models are those that rank now.
    """
    versions = _versions(pool, name)
    if number is None and versions:
        live = (loader.snapshot(scene) for scene in loader.scenes())
        serving = [s.default.model.partition("/") for s in live if s is not None]
        number = next((version for own, _, version in serving if own == name), versions[-1])
    found = pool.get(f"{name}/{number}") if versions else None
    if found is None:
        asked = name if number is None else f"{name}/{number}"
        loaded = ", ".join(pool.ids) or "none"
        raise UnknownModel(f"model {asked[:80]!r} is not loaded (loaded: {loaded})")
    return found


def _versions(pool: ModelPool, name: str) -> list[str]:
    refs = [ref for ref in map(ModelRef.parse, pool.ids) if ref.name == name]
    refs.sort(key=lambda ref: (ref.version or 0, ref.variant or ""))
    return [str(ref).partition("/")[2] for ref in refs]


def _metadata(model: LoadedModel, pool: ModelPool) -> dict[str, Any]:
    return {
        "name": model.manifest.name,
        "versions": _versions(pool, model.manifest.name),
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": name, "datatype": DATATYPES[dtype], "shape": [-1, width]}
            for name, (_, dtype, width) in model.schema.inputs.items()
        ],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [-1]} for name in model.manifest.head_names
        ],
    }


def _wanted(asked: InferRequest, model: LoadedModel) -> list[str]:
    heads = list(model.manifest.head_names)
    if asked.outputs is None:
        return heads
    for number, output in enumerate(asked.outputs):
        if output.name not in heads:
            hint = did_you_mean(output.name, heads)
            place = pointer("outputs", number, "name")
            raise refused(f"the model has no head {output.name[:64]!r}{hint}", place)
    return [output.name for output in asked.outputs]


async def _run(
    model: LoadedModel, blocks: dict[str, Any], turns: asyncio.Semaphore, timeout_s: float
) -> dict[str, Any]:
    """The heads; waiting for a turn is part of the time."""
    stop, loop = Stop(), asyncio.get_running_loop()
    until_s = loop.time() + timeout_s
    try:
        async with asyncio.timeout_at(until_s):
            await turns.acquire()
    except TimeoutError:
        raise InferenceFailed(f"{model.id} had no turn within {timeout_s * 1000:g} ms") from None
    timer = loop.call_at(until_s, stop.set)
    try:
        return await asyncio.to_thread(run_rows, model, blocks, stop)
    except RunStopped:
        raise InferenceFailed(f"{model.id} did not end within {timeout_s * 1000:g} ms") from None
    except RunFailed as err:
        raise InferenceFailed(str(err)) from err
    finally:
        timer.cancel()
        turns.release()


def _answer(asked: InferRequest, model: LoadedModel, heads: dict[str, Any]) -> Response:
    document: dict[str, Any] = {
        "model_name": model.manifest.name,
        "model_version": model.id.partition("/")[2],
        "outputs": [
            {"name": name, "datatype": "FP32", "shape": [len(values)], "data": values}
            for name, values in heads.items()
        ],
    }
    if asked.id is not None:
        document["id"] = asked.id
    content = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json", headers=NO_STORE)
