"""A client of `/v1/models`, as any program would write one. Refusals become sentences."""

from typing import Any, Self

import httpx

from service.commands.local_token import local_token
from service.commands.plan_client import Document, NoAnswer, Refused, accepted, with_scheme

TIMEOUT_S = 300.0  # a version is proved before the answer


class ModelClient:
    """The models of one service. Reads need no token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._token = token or local_token(url)
        self._http = httpx.Client(base_url=f"{with_scheme(url)}/v1", timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def list(self) -> Document:
        return self._send("GET", "")

    def get(self, name: str) -> Document:
        return self._send("GET", f"/{name}")

    def promote(self, name: str, version: int, alias: str, author: str) -> Document:
        return self._write(name, "promote", {"version": version, "alias": alias, "author": author})

    def demote(self, name: str, alias: str, author: str) -> Document:
        return self._write(name, "demote", {"alias": alias, "author": author})

    def _write(self, name: str, action: str, body: Document) -> Document:
        if not self._token:
            raise Refused("a write needs the service's token: --token, or FINERANK_TOKEN")
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._send("POST", f"/{name}/{action}", json=body, headers=headers)

    def _send(self, method: str, path: str, **options: Any) -> Document:
        try:
            answer = self._http.request(method, f"/models{path}", **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(self._http.base_url, error) from error
        return accepted(answer)
