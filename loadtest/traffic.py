"""Request bodies for the bench model, made before the clock starts; same seed, same bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import orjson

from loadtest.catalogue import SCENE, Catalogue

# `new-columns` are columns whose dense values are others in every request, as of live counters.
Form = Literal["ids", "columns", "rows", "new-columns"]
FORMS: tuple[Form, ...] = get_args(Form)
NEW_VALUES: frozenset[Form] = frozenset({"new-columns"})  # not what the catalogue says

# A feed asks for a few hundred candidates, now and then for many: candidates -> share of requests.
MIXED: Mapping[int, float] = {100: 0.2, 300: 0.4, 500: 0.3, 1_000: 0.1}


@dataclass(frozen=True)
class Body:
    """One request body and the number of its candidates."""

    content: bytes
    candidates: int


def make_bodies(
    catalogue: Catalogue,
    form: Form,
    candidates: int | Mapping[int, float],
    *,
    count: int,
    seed: int,
    limit: int | None = None,
) -> list[Body]:
    """`count` bodies of random users and items; features are inline unless the form is `ids`.

    Args:
        candidates: their number, or a mix {number: share of requests}.
        limit: the request's `limit`, left out when None: every candidate is answered.
    """
    draw = np.random.default_rng([catalogue.seed, seed])
    mix = candidates if isinstance(candidates, Mapping) else {candidates: 1.0}
    shares = np.array(list(mix.values()), float)
    sizes = draw.choice(list(mix), size=count, p=shares / shares.sum())
    bodies = []
    for number, size in enumerate(sizes.tolist()):
        items = draw.choice(catalogue.items, size=size, replace=False)
        message: dict[str, Any] = {"request_id": f"r-{number}", "scene": SCENE}
        message |= _FORMS[form](catalogue, int(draw.integers(catalogue.users)), items)
        if limit is not None:
            message["limit"] = limit
        bodies.append(Body(orjson.dumps(message), size))
    return bodies


def _ids(catalogue: Catalogue, user: int, items: np.ndarray) -> dict[str, Any]:
    return {"user": {"id": f"user_{user}"}, "candidates": {"ids": _names(items)}}


def _columns(catalogue: Catalogue, user: int, items: np.ndarray) -> dict[str, Any]:
    return {
        "user": {"id": f"user_{user}", "features": catalogue.user(user)},
        "candidates": {"ids": _names(items), "features": catalogue.columns(items)},
    }


def _new_columns(catalogue: Catalogue, user: int, items: np.ndarray) -> dict[str, Any]:
    message = _columns(catalogue, user, items)
    draw = np.random.default_rng([user, *items.tolist()])
    values = draw.standard_normal((catalogue.dense, len(items))).round(3).tolist()
    message["candidates"]["features"] |= zip(catalogue.dense_names, values, strict=True)
    return message


def _rows(catalogue: Catalogue, user: int, items: np.ndarray) -> dict[str, Any]:
    columns = catalogue.columns(items)
    rows = zip(_names(items), zip(*columns.values(), strict=True), strict=True)
    return {
        "user": {"id": f"user_{user}", "features": catalogue.user(user)},
        "items": [
            {"id": id_, "features": dict(zip(columns, row, strict=True))} for id_, row in rows
        ],
    }


_FORMS = {"ids": _ids, "columns": _columns, "rows": _rows, "new-columns": _new_columns}


def _names(items: np.ndarray) -> list[str]:
    return [f"item_{n}" for n in items.tolist()]
