"""`/v1/models`: what there is, what serves and why something does not; promote and demote."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.api.access import require_token
from service.api.decoding import validated
from service.api.json_body import parse
from service.api.json_reply import json_reply
from service.api.openapi import body_of, problems
from service.api.promoting import Promoted, Promoter
from service.contract.repository import CHAMPION, ModelRef
from service.errors import StoreDown, UnknownModel
from service.experiment.connection import UNAVAILABLE
from service.scoring.proof import shown

_Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
_WRITE = problems(400, 401, 403, 404, 409, 413, 415, 422, 503)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    alias: _Alias = CHAMPION
    author: Annotated[str, Field(max_length=200)] = ""


class PromoteRequest(_Body):
    """The version that the alias is to point at."""

    version: Annotated[int, Field(ge=1, le=999_999_999)]


class DemoteRequest(_Body):
    """The alias that is to go back to the version before."""


def model_routes(promoter: Promoter, token: str) -> APIRouter:
    """The model routes of one application."""
    router = APIRouter(prefix="/v1/models", tags=["models"], default_response_class=Response)

    @router.get("", summary="Every model", responses=problems(503))
    async def list_models() -> Response:
        """Versions with state, aliases, the scenes they rank, and the gate's verdict or refusal."""
        names = await asyncio.to_thread(promoter.loader.repository.names)
        return json_reply({"models": await _describe(promoter, names)})

    @router.get("/{name}", summary="One model", responses=problems(404, 503))
    async def get_model(name: str) -> Response:
        """The same for one model."""
        names = await asyncio.to_thread(promoter.loader.repository.names)
        if name not in names:
            raise UnknownModel(f"no model {name[:80]!r} (known: {', '.join(names) or 'none'})")
        return json_reply((await _describe(promoter, [name]))[0])

    @router.post("/{name}/promote", responses=_WRITE, openapi_extra=body_of(PromoteRequest))
    async def promote(name: str, request: Request) -> Response:
        """Point an alias at a version; answers when this replica ranks with it.

        Where it points there already, nothing is proved or rehearsed: `"moved": false`.
        """
        require_token(request, token)
        asked = validated(PromoteRequest, parse(await request.body()))
        return _moved(await promoter.promote(name, asked.alias, asked.version, asked.author))

    @router.post(
        "/{name}/demote", responses=_WRITE, openapi_extra=body_of(DemoteRequest, required=False)
    )
    async def demote(name: str, request: Request) -> Response:
        """Point an alias where it pointed before its version was promoted."""
        require_token(request, token)
        body = await request.body()
        asked = validated(DemoteRequest, parse(body)) if body else DemoteRequest()
        return _moved(await promoter.demote(name, asked.alias, asked.author))

    return router


async def _describe(promoter: Promoter, names: list[str]) -> list[dict[str, Any]]:
    loader = promoter.loader
    try:
        aliases = await loader.aliases.read(names)
    except UNAVAILABLE as err:
        raise StoreDown(
            f"the store, which holds the aliases, does not answer ({type(err).__name__})",
            headers={"retry-after": "1"},
        ) from err
    versions = await asyncio.to_thread(lambda: {n: loader.repository.versions(n) for n in names})
    states = promoter.pool.states()
    return [
        {
            "name": name,
            "aliases": aliases.get(name, {}),
            "versions": [
                _version(promoter, name, v, aliases.get(name, {}), states) for v in versions[name]
            ],
        }
        for name in names
    ]


def _version(
    promoter: Promoter,
    name: str,
    version: int,
    aliases: dict[str, int],
    states: dict[str, Any],
) -> dict[str, Any]:
    """One version. Heads and the like only of a loaded one: reading a manifest takes a while."""
    id_, pool, loader = f"{name}/{version}", promoter.pool, promoter.loader
    live = {scene: loader.snapshot(scene) for scene in loader.scenes()}
    found: dict[str, Any] = {
        "version": version,
        "model": id_,
        "state": states.get(id_, "available"),
        "aliases": sorted(alias for alias, v in aliases.items() if v == version),
        "scenes": [
            scene
            for scene, s in live.items()
            if s is not None and id_ in {str(ModelRef.parse(m).package) for m in s.models}
        ],
    }
    if id_ in pool.refusals:
        found["reason"] = pool.refusals[id_]
    if (verdict := pool.verdicts.get(id_)) is not None:
        found["verdict"] = shown(verdict)
    forms = [other for other in states if other.startswith(f"{id_}+")]
    if (loaded := next(filter(None, map(pool.get, (id_, *forms))), None)) is not None:
        manifest = loaded.manifest
        found |= {
            "created_at": manifest.created_at,
            "heads": list(manifest.head_names),
            "cut": manifest.cut,
        }
        if manifest.variants:
            found["variants"] = {
                form: variant.model_dump(exclude={"files", "golden"})
                | {"state": states.get(f"{id_}+{form}", "available")}
                for form, variant in manifest.variants.items()
            }
    return found


def _moved(promoted: Promoted) -> Response:
    return json_reply(asdict(promoted))
