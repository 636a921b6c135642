"""A NaN is found wherever in the file it hides; infinities may be meant."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.errors import PackageError
from service.scoring.weights import refuse_nan_weights
from tests.scoring.graphs import tiny_graph

onnx = pytest.importorskip("onnx")


def as_raw(values: NDArray[Any], name: str) -> Any:
    return onnx.numpy_helper.from_array(values, name)


def as_numbers(values: NDArray[Any], name: str) -> Any:
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    return onnx.helper.make_tensor(name, kind, values.shape, values.ravel().tolist())


def in_initializer(graph: Any, tensor: Any) -> None:
    graph.initializer.append(tensor)


def in_constant(graph: Any, tensor: Any) -> None:
    graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


@pytest.mark.parametrize("place", [in_initializer, in_constant])
@pytest.mark.parametrize(
    ("write", "dtype"),
    [
        (as_raw, np.float16),
        (as_raw, np.float32),
        (as_raw, np.float64),
        (as_numbers, np.float32),
        (as_numbers, np.float64),
    ],
)
def test_one_nan_is_found(place: Any, write: Any, dtype: type) -> None:
    values = np.zeros((3, 4), dtype)
    values[1, 2] = np.nan
    model = tiny_graph()
    place(model.graph, write(values, "table"))
    with pytest.raises(PackageError, match=r"m\.onnx: 1 of 12 weights of 'table' are NaN"):
        refuse_nan_weights(model.SerializeToString(), "m.onnx")


def test_infinities_and_integers_pass() -> None:
    model = tiny_graph()
    in_initializer(model.graph, as_raw(np.array([-np.inf, np.inf], np.float32), "mask"))
    in_initializer(model.graph, as_raw(np.array([0x7FC00000], np.int32), "bits_of_a_nan"))
    refuse_nan_weights(model.SerializeToString(), "m.onnx")
