"""How training's commands fail: one sentence on standard error, exit status 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

_TRAIN_EXTRA = {
    "matplotlib",
    "onnx",
    "onnxscript",
    "optuna",
    "polars",
    "pyarrow",
    "safetensors",
    "torch",
}


@contextmanager
def said_plainly() -> Iterator[None]:
    """Errors of configuration, data and packages are sentences, not tracebacks."""
    try:
        yield
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in _TRAIN_EXTRA:
            raise
        typer.echo(
            f"error: this command needs {err.name}; install it with ./install cpu,train",
            err=True,
        )
        raise typer.Exit(1) from err
    except (ValueError, FloatingPointError, OSError) as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from err
