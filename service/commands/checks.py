"""What `finerank doctor` looks at: one function a thing, each finding with what to do about it."""

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import httpx

from service.commands.plan_client import Refused, with_scheme
from service.contract.errors import ContractError
from service.contract.repository import Repository
from service.experiment.connection import UNAVAILABLE, connect
from service.experiment.embedded import start_embedded
from service.experiment.errors import EmbeddedError
from service.scoring.errors import RuntimeProblem
from service.scoring.package import load_package
from service.scoring.session import runtime_version
from service.scoring.threads import cpu_budget
from service.settings import EMBEDDED, Settings, masked, unknown_variables

_SERVICE_S = 5.0
_SPEED = ("uvloop", "httptools", "hiredis")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. No `remedy`: all is well. `stops`: serving cannot do without."""

    what: str
    found: str
    remedy: str = ""
    stops: bool = True


def _python(_: Settings) -> Iterator[Finding]:
    yield Finding("python", sys.version.split()[0])
    missing = [name for name in _SPEED if importlib.util.find_spec(name) is None]
    remedy = "./install cpu brings them" if missing else ""
    found = f"without {', '.join(missing)}" if missing else f"with {', '.join(_SPEED)}"
    yield Finding("event loop and parsers", found, remedy, stops=False)


def _runtime(_: Settings) -> Iterator[Finding]:
    try:
        yield Finding("ONNX Runtime", f"{runtime_version()}, installed once")
    except RuntimeProblem as problem:
        yield Finding("ONNX Runtime", "cannot be used", str(problem))


def _threads(settings: Settings) -> Iterator[Finding]:
    budget = cpu_budget()
    found = f"{settings.threads or budget.threads} inference threads ({budget.source})"
    remedy = ""
    if settings.threads is not None and settings.threads > budget.threads:
        remedy = f"FINERANK_THREADS={settings.threads} is more than the {budget.cpus:g} CPUs here"
    yield Finding("threads", found, remedy, stops=False)


def _settings(settings: Settings) -> Iterator[Finding]:
    for sentence in unknown_variables(os.environ):
        yield Finding("settings", sentence, "rename or unset it", stops=False)
    if settings.token is None:
        found = f"made at the first start, kept in {settings.state_dir / 'token'}"
        yield Finding("write token", found)
    else:
        yield Finding("write token", "set")


def _state(settings: Settings) -> Iterator[Finding]:
    where = settings.state_dir.absolute()
    existing = next(p for p in (where, *where.parents) if p.exists())
    if os.access(existing, os.W_OK):
        yield Finding("state directory", str(settings.state_dir))
    else:
        remedy = f"make {existing} writable, or set FINERANK_STATE_DIR"
        yield Finding("state directory", f"{settings.state_dir} is not writable", remedy)


def _store(settings: Settings) -> Iterator[Finding]:
    what = f"store {masked(settings.store)}"
    try:
        with ExitStack() as until:
            url, note = settings.store, ""
            if url == EMBEDDED:
                embedded = until.enter_context(closing(start_embedded(settings.state_dir)))
                url = embedded.url
                note = "; was not running, started now for this check" if embedded.started else ""
            answer = asyncio.run(_ping(url)) + note
    except EmbeddedError as error:
        yield Finding(
            what, str(error), "remove what is in the way, or set FINERANK_STORE=redis://…"
        )
    except (ValueError, *UNAVAILABLE) as error:
        remedy = (
            "start it, or correct FINERANK_STORE; without it only plans saved on disk are served"
        )
        yield Finding(what, f"does not answer: {error}", remedy)
    else:
        yield Finding(what, answer)


async def _ping(url: str) -> str:
    client = connect(url, timeout_s=1.0)
    try:
        server = await client.info("server")
        name = server.get("server_name", "redis")
        return f"{name} {server.get('valkey_version', server.get('redis_version'))} answers"
    finally:
        await client.aclose()


def _service(_: Settings) -> Iterator[Finding]:
    """The service that the other commands would ask, where FINERANK_URL names one."""
    url = os.environ.get("FINERANK_URL")
    if not url:
        return
    what, remedy = f"service {masked(url)}", "start it, or correct FINERANK_URL"
    try:
        answer = httpx.get(f"{with_scheme(url)}/readyz", timeout=_SERVICE_S)
    except Refused as error:
        yield Finding(what, str(error), "correct FINERANK_URL", stops=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield Finding(what, f"does not answer: {error}", remedy, stops=False)
    else:
        if answer.is_success:
            yield Finding(what, "answers")
        else:
            found = f"answers, but /readyz says {answer.status_code}"
            yield Finding(what, found, "its /healthz says why", stops=False)


def _models(settings: Settings) -> Iterator[Finding]:
    repository = Repository(settings.models)
    names = repository.names()
    if not names:
        remedy = "finerank train CONFIG publishes one; FINERANK_MODELS names another directory"
        yield Finding("models", f"none in {settings.models}", remedy)
    for name in names:
        version = repository.versions(name)[-1]
        try:
            loaded = load_package(repository, name, version)
        except RuntimeProblem:
            return  # told above
        except ContractError as error:
            remedy = "publish it again; plans that name it are refused, others are served"
            yield Finding(f"model {name}/{version}", str(error), remedy)
        else:
            yield Finding(f"model {loaded.id}", f"reproduces {len(loaded.golden.raw)} golden rows")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _python,
    _runtime,
    _threads,
    _settings,
    _state,
    _store,
    _service,
    _models,
)
