"""Three graphs of a cut model: what one gives is what the next takes, floats or whole numbers."""

import numpy as np
import pytest

from service.contract.errors import PackageError
from service.contract.features import Categorical, FeatureSchema, Numeric
from service.scoring.graphs import CutGraphs
from service.scoring.session import Session, filled_up

onnx = pytest.importorskip("onnx")

SCHEMA = FeatureSchema(
    features=(
        Numeric(name="age", side="user", default=0.0),
        Numeric(name="price", side="item", default=0.0),
        Categorical(name="brand", side="item", vocabulary=("a",)),
    )
)
PART = 4


def session(label: str, text: str) -> Session:
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 20]>' + text)
    return Session(model.SerializeToString(), label=label)


def graphs(
    given: str, taken: str, items: str = "", how: str = "Gather(item_parts, item_rows)"
) -> CutGraphs:
    """All sides add their one number to each of four columns; `given`, `taken`: of item parts.

    `items`: how rank.onnx is given the items; as the parts of its rows unless it says otherwise.
    `how` it then takes those.
    """
    to = onnx.TensorProto.DataType.Value(given.upper())
    user = f"""user (float[rows,1] user_values) => (float[rows,{PART}] user_part)
        <int64[2] shape = {{1, {PART}}}> {{ user_part = Expand(user_values, shape) }}"""
    item = f"""item (int32[rows,1] item_ids, float[rows,1] item_values)
        => ({given}[rows,{PART}] item_part) <int64[2] shape = {{1, {PART}}}>
        {{ wide = Expand(item_values, shape) item_part = Cast <to = {to}> (wide) }}"""
    picks = f"item_part = {how}" if items else ""
    rank = f"""rank (float[1,{PART}] user_part, {items or f"{taken}[rows,{PART}] item_part"})
        => (float[rows] ctr) <int64[1] axes = {{1}}>
        {{ {picks} item = Cast <to = 1> (item_part) x = Add(item, user_part)
           ctr = ReduceSum <keepdims = 0> (x, axes) }}"""
    texts = {"user.onnx": user, "item.onnx": item, "rank.onnx": rank}
    sessions = (session(label, text) for label, text in texts.items())
    return CutGraphs(*sessions, SCHEMA, ["ctr"])


def blocks(*prices: float) -> dict[str, np.ndarray]:
    return {
        "user_values": np.array([[0.5]], np.float32),
        "item_ids": np.zeros((len(prices), 1), np.int32),
        "item_values": np.array(prices, np.float32)[:, None],
    }


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype", "largest"),
    [("float", "float32", 3.25), ("uint8", "uint8", 3), ("int16", "int16", 3)],
)
def test_an_items_part_is_of_the_dtype_that_its_graph_gives(
    dtype: str, numpy_dtype: str, largest: float
) -> None:
    cut = graphs(dtype, dtype)
    assert (cut.part_dtype, cut.part_width) == (numpy_dtype, PART)
    part = cut.item_part(blocks(1, 2, 3.25))
    assert (part.dtype, part.shape, part.max()) == (numpy_dtype, (3, PART), largest)
    none = cut.item_part(blocks())
    assert (none.dtype, none.shape) == (numpy_dtype, (0, PART))
    heads = cut.run(blocks(1, 2, 3.25))
    np.testing.assert_array_equal(heads["ctr"], [PART * 1.5, PART * 2.5, PART * (largest + 0.5)])


def test_a_rank_graph_that_takes_other_numbers_than_the_item_graph_gives_is_refused() -> None:
    with pytest.raises(PackageError) as caught:
        graphs("uint8", "float")
    assert str(caught.value) == (
        "rank.onnx: input 'item_part' is tensor(float) ['rows', 4],"
        " the graph before it gives tensor(uint8) (rows, 4)"
    )


def test_a_part_of_numbers_that_no_cache_keeps_is_refused() -> None:
    with pytest.raises(PackageError) as caught:
        graphs("double", "float")
    assert str(caught.value) == (
        "item.onnx: output 'item_part' is tensor(double) ['rows', 4], not one of tensor(float),"
        " tensor(int8), tensor(uint8), tensor(int16), tensor(uint16) (rows, a fixed width)"
    )


PICKS = f"float[kept,{PART}] item_parts, int64[rows] item_rows"


@pytest.mark.parametrize("items", ["", PICKS], ids=["given", "picked"])
def test_heads_are_of_the_rows_of_the_table_that_are_asked(items: str) -> None:
    cut = graphs("float", "float", items)
    table = cut.item_part(blocks(1, 2, 3, 4))
    user = cut.user_part(blocks())
    heads = cut.heads(user, table, np.array([3, 0, 3]), {})
    np.testing.assert_array_equal(heads["ctr"], [PART * 4.5, PART * 1.5, PART * 4.5])
    np.testing.assert_array_equal(cut.run(blocks(1, 2))["ctr"], [PART * 1.5, PART * 2.5])


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (
            f"float[kept,{PART}] item_parts, int32[rows] item_rows",
            "rank.onnx: input 'item_rows' is tensor(int32) ['rows'], not tensor(int64) (rows,)",
        ),
        (
            f"float[kept,{PART}] item_parts, int64[rows,1] item_rows",
            "rank.onnx: input 'item_rows' is tensor(int64) ['rows', 1], not tensor(int64) (rows,)",
        ),
        (
            f"uint8[kept,{PART}] item_parts, int64[rows] item_rows",
            "rank.onnx: input 'item_parts' is tensor(uint8) ['kept', 4],"
            " the graph before it gives tensor(float) (rows, 4)",
        ),
        (
            f"float[rows,{PART}] item_parts, int64[rows] item_rows, float[rows,1] more",
            "rank.onnx: input 'more' of the graph is not in the manifest",
        ),
    ],
)
def test_a_rank_graph_that_cannot_pick_the_parts_is_refused(items: str, said: str) -> None:
    with pytest.raises(PackageError) as caught:
        graphs("float", "float", items)
    assert str(caught.value) == said


@pytest.mark.parametrize("count", [3, 8, 13])
def test_a_rank_graph_that_does_not_pick_its_rows_does_not_reproduce_golden_ones(
    count: int,
) -> None:
    prices = np.arange(count)
    right, wrong = (graphs("float", "float", PICKS, *how) for how in ([], ["Identity(item_parts)"]))
    heads = right.run(blocks(*prices))["ctr"]
    np.testing.assert_array_equal(heads, PART * (prices + 0.5))
    np.testing.assert_array_equal(wrong.run(blocks(*prices))["ctr"], heads[::-1])


@pytest.mark.parametrize("items", ["", PICKS], ids=["given", "picked"])
@pytest.mark.parametrize("rows", [[4], [3, 0, 3], [1, 2, 3, 4, 5, 6, 7, 0, 2]], ids=len)
def test_a_device_is_given_the_parts_of_the_rows_and_no_table(
    items: str, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = graphs("float", "float", items)
    user, table = cut.user_part(blocks()), cut.item_part(blocks(*range(9)))
    expected = cut.heads(user, table, np.array(rows), {})
    monkeypatch.setattr(cut._rank, "reads_in_place", False)
    seen = []
    run = cut._rank.run

    def watched(inputs, stop, **tables):
        given = tables.get("tables", {}).get("item_parts", inputs.get("item_part"))
        seen.append(len(given))
        return run(inputs, stop, **tables)

    monkeypatch.setattr(cut._rank, "run", watched)
    found = cut.heads(user, table, np.array(rows), {})
    np.testing.assert_array_equal(found["ctr"], expected["ctr"])
    assert seen == [filled_up(len(rows))]
