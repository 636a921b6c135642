"""Tensors of the Open Inference Protocol as JSON -> the blocks of a model, checked value by value.

Inputs are the model's own, named and shaped as `GET /v2/models/{name}` shows them, every row an
item with its user. User and context tensors may have one row for all.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.contract.features import FeatureSchema, Side
from service.errors import Fault, InvalidRequest
from service.experiment.findings import did_you_mean, pointer

DATATYPES = {"int32": "INT32", "float32": "FP32"}  # of a block -> in the protocol
_TAKEN = {"int32": ("INT32", "INT64"), "float32": ("FP32", "FP64")}
_FOR_ALL: tuple[Side, ...] = ("user", "context")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class InputTensor(_Strict):
    """`data`: row by row, flat or nested as `shape` says."""

    name: str
    shape: list[Annotated[int, Field(ge=0)]]
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any]


class OutputName(_Strict):
    """A head that the answer is to have."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(_Strict):
    """Rows for one model; without `outputs`, all heads are answered."""

    id: Annotated[str, Field(max_length=128)] | None = None
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor]
    outputs: list[OutputName] | None = None


def read_blocks(
    tensors: Sequence[InputTensor], schema: FeatureSchema, most_rows: int
) -> dict[str, NDArray[Any]]:
    """Input name -> (rows, width) of every input of the model.

    Raises:
        InvalidRequest: a tensor that is missing, twice, unknown, or not what the model takes.
    """
    blocks: dict[str, NDArray[Any]] = {}
    for number, tensor in enumerate(tensors):
        at = pointer("inputs", number)
        if tensor.name not in schema.inputs:
            hint = did_you_mean(tensor.name, schema.inputs)
            raise refused(f"the model has no input {tensor.name[:64]!r}{hint}", f"{at}/name")
        if tensor.name in blocks:
            raise refused(f"input {tensor.name!r} is given twice", f"{at}/name")
        blocks[tensor.name] = _block(tensor, schema, at)
    if missing := [name for name in schema.inputs if name not in blocks]:
        raise refused(f"the model also takes {', '.join(missing)}", pointer("inputs"))
    _require_rows(blocks, tensors, schema, most_rows)
    return blocks


def _block(tensor: InputTensor, schema: FeatureSchema, at: str) -> NDArray[Any]:
    side, dtype, width = schema.inputs[tensor.name]
    if tensor.datatype not in _TAKEN[dtype]:
        detail = f"{tensor.name!r} takes {' or '.join(_TAKEN[dtype])}, not {tensor.datatype[:16]!r}"
        raise refused(detail, f"{at}/datatype")
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        raise refused(
            f"{tensor.name!r} takes shape [rows, {width}], not {tensor.shape}", f"{at}/shape"
        )
    try:
        given = np.array(tensor.data)
    except ValueError:
        raise refused(f"the rows of {tensor.name!r} differ in length", f"{at}/data") from None
    if given.size != tensor.shape[0] * width or given.ndim > 2:
        detail = f"{tensor.name!r} holds {given.size} values, its shape {tensor.shape} says"
        raise refused(f"{detail} {tensor.shape[0] * width}", f"{at}/data")
    if given.size and given.dtype.kind not in ("iu" if dtype == "int32" else "iuf"):
        wanted = "whole numbers" if dtype == "int32" else "numbers"
        raise refused(f"{tensor.name!r} takes {wanted} only", f"{at}/data")
    given = given.reshape(tensor.shape[0], width)
    if dtype == "int32":
        _require_known_ids(tensor.name, given, schema, side, at)
    with np.errstate(over="ignore"):
        block = np.ascontiguousarray(given, dtype)
    if dtype == "float32" and not np.isfinite(block).all():
        row, column = np.argwhere(~np.isfinite(block))[0]
        detail = f"{tensor.name}[{row}][{column}] is {given[row, column]:g}: too large for FP32"
        raise refused(detail, f"{at}/data")
    return block


def _require_known_ids(
    name: str, given: NDArray[Any], schema: FeatureSchema, side: Side, at: str
) -> None:
    column = 0
    for feature in schema.id_features(side):
        known = schema.vocabularies[feature.name]
        rows = 1 + (known if isinstance(known, int) else len(known))
        ids = given[:, column : column + feature.ids]
        wrong = np.argwhere((ids < 0) | (ids >= rows))
        if len(wrong):
            row, within = wrong[0]
            raise refused(
                f"{name}[{row}][{column + within}] is {ids[row, within]}; ids of feature"
                f" {feature.name!r} are 0 … {rows - 1}",
                f"{at}/data",
            )
        column += feature.ids


def _require_rows(
    blocks: dict[str, NDArray[Any]],
    tensors: Sequence[InputTensor],
    schema: FeatureSchema,
    most_rows: int,
) -> None:
    rows = max(len(block) for block in blocks.values())
    if rows > most_rows:
        detail = f"{rows} rows are too many: at most {most_rows} are run at once"
        raise refused(detail, pointer("inputs"))
    for number, tensor in enumerate(tensors):
        found = len(blocks[tensor.name])
        for_all = found == 1 and schema.inputs[tensor.name][0] in _FOR_ALL
        if found != rows and not for_all:
            detail = f"{tensor.name!r} has {found} rows, others have {rows}"
            raise refused(detail, pointer("inputs", number, "shape"))


def refused(detail: str, place: str) -> InvalidRequest:
    """The sentence at its place."""
    return InvalidRequest(f"{place}: {detail}", faults=[Fault(detail, place)])
