"""A tiny real ranking graph, written with the onnx helpers, and the schema it takes.

Tables per side, experts as one batched MatMul under a softmax gate, a tower a head. Batched MatMul
is the operator whose rounding depends on how many rows are run: a test graph without it would not
notice when a candidate's heads start to depend on the others.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.features import (
    Attribute,
    Categorical,
    FeatureSchema,
    Lookup,
    MultiValued,
    Numeric,
    Sequence,
)

HEADS = ("ctr", "cvr", "ctcvr", "vtr", "vcr", "like")
OPSET = 18
EMBEDDING, EXPERTS, HIDDEN = 8, 4, 32
PRODUCTS = {"ctcvr": ("ctr", "cvr")}

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", vocabulary=tuple(f"u{n}" for n in range(50))),
        Categorical(
            name="age_range",
            side="user",
            vocabulary=("12-17", "18-23", "24-30", "31-40"),
            default="24-30",
        ),
        Numeric(name="user_clicks_7d", side="user", default=0.0),
        Sequence(name="recent_items", side="user", max_length=3, shares="item_id"),
        Categorical(name="tab", side="context", vocabulary=("0", "1", "2"), default="1"),
        Numeric(name="hour", side="context", default=12.0),
        Categorical(name="item_id", side="item", vocabulary=tuple(f"i{n}" for n in range(400))),
        Categorical(name="author_id", side="item", hash_buckets=64),
        MultiValued(name="tags", side="item", max_length=2, hash_buckets=16),
        Numeric(name="videolen_s", side="item", default=20.0, unit="s"),
        Numeric(name="item_ctr_7d", side="item", default=0.1),
        Lookup(
            name="user_author",
            side="cross",
            source="user_author_rates",
            source_side="user",
            key="author_id",
            key_side="item",
            columns=("shown", "click_rate"),
            default=(0.0, 0.1),
        ),
    ),
    attributes=(
        Attribute(name="videolen_s", unit="s", default=20.0, min=1.0, max=300.0),
        Attribute(name="price", unit="CNY", default=9.9, min=0.5, max=500.0),
    ),
    user_id_feature="user_id",
    item_id_feature="item_id",
)


def tiny_graph(
    heads: tuple[str, ...] = HEADS, *, seed: int = 0, nan_item: int | None = None
) -> Any:
    """An onnx.ModelProto that takes the blocks of SCHEMA and gives `heads`, (rows,) float32."""
    onnx = pytest.importorskip("onnx")
    graph = _Graph(onnx, np.random.default_rng(seed))
    parts = [_side(graph, side, nan_item) for side in ("user", "context", "item", "cross")]
    joined = graph.node("Concat", *parts, axis=1)
    width = sum(graph.width[part] for part in parts)

    hidden = graph.node("MatMul", joined, graph.weights(width, EXPERTS * HIDDEN))
    hidden = graph.node("Relu", graph.node("Add", hidden, graph.weights(EXPERTS * HIDDEN)))
    apart = graph.node("Reshape", hidden, graph.integers(-1, EXPERTS, HIDDEN))
    by_expert = graph.node("Transpose", apart, perm=[1, 0, 2])
    experts = graph.node("MatMul", by_expert, graph.weights(EXPERTS, HIDDEN, HIDDEN))
    by_row = graph.node("Transpose", experts, perm=[1, 0, 2])
    gate = graph.node("MatMul", joined, graph.weights(width, EXPERTS))
    gate = graph.node("Unsqueeze", graph.node("Softmax", gate, axis=-1), graph.integers(1))
    mixed = graph.node("Squeeze", graph.node("MatMul", gate, by_row), graph.integers(1))
    for head in heads:
        if head in PRODUCTS:
            graph.node("Mul", *PRODUCTS[head], out=head)
            continue
        logit = graph.node("MatMul", mixed, graph.weights(HIDDEN, 1, scale=4.0))
        flat = graph.node("Squeeze", logit, graph.integers(1))
        graph.node("Sigmoid", flat, out=head)
    return graph.model(heads)


def slow_down(model: Any, rows: int, rounds: int = 10_000_000) -> None:
    """Add 0 to the last head, out of a loop of `rounds` for each row beyond `rows`."""
    onnx = pytest.importorskip("onnx")
    make, types = onnx.helper.make_node, onnx.TensorProto
    graph, head = model.graph, model.graph.output[-1].name
    graph.node[-1].output[0] = "fast_head"
    for name, value in (("least", 0), ("rows", rows), ("rounds", rounds)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), f"slow_{name}"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.0), "slow_start"))
    scalar = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [make("Identity", ["go"], ["go_on"]), make("Add", ["sum", "sum"], ["sum_out"])],
        "round",
        [
            scalar("at", types.INT64, []),
            scalar("go", types.BOOL, []),
            scalar("sum", types.FLOAT, []),
        ],
        [scalar("go_on", types.BOOL, []), scalar("sum_out", types.FLOAT, [])],
    )
    graph.node.extend(
        [
            make("Size", ["fast_head"], ["slow_size"]),
            make("Sub", ["slow_size", "slow_rows"], ["slow_beyond"]),
            make("Max", ["slow_beyond", "slow_least"], ["slow_extra"]),
            make("Mul", ["slow_extra", "slow_rounds"], ["slow_trips"]),
            make("Loop", ["slow_trips", "", "slow_start"], ["slow_zero"], body=body),
            make("Add", ["fast_head", "slow_zero"], [head]),
        ]
    )
    onnx.checker.check_model(model)


def break_off(model: Any, rows: int) -> None:
    """Add 0 to the last head, looked up under the number of rows in a table of `rows` + 1."""
    onnx = pytest.importorskip("onnx")
    make, graph, head = onnx.helper.make_node, model.graph, model.graph.output[-1].name
    graph.node[-1].output[0] = "whole_head"
    zeros = np.zeros(rows + 1, np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(zeros, "zero_of_rows"))
    graph.node.extend(
        [
            make("Size", ["whole_head"], ["size_of_head"]),
            make("Gather", ["zero_of_rows", "size_of_head"], ["zero"]),
            make("Add", ["whole_head", "zero"], [head]),
        ]
    )
    onnx.checker.check_model(model)


def _side(graph: "_Graph", side: Any, nan_item: int | None) -> str:
    """Embeddings of the ids of a side beside its values: (rows, width)."""
    parts: list[str] = []
    columns = [f for f in SCHEMA.id_features(side) for _ in range(f.ids)]
    if columns:
        ids = graph.input(f"{side}_ids")
        for at, feature in enumerate(columns):
            column = graph.node("Gather", ids, graph.integers(at), axis=1)
            table = graph.table(SCHEMA.vocabularies[feature.name], feature.shares or feature.name)
            if nan_item is not None and feature.name == "item_id":
                graph.poison(table, row=1 + nan_item)
            embedded = graph.node("Gather", table, column)
            parts.append(graph.node("Reshape", embedded, graph.integers(-1, EMBEDDING)))
            graph.width[parts[-1]] = EMBEDDING
    if width := SCHEMA.values_width(side):
        scaled = graph.node("Tanh", graph.input(f"{side}_values"))
        graph.width[scaled] = width
        parts.append(scaled)
    joined = graph.node("Concat", *parts, axis=1)
    graph.width[joined] = sum(graph.width[part] for part in parts)
    return joined


class _Graph:
    """Collects nodes and weights; names are numbered, except those of inputs and heads."""

    def __init__(self, onnx: Any, rng: np.random.Generator) -> None:
        self._onnx, self._rng = onnx, rng
        self._nodes: list[Any] = []
        self._arrays: dict[str, NDArray[Any]] = {}
        self._inputs: list[str] = []
        self._tables: dict[str, str] = {}
        self.width: dict[str, int] = {}

    def node(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(operator, list(inputs), [name], **attributes)
        )
        return name

    def input(self, name: str) -> str:
        self._inputs.append(name)
        return name

    def weights(self, *shape: int, scale: float = 1.0) -> str:
        deviation = scale / np.sqrt(shape[-2] if len(shape) > 1 else 1)
        return self._array(self._rng.normal(0, deviation, shape).astype(np.float32))

    def table(self, vocabulary: dict[str, int] | int, name: str) -> str:
        if name not in self._tables:
            size = vocabulary if isinstance(vocabulary, int) else len(vocabulary)
            self._tables[name] = self.weights(1 + size, EMBEDDING, scale=np.sqrt(1 + size))
        return self._tables[name]

    def poison(self, table: str, row: int) -> None:
        # An infinity: a package with NaN weights would not be loaded.
        self._arrays[table][row] = np.inf

    def integers(self, *values: int) -> str:
        return self._array(np.array(values, np.int64))

    def model(self, heads: tuple[str, ...]) -> Any:
        helper, types = self._onnx.helper, self._onnx.TensorProto
        kinds = {"int32": types.INT32, "float32": types.FLOAT}
        inputs = [
            helper.make_tensor_value_info(name, kinds[dtype], ["rows", width])
            for name, (_, dtype, width) in SCHEMA.inputs.items()
        ]
        outputs = [helper.make_tensor_value_info(head, types.FLOAT, ["rows"]) for head in heads]
        weights = [
            self._onnx.numpy_helper.from_array(array, name) for name, array in self._arrays.items()
        ]
        graph = helper.make_graph(self._nodes, "tiny", inputs, outputs, weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9
        )
        self._onnx.checker.check_model(model)
        return model

    def _array(self, array: NDArray[Any]) -> str:
        name = f"array_{len(self._arrays)}"
        self._arrays[name] = array
        return name
