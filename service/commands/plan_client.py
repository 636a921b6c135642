"""A client of `/v1/plans/{scene}` and what is written in the same way; refusals are sentences."""

import getpass
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

from service.api.plan_edit import change_params
from service.api.shadow_edit import promote_shadow, start_shadow, stop_shadow
from service.commands.console import Misused
from service.commands.local_token import local_token
from service.errors import ServiceError
from service.experiment.freeze import frozen
from service.experiment.signing import SIGNATURE_HEADER, PlanKey

TIMEOUT_S = 30.0
UNNAMED = "somebody"  # who wrote over HTTP and did not say ?author=
_WRITE_S = 300.0  # a plan with a new model is answered when that is proved and rehearsed

Document = dict[str, Any]
Findings = list[dict[str, Any]]


class Refused(Exception):
    """The service, or the way to it, said no; the sentence says what and where."""


class NoUrl(Refused, Misused):
    """It does not begin with http."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is no URL of a service: add http://, as in http://{url}")


class NoAnswer(Refused):
    """Nobody is there, or it is no place."""

    def __init__(self, url: object, error: Exception) -> None:
        place = str(url).rstrip("/")
        super().__init__(
            f"no answer from {place}: {error}; if the service runs elsewhere, say where with --url"
            " or FINERANK_URL, else start it with finerank serve"
        )


class PlanClient:
    """The plan of one scene. Reads need no token; with a key, what is written is signed."""

    def __init__(
        self,
        url: str,
        scene: str,
        token: str | None = None,
        key: str | None = None,
        root: str = "/v1/plans",
    ) -> None:
        self._place = f"{root}/{scene}".rstrip("/")
        self._key = PlanKey(key) if key else None
        self._token = token or local_token(url)
        self._http = httpx.Client(base_url=with_scheme(url), timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def live(self) -> Document | None:
        """The live version, as `get` answers it; None when the scene has no plan."""
        answer = self._send("GET", "")
        return None if answer.status_code == httpx.codes.NOT_FOUND else accepted(answer)

    def every(self) -> Document:
        """What there is under the root."""
        return accepted(self._send("GET", ""))

    def get(self, version: int | None = None) -> Document:
        query = {} if version is None else {"version": version}
        return accepted(self._send("GET", "", params=query))

    def history(self, limit: int, before: str | None = None) -> Document:
        """A page; `before`: the `next` of the one before."""
        query = {"limit": limit} | ({} if before is None else {"before": before})
        return accepted(self._send("GET", "/history", params=query))

    def replicas(self) -> Document:
        return accepted(self._send("GET", "/replicas"))

    def validate(self, document: Document) -> Document:
        return accepted(self._send("POST", "/validate", json=document))

    def preview(self, document: Document, last: int) -> Document:
        """With a token of what is in unfinished log files, too."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        query = {"last": last}
        answer = self._send("POST", "/preview", params=query, json=document, headers=headers)
        return accepted(answer)

    def put(
        self,
        document: Document,
        live: int | None,
        author: str,
        message: str,
        signature: str | None = None,
    ) -> Document:
        """Publish over the version `live`; None: as the first plan of the scene."""
        headers = {"If-None-Match": "*"} if live is None else _if_match(live)
        headers |= {SIGNATURE_HEADER: signature} if signature else self._signed(document)
        return self._write("PUT", "", document, headers, author, message)

    def patch(
        self, params: dict[str, float], live: Document, author: str, message: str
    ) -> Document:
        """Change params of the plan `live`, as `get` answered it."""
        headers = _if_match(live["version"])
        with suppress(ServiceError):  # what cannot be changed the service refuses better
            headers |= self._signed(change_params(live["plan"], params))
        return self._write("PATCH", "", {"params": params}, headers, author, message)

    def freeze(self, live: Document, formula: str | None, reason: str, author: str) -> Document:
        """Serve one formula of the plan `live`, as `get` answered it; None: all of it again."""
        headers = _if_match(live["version"]) | self._signed(frozen(live["plan"], formula, reason))
        body = {"formula": formula, "reason": reason}
        return self._write("POST", "/freeze", body, headers, author, "")

    def rollback(self, version: int | None, author: str, message: str) -> Document:
        body = {} if version is None else {"version": version}
        return self._write("POST", "/rollback", body, {}, author, message)

    def shadow_report(self) -> Document:
        return accepted(self._send("GET", "/shadow"))

    def start_shadow(self, shadow: Document, author: str, message: str) -> Document:
        """Score this beside the answers."""
        return self._shadow(
            "PUT", "", shadow, lambda plan: start_shadow(plan, shadow), author, message
        )

    def stop_shadow(self, author: str, message: str) -> Document:
        return self._shadow("DELETE", "", {}, stop_shadow, author, message)

    def promote_shadow(self, author: str, message: str) -> Document:
        """Serve what is in shadow."""

        def change(plan: Document) -> Document:
            shadow = self.shadow_report()["shadow"] or {}
            return promote_shadow(plan, shadow.get("model"))

        return self._shadow("POST", "/promote", {}, change, author, message)

    def _shadow(
        self,
        method: str,
        path: str,
        body: Document,
        change: Callable[[Document], Document],
        author: str,
        message: str,
    ) -> Document:
        """With a key, over the version that was signed; else over whatever is live."""
        headers: dict[str, str] = {}
        if self._key is not None:
            live = self.get()
            headers = _if_match(live["version"])
            with suppress(ServiceError):  # what cannot be changed the service refuses better
                headers |= self._signed(change(live["plan"]))
        return self._write(method, f"/shadow{path}", body, headers, author, message)

    def signature(self, document: Document) -> str:
        """With the key; "" without one."""
        return "" if self._key is None else self._key.sign(document)

    def _signed(self, document: Document) -> dict[str, str]:
        signature = self.signature(document)
        return {SIGNATURE_HEADER: signature} if signature else {}

    def _write(
        self,
        method: str,
        path: str,
        body: Document,
        headers: dict[str, str],
        author: str,
        message: str,
    ) -> Document:
        if not self._token:
            raise Refused("a write needs the service's token: --token, or FINERANK_TOKEN")
        answer = self._send(
            method,
            path,
            json=body,
            params={"author": author or _login(), "message": message},
            headers={"Authorization": f"Bearer {self._token}", **headers},
        )
        return accepted(answer)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            timeout_s = TIMEOUT_S if method == "GET" else _WRITE_S
            return self._http.request(method, self._place + path, timeout=timeout_s, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(self._http.base_url, error) from error
        except ValueError as error:  # a number that JSON does not have
            raise Refused(f"the document cannot be sent: {error}") from error


def with_scheme(url: str) -> str:
    """The URL of a service, without its last slash.

    Raises:
        NoUrl: it does not begin with http.
    """
    if "://" not in url:
        raise NoUrl(url)
    return url.rstrip("/")


def _login() -> str:
    """The name of who is logged in; "" where the system knows none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _if_match(version: int) -> dict[str, str]:
    return {"If-Match": f'"v{version}"'}


def read_document(path: Path) -> Document:
    """A plan document from a file, or from stdin for `-`.

    Raises:
        Refused: no such file, or no JSON object in it (with the place).
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        document = json.loads(text)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise Refused(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused(f"{path} holds no JSON object")
    return document


def accepted(answer: httpx.Response) -> Document:
    """The reply.

    Raises:
        Refused: with everything the problem document says.
    """
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and isinstance(body, dict):
        return body
    if not isinstance(body, dict) or "detail" not in body:
        raise Refused(f"{answer.request.url} answered {answer.status_code}, not finerank's way")
    lines = [f"{body.get('title')}: {body['detail']}"]
    for fault in (faults := body.get("errors", [])):
        place = fault.get("pointer") or fault.get("header") or "/"
        if len(faults) == 1 and fault["detail"] in body["detail"]:  # said already
            if place not in body["detail"]:
                lines = [f"{body.get('title')}: {place}: {body['detail']}"]
        else:
            label = "warning " if fault.get("severity") == "warning" else ""
            lines.append(f"  {label}{place}: {fault['detail']}")
        lines += [f"    {line}" for line in fault.get("caret", "").splitlines()]
    if "changes" in body:
        who = f"{body['author'] or UNNAMED} published version {body['version']}"
        lines.append(f"  {who} at {body['published_at']}: {body['message']}")
        lines += [f"    {line}" for line in body["changes"]]
    raise Refused("\n".join(lines))
