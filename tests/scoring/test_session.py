"""Sessions: signature by name, rows that do not depend on each other, runs that can be stopped."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.errors import PackageError
from service.scoring.errors import RunFailed, RunStopped, RuntimeProblem
from service.scoring.graphs import WholeGraph
from service.scoring.session import Session, Stop, check_installed
from tests.scoring.graphs import HEADS, SCHEMA, tiny_graph
from tests.scoring.packages import publish_tiny

onnx = pytest.importorskip("onnx")


def blocks(rows: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Inputs for SCHEMA: one user and context row, `rows` item and cross rows."""
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for name, (side, dtype, width) in SCHEMA.inputs.items():
        shape = (rows if side in ("item", "cross") else 1, width)
        found[name] = (
            rng.integers(0, 4, shape, dtype=np.int32)
            if dtype == "int32"
            else rng.normal(size=shape).astype(np.float32)
        )
    return found


def pick(found: dict[str, NDArray[Any]], rows: Any) -> dict[str, NDArray[Any]]:
    """The given candidates of a request."""
    return {
        name: block[rows] if SCHEMA.inputs[name][0] in ("item", "cross") else block
        for name, block in found.items()
    }


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(tiny_graph().SerializeToString())


def test_heads_come_by_name(session: Session) -> None:
    outputs = session.run(blocks(7))
    assert set(outputs) == set(HEADS)
    assert all(v.shape == (7,) and v.dtype == np.float32 for v in outputs.values())
    np.testing.assert_array_equal(outputs["ctcvr"], outputs["ctr"] * outputs["cvr"])


def test_session_opens_a_path_too(tmp_path: Path, session: Session) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_graph().SerializeToString())
    np.testing.assert_equal(Session(path).run(blocks(3)), session.run(blocks(3)))
    with pytest.raises(PackageError, match=r"gone.onnx: cannot be read: No such file"):
        Session(tmp_path / "gone.onnx")


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 12, 13, 64, 65, 300])
def test_row_has_the_same_bits_whatever_is_run_with_it(session: Session, rows: int) -> None:
    everything = blocks(2000)
    whole = session.run(everything)
    some = np.random.default_rng(rows).permutation(2000)[:rows]
    part = session.run(pick(everything, some))
    for head in HEADS:
        np.testing.assert_array_equal(part[head], whole[head][some], err_msg=head)


def test_graph_itself_rounds_a_lone_row_differently(session: Session) -> None:
    """What the session guards against is real: without its second row the bits differ."""
    everything = blocks(300)
    wide = {n: np.repeat(b, 300, axis=0) if len(b) == 1 else b for n, b in everything.items()}
    whole = session._session.run(HEADS, wide)
    alone = [
        session._session.run(HEADS, {n: b[r : r + 1] for n, b in wide.items()}) for r in range(300)
    ]
    differing = sum(
        alone[row][at][0] != whole[at][row] for row in range(300) for at in range(len(HEADS))
    )
    if not differing:
        pytest.skip("this processor multiplies a lone row as it multiplies several")


def test_user_row_is_repeated_for_every_candidate(session: Session) -> None:
    one = blocks(5)
    many = {n: np.repeat(b, 5, axis=0) if len(b) == 1 else b for n, b in one.items()}
    np.testing.assert_equal(session.run(one), session.run(many))


def test_no_candidates_give_empty_heads(session: Session) -> None:
    outputs = session.run({n: b[:0] for n, b in blocks(1).items()})
    assert {h: v.shape for h, v in outputs.items()} == dict.fromkeys(HEADS, (0,))


def test_id_beyond_its_table_fails_with_a_sentence(session: Session) -> None:
    inputs = blocks(4)
    inputs["item_ids"][2, 0] = 100_000
    with pytest.raises(RunFailed, match=r"model.onnx: .*indices element out of data bounds"):
        session.run(inputs)


def test_stopped_run_raises(session: Session) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(RunStopped):
        session.run(blocks(4), stop)


def test_run_under_way_is_stopped_from_another_thread(tmp_path: Path) -> None:
    publish_tiny(tmp_path, slow_above=64)
    slow = Session(tmp_path / "tiny/1/model.onnx")
    stop = Stop()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    with pytest.raises(RunStopped):
        slow.run(blocks(2000), stop)
    assert set(slow.run(blocks(64))) == set(HEADS)


def test_run_that_is_not_stopped_gives_what_a_plain_run_gives(session: Session) -> None:
    np.testing.assert_equal(session.run(blocks(9), Stop()), session.run(blocks(9)))


def refusal(model: Any, heads: tuple[str, ...] = HEADS) -> str:
    with pytest.raises(PackageError) as caught:
        WholeGraph(Session(model.SerializeToString()), SCHEMA, heads)
    return str(caught.value)


def test_signature_of_the_manifest_is_accepted(session: Session) -> None:
    WholeGraph(session, SCHEMA, HEADS)


def test_missing_head_is_named() -> None:
    assert refusal(tiny_graph(("ctr", "like"))) == (
        "model.onnx: head 'ctcvr' of the manifest is missing from the graph"
    )


