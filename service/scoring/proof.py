"""Prove a package in a process of its own before this one loads it.

There it may crash, hang or take all the time it wants, at the lowest priority, and no request
notices. `python -m service.scoring.proof` is that process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from service.contract.encode import Array
from service.contract.errors import PackageError
from service.contract.repository import ModelRef, Repository
from service.scoring.errors import RunFailed, RuntimeProblem
from service.scoring.package import LoadedModel, load_package

ROWS = 500  # candidates of the timed runs
_ROUNDS = 7
_NICE = 19
_REFUSED = 3  # exit status
_ROOT = Path(__file__).parents[2]  # where `service` is found, whatever the caller's directory
_SAID = 500  # characters kept of what a broken process wrote


@dataclass(frozen=True)
class Verdict:
    """What a proof found. Times of one run of 500 rows on one thread; None: nothing to compare."""

    seconds: float
    run_ms: float | None = None
    active: str | None = None
    active_run_ms: float | None = None


@dataclass(frozen=True)
class Prover:
    """Starts proofs. `slowdown`: how many times slower than the active version is too slow."""

    models: Path
    slowdown: float
    timeout_s: float

    def __call__(self, id_: str, active: str | None) -> Verdict:
        """Load, replay and time a package; `active` is the version it would replace, if any.

        Raises:
            PackageError: what `load_package` refuses, a slow model, a crash, or no end in time.
        """
        command = [sys.executable, "-m", "service.scoring.proof", str(self.models), id_]
        command += [active] if active is not None else []
        began = time.monotonic()
        try:
            done = subprocess.run(
                command,
                cwd=_ROOT,
                capture_output=True,
                text=True,
                timeout=self.timeout_s,
                check=False,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        except subprocess.TimeoutExpired:
            raise PackageError(f"{id_}: not proved within {self.timeout_s:g} s") from None
        if done.returncode == _REFUSED:
            raise PackageError(json.loads(done.stdout)["refused"])
        if done.returncode:
            raise PackageError(f"{id_}: {_ended(done.returncode)}: {done.stderr.strip()[-_SAID:]}")
        verdict = Verdict(time.monotonic() - began, **json.loads(done.stdout))
        self._compare(id_, verdict)
        return verdict

    def _compare(self, id_: str, verdict: Verdict) -> None:
        if verdict.run_ms is None or verdict.active_run_ms is None:
            return
        if verdict.run_ms > self.slowdown * verdict.active_run_ms:
            raise PackageError(
                f"{id_}: {ROWS} rows take {verdict.run_ms:.1f} ms,"
                f" more than {self.slowdown:g} times the {verdict.active_run_ms:.1f} ms of"
                f" {verdict.active}, which it would replace"
            )


def time_runs(models: Mapping[str, LoadedModel]) -> dict[str, float]:
    """Shortest time of a run of 500 rows, in ms; rounds are interleaved, so all see one machine."""
    blocks = {id_: _repeated(model) for id_, model in models.items()}
    best = dict.fromkeys(models, float("inf"))
    for _ in range(_ROUNDS):
        for id_, model in models.items():
            began = time.perf_counter()
            model.graphs.run(blocks[id_])
            best[id_] = min(best[id_], (time.perf_counter() - began) * 1000)
    return best


def _repeated(model: LoadedModel) -> dict[str, Array]:
    """The golden rows, repeated to 500 candidates of the first row's user."""
    rows = np.arange(ROWS) % len(model.golden.raw)
    return {
        name: block[:1] if model.schema.inputs[name][0] in ("user", "context") else block[rows]
        for name, block in model.golden.encoded.items()
    }


def _ended(status: int) -> str:
    if status < 0:
        return f"the process that loads it was ended by signal {-status}"
    return f"the process that loads it ended with status {status}"


def _load(models: Path, id_: str) -> LoadedModel:
    ref = ModelRef.parse(id_)
    if ref.version is None:
        raise PackageError(f"{id_!r} names no version")
    return load_package(Repository(models), ref.name, ref.version, variant=ref.variant)


def _prove(models: Path, id_: str, active: str | None) -> dict[str, object]:
    loaded = {id_: _load(models, id_)}
    if active is not None:
        loaded[active] = _load(models, active)
    best = time_runs(loaded)
    return {
        "run_ms": best[id_],
        "active": active,
        "active_run_ms": None if active is None else best[active],
    }


def main(arguments: list[str]) -> int:
    """Prove `models id [active]` and write the findings, or the refusal, to stdout as JSON."""
    os.nice(_NICE)
    models, id_, *active = arguments
    try:
        found = _prove(Path(models), id_, active[0] if active else None)
    except (PackageError, RunFailed, RuntimeProblem) as err:
        json.dump({"refused": str(err)}, sys.stdout)
        return _REFUSED
    json.dump(found, sys.stdout)
    return 0


def shown(verdict: Verdict) -> dict[str, object]:
    """A verdict as JSON, without what does not apply."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(verdict).items()}
    return {k: v for k, v in rounded.items() if v is not None}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
