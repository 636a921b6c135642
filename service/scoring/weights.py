"""Refuse an ONNX file with a weight that is not a number, wherever in the graph it hides.

Golden rows touch few rows of an embedding table; a NaN in another row would wait there for the
first user or item that needs it. Field numbers: onnx.proto3 of the ONNX project.
"""

from collections.abc import Iterator

import numpy as np

from service.contract.errors import PackageError
from service.scoring.model_bytes import CHILDREN, fields

_TYPE, _FLOATS, _NAME, _RAW, _DOUBLES = 2, 4, 8, 9, 10
_DTYPES = {1: "<f4", 10: "<f2", 11: "<f8"}  # TensorProto.DataType


def refuse_nan_weights(model: bytes, label: str) -> None:
    """Raise PackageError if a float tensor of `model`, a whole ONNX file, holds a NaN.

    An infinity may be meant (masks, bounds of Clip); a NaN never is.
    """
    for name, values in _float_tensors("model", memoryview(model)):
        wrong = int(np.isnan(values).sum())
        if wrong:
            raise PackageError(f"{label}: {wrong} of {values.size} weights of {name!r} are NaN")


def _float_tensors(message: str, data: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    if message == "tensor":
        yield from _floats(data)
        return
    children = CHILDREN[message]
    for number, value in fields(data):
        if number in children and not isinstance(value, int):
            yield from _float_tensors(children[number], value)


def _floats(tensor: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """The values of a tensor, if it has floating-point ones, under its name."""
    kind, name, parts = 0, "", list[tuple[str, memoryview]]()
    for number, value in fields(tensor):
        if isinstance(value, int):
            kind = value if number == _TYPE else kind
        elif number == _NAME:
            name = str(value, "utf-8", "replace")
        elif number in (_FLOATS, _DOUBLES):
            parts.append(("<f4" if number == _FLOATS else "<f8", value))
        elif number == _RAW:
            parts.append(("raw", value))
    for how, data in parts:
        dtype = _DTYPES.get(kind) if how == "raw" else how
        if dtype is not None:
            yield name, np.frombuffer(data[: len(data) // int(dtype[2]) * int(dtype[2])], dtype)
