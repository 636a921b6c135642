"""The room rules as assertions: what a room may pull in, in a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("fastapi", "redis", "onnxruntime", "torch", "httpx", "structlog")


def run(code: str, clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=False
    )


def loaded_by(module: str, clone: Path) -> set[str]:
    """Names in sys.modules after importing all of `module` in a fresh interpreter."""
    code = f"""
import importlib, pkgutil, sys
package = importlib.import_module({module!r})
for found in pkgutil.walk_packages(package.__path__, {module!r} + "."):
    importlib.import_module(found.name)
print(*sys.modules)
"""
    done = run(code, clone)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("leaf", ["service.contract", "service.fusion"])
def test_a_leaf_imports_no_server_store_runtime_or_torch(leaf: str, clone: Path) -> None:
    loaded = loaded_by(leaf, clone)
    assert leaf in loaded
    assert loaded.isdisjoint(HEAVY)
    assert {name for name in loaded if name.startswith(("service.", "training"))} == {
        name for name in loaded if name == leaf or name.startswith(leaf + ".")
    }


def test_serving_imports_nothing_that_only_training_needs(clone: Path) -> None:
    only_training = {"torch", "onnx", "onnxscript", "pandas", "polars", "pyarrow", "training"}
    code = "import service.cli, service.api.app, service.scoring.scorer, sys; print(*sys.modules)"
    done = run(code, clone)
    assert done.returncode == 0, done.stderr
    assert only_training.isdisjoint(done.stdout.split())


def test_the_arrows_between_rooms_hold(clone: Path) -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-logo", "--no-cache"], cwd=clone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert ", 0 broken." in done.stdout


def finerank_without_torch(arguments: list[str], clone: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in an interpreter where importing torch fails as if it were absent."""
    code = f"""
import sys
for absent in ("torch", "onnx", "onnxscript"):
    sys.modules[absent] = None  # an import of it raises ModuleNotFoundError
sys.argv = ["finerank", *{arguments!r}]
from service.cli import main
main()
"""
    return run(code, clone)


def test_finerank_lists_training_commands_without_torch(clone: Path) -> None:
    done = finerank_without_torch(["--help"], clone)
    assert done.returncode == 0, done.stderr
    for command in ("serve", "plan", "train", "evaluate"):
        assert command in done.stdout


def test_train_without_torch_says_what_to_install(clone: Path) -> None:
    config = next((clone / "training" / "configs").glob("*.toml"))
    done = finerank_without_torch(["train", str(config)], clone)
    assert done.returncode != 0
    assert "needs torch; install it with ./install cpu,train" in done.stderr
    assert "Traceback" not in done.stderr
