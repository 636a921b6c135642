"""The graphs that compute heads: one whole, or three, cut where work can be shared and kept.

Of a cut model, `user.onnx` runs once a request, `item.onnx` once for each item as long as the cache
keeps its result, `rank.onnx` for every pair. A *part* is what one side adds to the first layers.

`rank.onnx` picks the items' parts out of a table by itself: nothing copies them before. One that
was exported earlier takes the parts of its rows.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.errors import PackageError
from service.contract.features import FeatureSchema, Side
from service.scoring.session import Heads, Session, Stop, filled_up

MODEL_FILE = "model.onnx"
USER_FILE, ITEM_FILE, RANK_FILE = "user.onnx", "item.onnx", "rank.onnx"
CUT_FILES = (USER_FILE, ITEM_FILE, RANK_FILE)
CUT = "user/item/rank"  # what a manifest says of a model that is cut

USER_PART, ITEM_PART = "user_part", "item_part"
ITEM_PARTS, ITEM_ROWS = "item_parts", "item_rows"  # a table (any, P), and for each pair its row
USER_SIDES: tuple[Side, ...] = ("user", "context")
ITEM_SIDES: tuple[Side, ...] = ("item",)
RANK_SIDES: tuple[Side, ...] = ("cross",)

Array = NDArray[Any]
Part = NDArray[Any]  # (rows, P): float32, and an item's as few bits as its graph gives


class WholeGraph:
    """`model.onnx`."""

    def __init__(self, session: Session, schema: FeatureSchema, heads: Iterable[str]) -> None:
        session.check_inputs(_inputs(schema))
        session.check_heads(heads)
        self._session = session

    def run(self, blocks: Mapping[str, Array], stop: Stop | None = None) -> Heads:
        """Heads of rows: input name -> (rows, width), or (1, width) for all rows.

        Raises:
            RunFailed, RunStopped: see Session.run.
        """
        return self._session.run(blocks, stop)


class CutGraphs:
    """`user.onnx`, `item.onnx` and `rank.onnx`.

    Sessions run at least two rows on one thread, so an item's part has the same bits whatever items
    it was computed with, and can be kept.

    Raises:
        PackageError: the three do not fit the schema, the heads, or each other.
    """

    def __init__(
        self,
        user: Session,
        item: Session,
        rank: Session,
        schema: FeatureSchema,
        heads: Iterable[str],
    ) -> None:
        user.check_inputs(_inputs(schema, USER_SIDES))
        item.check_inputs(_inputs(schema, ITEM_SIDES))
        parts = {USER_PART: user.check_part(USER_PART), ITEM_PART: item.check_part(ITEM_PART)}
        (_, user_width), (self.part_dtype, self.part_width) = parts.values()
        if user_width != self.part_width:
            raise PackageError(
                f"parts have different widths: {user.label} {user_width}"
                f" and {item.label} {self.part_width}"
            )
        self._picks = ITEM_PART not in rank.inputs
        if self._picks:
            parts[ITEM_PARTS] = parts.pop(ITEM_PART)
        rank.check_inputs(
            parts | _inputs(schema, RANK_SIDES),
            one_row=USER_PART,
            row_numbers=[ITEM_ROWS] if self._picks else [],
            parts=parts,
        )
        rank.check_heads(heads)
        self._user, self._item, self._rank = user, item, rank

    def user_part(self, blocks: Mapping[str, Array], stop: Stop | None = None) -> Part:
        """(1, P) of the one user and context; other blocks are left aside."""
        # A request has one user: seven more rows would take as long again.
        return self._user.run(_of(self._user, blocks), stop, fills_up=False)[USER_PART]

    def item_part(self, blocks: Mapping[str, Array], stop: Stop | None = None) -> Part:
        """(N, P) of N items; other blocks are left aside."""
        return self._item.run(_of(self._item, blocks), stop)[ITEM_PART]

    def heads(
        self,
        user: Part,
        items: Part,
        rows: NDArray[np.int64],
        blocks: Mapping[str, Array],
        stop: Stop | None = None,
    ) -> Heads:
        """Heads of N pairs of one user.

        Args:
            user: the user's part, (1, P).
            items: a table of items' parts, (any, P); it may change where no row is read.
            rows: (N,) of the table.
            blocks: of the pairs, N rows each; others are left aside.
        """
        given, count = {**_of(self._rank, blocks), USER_PART: user}, len(rows)
        if self._picks and self._rank.reads_in_place:
            return self._rank.run({**given, ITEM_ROWS: rows}, stop, tables={ITEM_PARTS: items})
        # filled up here: the run would copy the parts once more
        parts = items.take(np.pad(rows, (0, filled_up(count) - count), "edge"), axis=0)
        if self._picks:
            tables = {ITEM_PARTS: parts}
            return self._rank.run({**given, ITEM_ROWS: np.arange(count)}, stop, tables=tables)
        heads = self._rank.run({**given, ITEM_PART: parts}, stop)
        return {name: values[:count] for name, values in heads.items()}

    def run(self, blocks: Mapping[str, Array], stop: Stop | None = None) -> Heads:
        """Heads of one user and N items, nothing kept: user and context blocks have one row.

        Raises:
            RunFailed, RunStopped: see Session.run.
        """
        user, items = self.user_part(blocks, stop), self.item_part(blocks, stop)
        # Backwards: golden rows then show that it picks the rows that it is given.
        backwards = np.arange(len(items))[::-1]
        return self.heads(user, items[::-1].copy(), backwards.copy(), blocks, stop)


Graphs = WholeGraph | CutGraphs


def _inputs(
    schema: FeatureSchema, sides: Iterable[Side] | None = None
) -> dict[str, tuple[str, int]]:
    return {
        name: (dtype, width)
        for name, (side, dtype, width) in schema.inputs.items()
        if sides is None or side in sides
    }


def _of(session: Session, blocks: Mapping[str, Array]) -> dict[str, Array]:
    return {name: block for name, block in blocks.items() if name in session.inputs}
