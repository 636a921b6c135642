"""Run a loaded model on rows that somebody else has encoded: no user, no formula, no cache."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array
from service.scoring.graphs import USER_SIDES, CutGraphs
from service.scoring.package import LoadedModel
from service.scoring.session import Heads, Stop


def run_rows(model: LoadedModel, blocks: Mapping[str, Array], stop: Stop | None = None) -> Heads:
    """Heads of N rows: input name -> (N, width), of user and context also (1, width) for all rows.

    A model that is cut into user, item and rank parts takes one user a run: rows are grouped.

    Raises:
        RunFailed, RunStopped: see Session.run.
    """
    rows = max(len(block) for block in blocks.values())
    if not isinstance(model.graphs, CutGraphs):
        return model.graphs.run(blocks, stop)
    inputs = model.schema.inputs
    own = [name for name in blocks if inputs[name][0] in USER_SIDES and len(blocks[name]) > 1]
    groups = _groups([blocks[name] for name in own], rows)
    heads = {name: np.empty(rows, np.float32) for name in model.manifest.head_names}
    for members in groups:
        one = {name: blocks[name][members[:1]] for name in own}
        rest = {
            name: block if len(block) == 1 else block[members]
            for name, block in blocks.items()
            if name not in own
        }
        for name, values in model.graphs.run({**one, **rest}, stop).items():
            heads[name][members] = values
    return heads


def _groups(blocks: list[Array], rows: int) -> list[NDArray[np.intp]]:
    """Rows that are equal in every block."""
    if not blocks:
        return [np.arange(rows)]
    found: dict[bytes, list[int]] = {}
    for row in range(rows):
        found.setdefault(b"".join(block[row].tobytes() for block in blocks), []).append(row)
    return [np.array(members) for members in found.values()]
