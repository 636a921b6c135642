"""Prove a package in a process of its own before this one loads it.

There it may crash, hang or take all the time it wants: it runs while no request needs the CPU, and
if no CPU is ever idle, as the least of all processes. `python -m service.scoring.proof` is that
process.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from service.contract.encode import Array
from service.contract.errors import PackageError
from service.contract.repository import ModelRef, Repository
from service.scoring.errors import RunFailed, RuntimeProblem
from service.scoring.package import LoadedModel, load_package, manifest_digest

ROWS = 500  # candidates of the timed runs
_ROUNDS = 5
_IDLE_SHARE = 0.1  # of the time, in which only idle CPUs are used; there may be none
_NICE = 19
_SET_PARENT_DEATH_SIGNAL = 1  # of prctl
_REFUSED = 3  # exit status
_ROOT = Path(__file__).parents[2]  # where `service` is found, whatever the caller's directory
_SAID = 500  # characters kept of what a broken process wrote


@dataclass(frozen=True)
class Verdict:
    """What a proof found. CPU times of one run of 500 rows; None: nothing to compare.

    `manifest`: SHA-256 of the manifest of the package that was proved.
    """

    seconds: float
    manifest: str | None = None
    run_ms: float | None = None
    active: str | None = None
    active_run_ms: float | None = None


class Prover:
    """Starts proofs, on any thread.

    `slowdown`: how many times slower than the active version is too slow.
    """

    def __init__(self, models: Path, slowdown: float, timeout_s: float) -> None:
        self._models, self._slowdown, self._timeout_s = models, slowdown, timeout_s
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __call__(self, id_: str, active: str | None) -> Verdict:
        """Load, replay and time a package; `active` is the version it would replace, if any.

        Raises:
            PackageError: what `load_package` refuses, a slow model, a crash, junk instead of
                findings, no end in time, or `close`.
        """
        command = [sys.executable, "-m", "service.scoring.proof", str(os.getpid())]
        command += [str(self._models), id_]
        command += [active] if active is not None else []
        began = time.monotonic()
        idle_s = _IDLE_SHARE * self._timeout_s
        try:
            status, said, complained = self._run(id_, command, idle_s, only_idle=True)
        except _NotDone as first:
            # Anew: without privileges, a process cannot leave SCHED_IDLE.
            try:
                status, said, complained = self._run(
                    id_, command, self._timeout_s - idle_s, only_idle=False
                )
            except _NotDone as second:
                raise PackageError(
                    f"{id_}: not proved within {self._timeout_s:g} s, in which it got"
                    f" {first.cpu_s + second.cpu_s:.1f} s of CPU"
                ) from None
        if status not in (0, _REFUSED):
            raise PackageError(f"{id_}: {_ended(status)}: {complained.strip()[-_SAID:]}")
        verdict, refused = _read(said, time.monotonic() - began)
        if refused is not None:
            raise PackageError(refused)
        if verdict is None:
            raise PackageError(
                f"{id_}: the process that loads it said {said.strip()[-_SAID:]!r},"
                " which are no findings"
            )
        self._compare(id_, verdict)
        return verdict

    def close(self) -> None:
        """Kill the proofs that run; none begins from now on."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()

    def _run(
        self, id_: str, command: list[str], timeout_s: float, *, only_idle: bool
    ) -> tuple[int, str, str]:
        """Exit status, stdout and stderr.

        Raises:
            _NotDone: it took longer.
            PackageError: it was killed by `close`, or not started after it.
        """
        with self._start(id_, command) as process:
            # From here, not by itself: its imports alone would take a third of a second.
            _leave_cpu_to_others(process.pid, only_idle=only_idle)
            try:
                said, complained = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                self._forget(process)
                # Not Popen's kill and wait, which throw away what the process used.
                os.kill(process.pid, signal.SIGKILL)
                used = os.wait4(process.pid, 0)[2]
                raise _NotDone(used.ru_utime + used.ru_stime) from None
            finally:
                self._forget(process)
        if self._closed:
            raise _stopping(id_)
        return process.returncode, said, complained

    def _start(self, id_: str, command: list[str]) -> "subprocess.Popen[str]":
        with self._lock:
            if self._closed:
                raise _stopping(id_)
            process = subprocess.Popen(
                command,
                cwd=_ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",  # what a model's library prints need not be text
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            self._running.add(process)
            return process

    def _forget(self, process: "subprocess.Popen[str]") -> None:
        """Its number may soon be another's."""
        with self._lock:
            self._running.discard(process)

    def _compare(self, id_: str, verdict: Verdict) -> None:
        if verdict.run_ms is None or verdict.active_run_ms is None:
            return
        if verdict.run_ms > self._slowdown * verdict.active_run_ms:
            raise PackageError(
                f"{id_}: {ROWS} rows take {verdict.run_ms:.1f} ms,"
                f" more than {self._slowdown:g} times the {verdict.active_run_ms:.1f} ms of"
                f" {verdict.active}, which it would replace"
            )


def time_runs(new: LoadedModel, active: LoadedModel | None) -> list[float]:
    """Shortest CPU time of a run of 500 rows, in ms, of the new version and of the active one.

    A run stays on the thread that calls it. Time in which requests have the CPU does not count;
    rounds are interleaved, so that both see the same caches and clock rates.
    """
    models = [new] if active is None else [new, active]
    blocks = [_repeated(model) for model in models]
    best = [float("inf")] * len(models)
    for _ in range(_ROUNDS):
        for at, model in enumerate(models):
            began = time.thread_time()
            model.graphs.run(blocks[at])
            best[at] = min(best[at], (time.thread_time() - began) * 1000)
    return best


def _repeated(model: LoadedModel) -> dict[str, Array]:
    """The golden rows, repeated to 500 candidates of the first row's user."""
    rows = np.arange(ROWS) % len(model.golden.raw)
    return {
        name: block[:1] if model.schema.inputs[name][0] in ("user", "context") else block[rows]
        for name, block in model.golden.encoded.items()
    }


def _read(said: str, seconds: float) -> tuple[Verdict | None, str | None]:
    """The verdict of a process, or why it refuses; neither, where it says something else."""
    try:
        found = json.loads(said)
        if "refused" in found:
            return None, str(found["refused"])
        return Verdict(seconds, found.pop("manifest"), **found), None
    except (ValueError, TypeError, KeyError):
        return None, None


def _stopping(id_: str) -> PackageError:
    return PackageError(f"{id_}: not proved, since the service is stopping")


def _ended(status: int) -> str:
    if status < 0:
        return f"the process that loads it was ended by signal {-status}"
    return f"the process that loads it ended with status {status}"


class _NotDone(Exception):
    """A process was ended since its time was up; `cpu_s` of it had a CPU."""

    def __init__(self, cpu_s: float) -> None:
        super().__init__()
        self.cpu_s = cpu_s


def _leave_cpu_to_others(pid: int, *, only_idle: bool) -> None:
    """Let a process run where a CPU has nothing else to do, or else seldom."""
    if only_idle and hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):  # it may have ended, or a container may forbid it
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
            return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, _NICE)