def test_extra_head_is_named() -> None:
    assert refusal(tiny_graph(), ("ctr", "cvr", "ctcvr", "vtr", "vcr")) == (
        "model.onnx: head 'like' of the graph is not in the manifest"
    )


def test_missing_and_extra_inputs_are_named() -> None:
    model = tiny_graph()
    rename_input(model, "cross_values", "pair_values")
    assert refusal(model) == (
        "model.onnx: input 'cross_values' of the manifest is missing from the graph"
    )
    model = tiny_graph()
    extra = onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, ["rows", 1])
    model.graph.input.append(extra)
    assert refusal(model) == "model.onnx: input 'extra' of the graph is not in the manifest"


def test_input_of_another_width_is_refused() -> None:
    model = tiny_graph()
    shape_of(model, "item_ids").dim[1].dim_value = 5
    assert refusal(model) == (
        "model.onnx: input 'item_ids' is tensor(int32) ['rows', 5],"
        " the schema encodes tensor(int32) (rows, 4)"
    )


def test_input_of_another_type_is_refused() -> None:
    model = tiny_graph()
    value_info(model, "item_ids").type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert refusal(model) == (
        "model.onnx: input 'item_ids' is tensor(int64) ['rows', 4],"
        " the schema encodes tensor(int32) (rows, 4)"
    )


def test_fixed_number_of_rows_is_refused() -> None:
    model = tiny_graph()
    shape_of(model, "user_ids").dim[0].dim_value = 300
    assert refusal(model) == (
        "model.onnx: input 'user_ids' takes exactly 300 rows; the number of rows must be free"
    )


def test_head_of_another_shape_is_refused() -> None:
    model = tiny_graph()
    model.graph.node[-1].output[0] = "flat"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    model.graph.node.append(onnx.helper.make_node("Unsqueeze", ["flat", "one"], ["like"]))
    model.graph.output[-1].type.tensor_type.shape.dim.add().dim_value = 1
    assert refusal(model) == (
        "model.onnx: head 'like' is tensor(float) ['rows', 1], not tensor(float) (rows,)"
    )


def test_garbled_graph_is_refused_by_the_runtime_with_its_reason() -> None:
    model = tiny_graph()
    model.graph.node[0].op_type = "NoSuchOperator"
    assert "model.onnx: ONNX Runtime refuses it: " in refusal(model)


def value_info(model: Any, name: str) -> Any:
    return next(i for i in model.graph.input if i.name == name)


def shape_of(model: Any, name: str) -> Any:
    return value_info(model, name).type.tensor_type.shape


def rename_input(model: Any, old: str, new: str) -> None:
    value_info(model, old).name = new
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new


def test_two_builds_of_the_runtime_are_refused() -> None:
    with pytest.raises(RuntimeProblem) as caught:
        check_installed(["numpy", "onnxruntime", "onnxruntime-gpu"])
    assert str(caught.value) == (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files;"
        " remove .venv, then ./install cpu or ./install gpu"
    )


@pytest.mark.parametrize("installed", [["onnxruntime"], ["onnxruntime-gpu"], ["numpy"]])
def test_one_build_of_the_runtime_is_fine(installed: list[str]) -> None:
    check_installed(installed)


def test_a_row_keeps_its_bits_in_operators_that_are_computed_several_at_a_time() -> None:
    make, types = onnx.helper, onnx.TensorProto
    ends = [make.make_tensor_value_info(n, types.FLOAT, ["rows", 3]) for n in ("x", "y")]
    graph = make.make_graph([make.make_node("Log", ["x"], ["y"])], "log", ends[:1], ends[1:])
    opset = [make.make_opsetid("", 18)]
    model = make.make_model(graph, opset_imports=opset, ir_version=9)
    session = Session(model.SerializeToString())
    values = np.random.default_rng(0).exponential(10, (300, 3)).astype(np.float32)
    together = session.run({"x": values})["y"]
    for first in range(0, 290):
        for rows in (1, 2, 3, 7):
            alone = session.run({"x": values[first : first + rows]})["y"]
            np.testing.assert_array_equal(alone, together[first : first + rows])


def test_a_run_that_is_not_filled_up_runs_its_rows_alone() -> None:
    make, types = onnx.helper, onnx.TensorProto
    ends = [make.make_tensor_value_info(n, types.FLOAT, ["rows", 1]) for n in ("x", "y")]
    rows = onnx.numpy_helper.from_array(np.array([0]), "axis")
    nodes = [
        make.make_node("ReduceSum", ["x", "axis"], ["sum"]),
        make.make_node("Mul", ["sum", "x"], ["y"]),
    ]
    graph = make.make_graph(nodes, "mixes rows", ends[:1], ends[1:], [rows])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    session = Session(model.SerializeToString())
    ones = {"x": np.ones((3, 1), np.float32)}
    assert session.run(ones)["y"].tolist() == [[8.0]] * 3
    assert session.run(ones, fills_up=False)["y"].tolist() == [[3.0]] * 3
