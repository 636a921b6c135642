"""One ONNX graph in ONNX Runtime: loaded from bytes, checked and run by name.

Only this file imports onnxruntime.
"""

import importlib.metadata
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.errors import PackageError
from service.scoring.errors import RunFailed, RunStopped, RuntimeProblem
from service.scoring.memory_file import as_path
from service.scoring.model_bytes import refuse_foreign_parts
from service.scoring.weights import refuse_nan_weights

Array = NDArray[Any]
Heads = dict[str, NDArray[np.float32]]  # output name -> (rows,), of a part (rows, width)

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
_MAX_BYTES = 1_900_000_000  # one protobuf message ends at 2 GB
_TYPES = {
    "int32": "tensor(int32)",
    "float32": "tensor(float)",
    **{dtype: f"tensor({dtype})" for dtype in ("int8", "uint8", "int16", "uint16")},
}
_PART_DTYPES = {name: dtype for dtype, name in _TYPES.items() if dtype != "int32"}
_ROWS_STEP = 8
_NO_TABLES: Mapping[str, Array] = {}


class Stop:
    """Asks the runs it is given to end early, from any thread: RunStopped, at the next node."""

    def __init__(self) -> None:
        self._options = _runtime().RunOptions()
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        self._options.terminate = True


class Session:
    """A loaded graph. `run` may be called from several threads at once.

    `threads` work on one run. With one, a row's values have the same bits whatever rows are run
    with it. With more, ONNX Runtime (1.31.1) divides batched MatMul by the number of rows, and the
    last bits follow: so requests run beside each other, not each one on several threads.

    Raises:
        PackageError: no ONNX, external data, custom operators, or a graph ONNX Runtime refuses.
        RuntimeProblem: ONNX Runtime is missing or installed twice.
    """

    def __init__(self, model: Path | bytes, threads: int = 1, *, label: str = "model.onnx") -> None:
        runtime = _runtime()
        content = _read(model) if isinstance(model, Path) else model
        if len(content) > _MAX_BYTES:
            raise PackageError(
                f"{label}: {len(content)} bytes; one ONNX file holds at most {_MAX_BYTES},"
                " because protobuf ends at 2 GB"
            )
        refuse_foreign_parts(content, label)
        refuse_nan_weights(content, label)
        try:
            # A path: parsing bytes, ONNX Runtime (1.31.1) holds the interpreter lock for 90 ms.
            with as_path(content) as path:
                self._session = runtime.InferenceSession(
                    path, _options(runtime, threads), providers=_providers(runtime)
                )
        except Exception as err:  # onnxruntime's classes share no base of their own
            raise PackageError(f"{label}: ONNX Runtime refuses it: {_sentence(err)}") from err
        self.label = label
        # A device is given copies: of a whole table, for each run.
        self.reads_in_place = self._session.get_providers()[0] == "CPUExecutionProvider"
        self.inputs = {i.name: i for i in self._session.get_inputs()}
        self.outputs = {o.name: o for o in self._session.get_outputs()}
        self.heads = tuple(self.outputs)
        self._fixed = frozenset(n for n, i in self.inputs.items() if isinstance(i.shape[0], int))

    def check_inputs(
        self,
        expected: Mapping[str, tuple[str, int]],
        *,
        one_row: str = "",
        row_numbers: Collection[str] = (),
        parts: Collection[str] = (),
    ) -> None:
        """Raise PackageError unless the inputs are `expected`: name -> (dtype, width).

        Each takes any number of rows, but `one_row` exactly one. Beside them the graph takes
        `row_numbers`, (rows,) int64. Other graphs give `parts`.
        """
        _same_names(f"{self.label}: input", self.inputs, [*expected, *row_numbers])
        for name in row_numbers:
            found = self.inputs[name]
            if found.type != "tensor(int64)" or len(found.shape) != 1:
                raise PackageError(
                    f"{self.label}: input {name!r} is {found.type} {list(found.shape)},"
                    " not tensor(int64) (rows,)"
                )
        for name, (dtype, width) in expected.items():
            found = self.inputs[name]
            shape = list(found.shape)
            if found.type != _TYPES[dtype] or len(shape) != 2 or shape[1] != width:
                gives = "the graph before it gives" if name in parts else "the schema encodes"
                raise PackageError(
                    f"{self.label}: input {name!r} is {found.type} {shape},"
                    f" {gives} {_TYPES[dtype]} (rows, {width})"
                )
            if name == one_row and shape[0] != 1:
                raise PackageError(f"{self.label}: input {name!r} takes {shape[0]} rows, not 1")
            if name != one_row and isinstance(shape[0], int):
                raise PackageError(
                    f"{self.label}: input {name!r} takes exactly {shape[0]} rows;"
                    " the number of rows must be free"
                )

    def check_heads(self, heads: Iterable[str]) -> None:
        """Raise PackageError unless the outputs are `heads`, (rows,) float32 each."""
        _same_names(f"{self.label}: head", self.heads, heads)
        for output in self.outputs.values():
            if output.type != "tensor(float)" or len(output.shape) != 1:
                raise PackageError(
                    f"{self.label}: head {output.name!r} is {output.type} {list(output.shape)},"
                    " not tensor(float) (rows,)"
                )

    def check_part(self, name: str) -> tuple[str, int]:
        """The dtype and the width P of the one output `name`, (rows, P).

        Raises:
            PackageError: it is something else.
        """
        _same_names(f"{self.label}: output", self.outputs, [name])
        output = self.outputs[name]
        shape = list(output.shape)
        dtype = _PART_DTYPES.get(output.type)
        if dtype is None or len(shape) != 2 or not isinstance(shape[1], int):
            raise PackageError(
                f"{self.label}: output {name!r} is {output.type} {shape},"
                f" not one of {', '.join(_PART_DTYPES)} (rows, a fixed width)"
            )
        return dtype, shape[1]

    def run(
        self,
        inputs: Mapping[str, Array],
        stop: Stop | None = None,
        *,
        fills_up: bool = True,
        tables: Mapping[str, Array] = _NO_TABLES,
    ) -> Heads:
        """Run rows.

        Args:
            inputs: input name -> (rows, width) or (rows,), C-ordered; a block of one row is for all
                rows.
            stop: ends this run early when set.
            tables: inputs whose rows are not those of the run; they are not copied.
            fills_up: see `filled_up`; a row of a run that is not has the same bits only in runs
                of as many rows.

        Returns:
            output name -> (rows, …): heads, or a part.

        Raises:
            RunStopped: `stop` was set.
            RunFailed: ONNX Runtime refused the run.
        """
        rows = max(len(block) for block in inputs.values())
        if rows == 0:
            return {
                name: np.zeros((0, *output.shape[1:]), _PART_DTYPES[output.type])
                for name, output in self.outputs.items()
            }
        wide = filled_up(rows) if fills_up else rows
        fed = {
            name: block if name in self._fixed else _repeat_last(block, wide)
            for name, block in inputs.items()
        }
        fed |= tables
        if stop is not None and stop.is_set:
            raise RunStopped
        try:
            outputs = self._session.run(self.heads, fed, None if stop is None else stop._options)
        except Exception as err:
            if stop is not None and stop.is_set:
                raise RunStopped from err
            raise RunFailed(f"{self.label}: {_sentence(err)}") from err
        return {name: out[:rows] for name, out in zip(self.heads, outputs, strict=True)}


