"""An hour of varied rank requests for the demo scene, and the plan with arms that ranks them."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SCENE = "demo"
DEADLINE_MS = 2000  # time enough on a busy machine: what is not scored cannot be replayed
_SIZES = (1, 20, 60, 120, 240)
_RERANK = {
    "decay": [{"by": "brand", "factor": 0.8}],
    "caps": [{"by": "category", "most": 2, "window": 6}],
    "pins": {"i7": 2},
}

Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request: the kind it is of, its body, its headers."""

    kind: str
    body: Document
    headers: dict[str, str] = field(default_factory=dict)


def hour_plan(models: Path) -> Document:
    """The demo plan with two layers, in which everybody is in some arm."""
    plan: Document = json.loads((models / SCENE / "plan.json").read_text())
    return plan | {
        "deadline_ms": DEADLINE_MS,
        "layers": [
            _layer(
                "fusion",
                "user_id",
                control={},
                longer={"set": {"params": {"b": 2.0}}},
                revenue={"set": {"formula": "revenue"}},
                spread={"set": {"rerank": _RERANK}},
            ),
            _layer("wobble", "request_id", plain={}, wobble={"set": {"perturb": {"a": 0.1}}}),
        ],
        "force": {"u3": {"fusion": "all/revenue"}},
    }


def _layer(name: str, unit: str, **arms: Document) -> Document:
    experiment = {
        "name": "all",
        "buckets": [[0, 9999]],
        "arms": [{"name": arm, "share": 1, **more} for arm, more in arms.items()],
    }
    return {"name": name, "salt": f"hour-{name}", "unit": unit, "experiments": [experiment]}


class HourTraffic:
    """Draws requests of every kind in turns; the same seed draws the same requests."""

    def __init__(self, models: Path, seed: int = 0) -> None:
        self._draw = np.random.default_rng(seed)
        self._users = _records(models / SCENE / "users.jsonl")
        self._items = _records(models / SCENE / "items.jsonl")
        self._kinds: tuple[Callable[[Document], Asked], ...] = (
            self._by_id,
            self._inline_columns,
            self._inline_rows,
            self._some_values,
            self._unknown,
            self._nobody,
            self._short,
            self._explained,
            self._hurried,
        )

    def request(self, number: int) -> Asked:
        """The n-th request of the hour: second `number`."""
        body = {
            "request_id": f"hour-{number}",
            "scene": SCENE,
            "user": {"id": self._pick(self._users)["id"]},
            "context": {"tab": int(self._draw.integers(4)), "hour": int(self._draw.integers(24))},
            "candidates": {"ids": [item["id"] for item in self._some_items()]},
        }
        return self._kinds[number % len(self._kinds)](body)

    def changed_items(self) -> list[Document]:
        """A third of the stored items with other values, as a later import writes them."""
        changed = copy.deepcopy(self._items[::3])
        for item in changed:
            item["price"] = round(item["price"] * 1.1, 2)
            item["item_click_rate"] = round(item["item_click_rate"] * 0.9, 5)
        return changed

    def _by_id(self, body: Document) -> Asked:
        return Asked("ids only", body)

    def _inline_columns(self, body: Document) -> Asked:
        items, user = self._some_items(), self._pick(self._users)
        names = [name for name in items[0] if name not in ("id", "item_tab")]
        columns = {name: [item[name] for item in items] for name in names}
        body["user"] = {"id": user["id"], "features": _own(user)}
        body["candidates"] = {"ids": [item["id"] for item in items], "features": columns}
        return Asked("all values inline, columns", body)

    def _inline_rows(self, body: Document) -> Asked:
        del body["candidates"]
        body["items"] = [
            {"id": item["id"], "features": {"videolen_s": item["videolen_s"], "tags": item["tags"]}}
            for item in self._some_items()
        ]
        return Asked("some values inline, rows", body)

    def _some_values(self, body: Document) -> Asked:
        ids = body["candidates"]["ids"]
        present = self._draw.random(len(ids)) < 0.5
        lengths = self._draw.uniform(3, 300, len(ids)).round(1).tolist()
        body["candidates"]["features"] = {
            "videolen_s": [s if there else None for s, there in zip(lengths, present, strict=True)],
            "category": ["never-seen" if n % 3 else None for n in range(len(ids))],
        }
        return Asked("values inline with gaps and unknown words", body)

    def _unknown(self, body: Document) -> Asked:
        body["user"] = {"id": f"stranger-{self._draw.integers(1000)}"}
        body["candidates"]["ids"][::4] = [
            f"new-{n}" for n in range(len(body["candidates"]["ids"][::4]))
        ]
        return Asked("unknown user, unknown items", body)

    def _nobody(self, body: Document) -> Asked:
        body["user"] = {"features": {"age_range": "24-30", "interests": ["cars", "golf"]}}
        body["context"] = {}
        return Asked("no user id, no context", body)

    def _short(self, body: Document) -> Asked:
        return Asked("limit, no heads", body | {"limit": 5, "heads": False})

    def _explained(self, body: Document) -> Asked:
        return Asked("explained", body | {"explain": True})

    def _hurried(self, body: Document) -> Asked:
        ms = int(self._draw.integers(5, 40))
        return Asked("a deadline of 5 to 39 ms", body, {"x-request-timeout-ms": str(ms)})

    def _some_items(self) -> list[Document]:
        count = int(self._draw.choice(_SIZES))
        rows = self._draw.choice(len(self._items), count, replace=False)
        return [self._items[row] for row in rows]

    def _pick(self, records: list[Document]) -> Document:
        return records[int(self._draw.integers(len(records)))]


def _records(path: Path) -> list[Document]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _own(user: Document) -> Document:
    """Without maps: an engine leaves those to the store."""
    return {n: v for n, v in user.items() if n != "id" and not isinstance(v, dict)}
