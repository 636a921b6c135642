"""`python -m loadtest.load_stall PACKAGE`: how long loading a package keeps other threads waiting.

A thread wakes every half millisecond while another one loads; its longest gap is the stall. The
medians are over interleaved rounds; `nothing` is what the machine itself does to such a thread.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import onnxruntime
import typer

from service.contract.manifest import FILE, Manifest, read_manifest
from service.scoring.memory import trim
from service.scoring.memory_file import as_path

_TICK_S = 0.0005
_SETTLE_S = 0.02


def longest_gap(work: Callable[[], Any]) -> tuple[float, float]:
    """(duration, longest gap of another thread) of `work`, in ms; what it gives is dropped."""
    gaps: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(_TICK_S)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    time.sleep(_SETTLE_S)
    gaps.clear()
    began = time.perf_counter()
    found = work()
    took = time.perf_counter() - began
    time.sleep(_SETTLE_S)
    stop.set()
    thread.join()
    del found
    return took * 1e3, max(gaps) * 1e3


def main(
    package: Annotated[Path, typer.Argument(help="models/<name>/<version>")],
    rounds: Annotated[int, typer.Option(help="interleaved")] = 8,
) -> None:
    """Print one line a way of loading."""
    content, text = (package / "model.onnx").read_bytes(), (package / FILE).read_bytes()

    def session(model: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def from_memory_file() -> Any:
        with as_path(content) as path:
            return session(path)

    ways: dict[str, Callable[[], Any]] = {
        "nothing": lambda: time.sleep(0.3),
        "session from bytes": lambda: session(content),
        "session from a memory file": from_memory_file,
        "manifest at once": lambda: Manifest.model_validate_json(text),
        "manifest in pieces": lambda: read_manifest(package),
        "malloc_trim": trim,
    }
    measured = defaultdict(list)
    for _ in range(rounds):
        for name, work in ways.items():
            measured[name].append(longest_gap(work))
    for name, found in measured.items():
        took, gap = (median(column) for column in zip(*found, strict=True))
        typer.echo(f"{name:27} takes {took:6.1f} ms, longest gap of another thread {gap:6.1f} ms")


if __name__ == "__main__":
    typer.run(main)