def filled_up(rows: int) -> int:
    """How many rows `Session.run` runs for `rows`.

    Logarithms and the like are computed several at a time, those left over at the end (and one row
    alone in a MatMul) by other routines, which round differently: nothing is left over.
    """
    return -(-rows // _ROWS_STEP) * _ROWS_STEP


def check_installed(distributions: Iterable[str]) -> None:
    """Raise RuntimeProblem when two builds of ONNX Runtime share one environment."""
    found = sorted(set(distributions) & set(_DISTRIBUTIONS))
    if len(found) > 1:
        raise RuntimeProblem(
            f"{' and '.join(found)} are both installed and overwrite each other's files;"
            " remove .venv, then ./install cpu or ./install gpu"
        )


def runtime_version() -> str:
    """The version of ONNX Runtime; raises RuntimeProblem when it is missing or installed twice."""
    return str(_runtime().__version__)


@cache
def _runtime() -> ModuleType:
    check_installed(name for name in _DISTRIBUTIONS if _is_installed(name))
    try:
        import onnxruntime
    except ImportError as err:
        raise RuntimeProblem(
            "ONNX Runtime is not installed: ./install cpu (or gpu, on a CUDA machine)"
        ) from err
    if hasattr(onnxruntime, "preload_dlls") and _is_installed("onnxruntime-gpu"):
        onnxruntime.preload_dlls()
    module: ModuleType = onnxruntime
    return module


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _options(runtime: ModuleType, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = False  # the number of candidates differs from request to request
    options.log_severity_level = 3
    # Waiting threads that spin take the CPU from the others of the same quota.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _providers(runtime: ModuleType) -> list[Any]:
    if "CUDAExecutionProvider" in runtime.get_available_providers():
        # TF32 moves a head by about 1e-3, a hundred times the golden tolerance.
        return [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise PackageError(f"{path}: cannot be read: {err.strerror or err}") from err


def _repeat_last(block: Array, rows: int) -> Array:
    if len(block) == rows:
        return block
    return np.concatenate([block, np.repeat(block[-1:], rows - len(block), axis=0)])


def _same_names(what: str, found: Iterable[str], expected: Iterable[str]) -> None:
    has, wants = set(found), set(expected)
    if missing := sorted(wants - has):
        raise PackageError(f"{what} {missing[0]!r} of the manifest is missing from the graph")
    if extra := sorted(has - wants):
        raise PackageError(f"{what} {extra[0]!r} of the graph is not in the manifest")


def _sentence(err: Exception) -> str:
    return " ".join(str(err).split())[:300]