def _load(models: Path, id_: str, *, is_active: bool = False) -> tuple[LoadedModel, str]:
    """The model, and the digest of its manifest; the active version was proved in its time."""
    ref, repository = ModelRef.parse(id_), Repository(models)
    if ref.version is None:
        raise PackageError(f"{id_!r} names no version")
    manifest = repository.manifest(ref.name, ref.version)
    digest = manifest_digest(repository, manifest.name, manifest.version)
    proved = digest if is_active else None
    model = load_package(repository, ref.name, ref.version, variant=ref.variant, proved=proved)
    return model, digest


def _prove(models: Path, id_: str, active: str | None = None) -> dict[str, object]:
    new, digest = _load(models, id_)
    beside = None if active is None else _load(models, active, is_active=True)[0]
    run_ms, *active_run_ms = time_runs(new, beside)
    return {
        "manifest": digest,
        "run_ms": run_ms,
        "active": active,
        "active_run_ms": active_run_ms[0] if active_run_ms else None,
    }


def _ends_with(parent: int) -> bool:
    """Let this process end with the thread that started it, where the system can.

    False: that process has ended already.
    """
    with suppress(AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    return os.getppid() == parent


def main(arguments: list[str]) -> int:
    """Prove `parent models id [active]`; the findings, or the refusal, go to stdout as JSON."""
    parent, models, *rest = arguments
    if not _ends_with(int(parent)):
        return 1
    try:
        found = _prove(Path(models), *rest)
    except (PackageError, RunFailed, RuntimeProblem) as err:
        json.dump({"refused": str(err)}, sys.stdout)
        return _REFUSED
    json.dump(found, sys.stdout)
    return 0


def shown(verdict: Verdict) -> dict[str, object]:
    """A verdict as JSON, without what does not apply."""
    found = asdict(verdict)
    del found["manifest"]
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}
    return {k: v for k, v in rounded.items() if v is not None}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
