"""One scene of the running service, for one test: its plan, what is refused, what it ranks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.running import Running

TREATED = {"id": "treated"}  # the user whom `experiment` forces into the arm


@dataclass(frozen=True)
class Scene:
    """`name` has no plan until `publish`."""

    service: Running
    name: str

    def plan(self, score: str | Mapping[str, Any], **keys: Any) -> dict[str, Any]:
        """A plan of one formula; a number in `params` gets the bounds of itself and 0 to 5."""
        formula = dict(score) if isinstance(score, Mapping) else {"score": score}
        if "params" in formula:
            formula["params"] = {
                name: {"value": value, "min": min(value, 0), "max": max(value, 5)}
                for name, value in formula["params"].items()
            }
        return {
            "format": 1,
            "scene": self.name,
            "model": "tiny@champion",
            "deadline_ms": 5000,
            "formulas": {"base": formula},
            "default": {"formula": "base"},
        } | keys

    def publish(self, score: str | Mapping[str, Any], **keys: Any) -> int:
        return self.service.publish(self.plan(score, **keys), self.name)

    def refused(self, score: str | Mapping[str, Any], **keys: Any) -> dict[str, Any]:
        """The first reason why a PUT does not go live."""
        answer: httpx.Response = self.service.put(self.plan(score, **keys), self.name)
        assert answer.status_code == 422, answer.text
        first: dict[str, Any] = answer.json()["errors"][0]
        return first

    def rank(
        self, items: int | Sequence[str] = 20, *, timeout_ms: int | None = None, **keys: Any
    ) -> dict[str, Any]:
        """The reply to a request for `i14`, `i15` …, or for the given ids."""
        ids = [f"i{14 + n}" for n in range(items)] if isinstance(items, int) else list(items)
        features = keys.pop("features", None)
        candidates = {"ids": ids} | ({"features": features} if features else {})
        document = {"scene": self.name, "candidates": candidates, "user": {"id": "u7"}} | keys
        headers = {} if timeout_ms is None else {"X-Request-Timeout-Ms": str(timeout_ms)}
        answer = self.service.rank(document, **headers)
        assert answer.status_code == 200, answer.text
        reply: dict[str, Any] = answer.json()
        return reply


def experiment(**set_: Any) -> dict[str, Any]:
    """Plan keys of an experiment that everybody else stays out of."""
    arm = {"name": "arm", "share": 1, "set": set_}
    test = {"name": "test", "buckets": [[0, 0]], "arms": [arm]}
    layer = {"name": "layer", "salt": "s", "unit": "user_id", "experiments": [test]}
    return {"layers": [layer], "force": {TREATED["id"]: {"layer": "test/arm"}}}


def by_id(reply: Mapping[str, Any]) -> dict[str, float | None]:
    return dict(zip(reply["ids"], reply["scores"], strict=True))


def heads_of(reply: Mapping[str, Any]) -> list[dict[str, float]]:
    """The heads of each candidate, in the order of the reply."""
    names = reply["heads"]
    return [dict(zip(names, row, strict=True)) for row in zip(*names.values(), strict=True)]


def is_close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-9) for a, b in zip(one, other, strict=True)
    )
