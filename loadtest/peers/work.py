"""The work every peer does: same package, encoding and formula, as one would write it by hand.

The whole graph for every request, features inline, no cache, no plan, no admission.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from service.contract.encode import encode_request
from service.contract.manifest import read_manifest


class Work:
    """A package in ONNX Runtime, ready to rank rows."""

    def __init__(self, package: Path, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(package / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        manifest = read_manifest(package)
        self._schema, self._heads = manifest.schema_, manifest.head_names

    def rank(
        self, user: Mapping[str, Any], items: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """A reply's rows, best first. `user` and each of `items` have `id` and `features`."""
        rows = len(items)
        features = [item["features"] for item in items]
        columns = {name: [row[name] for row in features] for name in features[0]}
        inputs = encode_request(self._schema, user["features"], {}, columns, rows)
        whole = {n: a if len(a) == rows else np.repeat(a, rows, axis=0) for n, a in inputs.items()}
        outputs = self._session.run(list(self._heads), whole)
        heads = dict(zip(self._heads, outputs, strict=True))
        wide = {name: values.astype(np.float64) for name, values in heads.items()}
        scores = (
            wide["ctr"] ** 0.3
            * wide["ctcvr"] ** 0.5
            * wide["vtr"] ** 0.4
            * (1 + wide["vcr"]) ** 1.2
        )
        order = np.argsort(-scores, kind="stable").tolist()
        listed = {name: values.tolist() for name, values in heads.items()}
        score = scores.tolist()
        return [
            {
                "id": items[at]["id"],
                "rank": rank,
                "score": score[at],
                "heads": {name: values[at] for name, values in listed.items()},
            }
            for rank, at in enumerate(order, start=1)
        ]
