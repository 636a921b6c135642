"""Rankings that were never served, for tests of what reads them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from service.fusion import Formula, compile_formula
from service.traffic.record import Entry, Ranked, Used

HEADS = ("ctr", "vcr")
ATTRIBUTES = ("videolen_s",)
SCALARS = ("context.hour", "user.age")


def formula(text: str) -> Formula:
    return compile_formula(text, heads=HEADS, attributes=ATTRIBUTES, scalars=SCALARS)


@dataclass(frozen=True)
class Draft:
    """Everybody gets one formula."""

    formula: Formula
    formula_name: str = "draft"
    rerank: Any = None

    def scalars(self, user: Any, context: Any) -> dict[str, float]:
        given = {"user": user, "context": context}
        return {n: float(given[n.split(".")[0]][n.split(".")[1]]) for n in self.formula.scalars}


def ranked(number: int, candidates: int, served: str = "ctr", **changes: Any) -> Ranked:
    """A request of some candidates; few different values, so that there are ties."""
    random = np.random.default_rng(number)
    heads = {h: random.integers(0, 8, candidates).astype(np.float32) / 8 for h in HEADS}
    attributes = {"videolen_s": random.integers(1, 40, candidates) * 10.0}
    scores = formula(served)({**heads, **attributes}, rows=candidates)
    values = np.where(scores.valid, scores.values, np.nan)
    order = np.argsort(np.where(scores.valid, -scores.values, np.inf), kind="stable")
    user, context = {"age": 20 + number % 3}, {"hour": number % 24}
    found = Ranked(
        request_id=f"r{number}",
        scene="feed",
        at_s=1_000_000.0 + number,
        took_ms=1.5,
        user_id=f"u{number % 7}",
        user=user,
        context=context,
        asked={},
        all_user=user,
        all_context=context,
        plan=3,
        model="m/1",
        formula="base",
        params={"a": 0.3},
        signs={"a": 1 if number % 2 else -1},
        assignments={"fusion": f"test/{'treatment' if number % 7 < 3 else 'control'}"},
        exp_id="",
        degraded={},
        limit=None,
        ids=[f"i{n}" for n in random.permutation(50 + candidates)[:candidates]],
        order=order,
        scores=values,
        heads=heads,
        attributes=attributes,
    )
    return found._replace(**changes)


def entry(of: Ranked) -> Entry:
    """With blocks of a schema that is one user id and one item number."""
    rows = of.scored
    blocks = {
        "user_ids": np.ones((1, 1), np.int32),
        "item_values": np.arange(rows, dtype=np.float32)[:, None],
        "cross_values": np.zeros((rows, 2), np.float32),
    }
    records = [f'{{"id": "{id_}"}}'.encode() for id_ in of.ids[:rows]]
    return Entry(of, Used({}, b'{"age": 50}', records, None, blocks))
