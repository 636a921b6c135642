"""A PyTorch module -> an ONNX model that any number of rows may be run through."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn

_ROWS = 3  # of an example: neither one, which the exporter would take for a constant, nor many


def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, tuple[str, int]],
    outputs: Sequence[str],
    *,
    one_row: Sequence[str] = (),
) -> onnx.ModelProto:
    """Export with named inputs and outputs.

    Args:
        inputs: name -> (dtype, width), in the order of the module's arguments.
        one_row: inputs that have exactly one row.
    """
    rows = {name: 1 if name in one_row else _ROWS for name in inputs}
    example: tuple[Tensor, ...] = tuple(
        torch.zeros(rows[name], width, dtype=getattr(torch, dtype))
        for name, (dtype, width) in inputs.items()
    )
    batch = torch.export.Dim("batch", min=1, max=2**20)
    free = tuple({} if name in one_row else {0: batch} for name in inputs)
    with _quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=(free,),
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    _forget_origins(model)
    return model


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold paths and source lines of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of operators and axis names that are not ours, and prints its progress."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
