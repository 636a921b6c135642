"""A package is proved in a process of its own: whatever happens there becomes a sentence."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from service.contract.encode import Array
from service.contract.errors import PackageError
from service.contract.repository import Repository
from service.scoring import proof
from service.scoring.graphs import Graphs
from service.scoring.package import load_package, manifest_digest
from service.scoring.proof import Prover, Verdict, shown, time_runs
from service.scoring.session import Heads
from tests.scoring.graphs import slow_down
from tests.scoring.packages import Changes, publish_tiny

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny/1, tiny/2 alike; tiny/3 slower; tiny/4 damaged."""
    root = tmp_path_factory.mktemp("models")
    for seed in range(2):
        publish_tiny(root, seed=seed)
    slower = Changes(model=lambda model: slow_down(model, rows=64, rounds=500))
    publish_tiny(root, changes=slower)
    publish_tiny(root)
    (root / "tiny/4/golden.npz").write_bytes(b"")
    return root


def test_good_version_is_timed_beside_the_active_one(models: Path) -> None:
    verdict = Prover(models, slowdown=50, timeout_s=60)("tiny/2", "tiny/1")
    assert verdict.active == "tiny/1"
    assert verdict.run_ms is not None
    assert verdict.active_run_ms is not None
    assert set(shown(verdict)) == {"seconds", "run_ms", "active", "active_run_ms"}


def test_first_version_has_nothing_to_be_compared_with(models: Path) -> None:
    verdict = Prover(models, slowdown=1.01, timeout_s=60)("tiny/3", None)
    assert verdict.active is None
    assert "active_run_ms" not in shown(verdict)


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("tiny/3", r"tiny/3: 500 rows take .* ms, more than 3 times the .* ms of tiny/1, which"),
        ("tiny/4", r"tiny/4: golden.npz does not match its digest"),
        ("tiny/9", r"model 'tiny' has no version 9"),
    ],
)
def test_bad_version_is_refused_as_loading_refuses_it(models: Path, id_: str, why: str) -> None:
    with pytest.raises(PackageError, match=why):
        Prover(models, slowdown=3, timeout_s=60)(id_, "tiny/1")


def test_a_proof_without_end_is_a_refusal(models: Path) -> None:
    with pytest.raises(
        PackageError, match=r"^tiny/1: not .* 0.01 s, in which it got \d\.\d s of CPU$"
    ):
        Prover(models, slowdown=3, timeout_s=0.01)("tiny/1", None)


def test_a_crash_of_the_process_is_a_refusal(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "crash"
    crash.write_text(f"#!/bin/sh\necho out of memory >&2\nkill -{signal.SIGKILL.value} $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr(proof.sys, "executable", os.fspath(crash))
    with pytest.raises(PackageError, match=r"tiny/1: the process .* ended by signal 9: out of mem"):
        Prover(models, slowdown=3, timeout_s=60)("tiny/1", None)


@pytest.mark.parametrize(
    ("status", "says", "shown"),
    [
        (0, r"\377\376 loaded", "'\ufffd\ufffd loaded'"),
        (0, r"[1]", r"'\[1\]'"),
        (0, r"{\"speed\": 1}", r"""'{"speed": 1}'"""),
        (3, r"{}", r"'{}'"),
        (3, r"no", r"'no'"),
    ],
)
def test_junk_instead_of_findings_is_a_refusal(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    says: str,
    shown: str,
) -> None:
    junk = tmp_path / "junk"
    junk.write_text(f'#!/bin/sh\nprintf "{says}"\nexit {status}\n')
    junk.chmod(0o755)
    monkeypatch.setattr(proof.sys, "executable", os.fspath(junk))
    why = f"^tiny/1: the process that loads it said {shown}, which are no findings$"
    with pytest.raises(PackageError, match=why):
        Prover(models, slowdown=3, timeout_s=60)("tiny/1", None)


def test_complaints_that_are_no_text_do_not_hide_the_crash(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "crash"
    crash.write_text('#!/bin/sh\nprintf "\\377 bad" >&2\nexit 7\n')
    crash.chmod(0o755)
    monkeypatch.setattr(proof.sys, "executable", os.fspath(crash))
    with pytest.raises(PackageError, match=r"^tiny/1: .* ended with status 7: \ufffd bad$"):
        Prover(models, slowdown=3, timeout_s=60)("tiny/1", None)


def test_a_prover_that_is_closed_kills_its_process_and_starts_no_other(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    hangs = tmp_path / "hangs"
    hangs.write_text(f"#!/bin/sh\necho $$ >> {pids}\nexec sleep 60\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(proof.sys, "executable", os.fspath(hangs))
    prover = Prover(models, slowdown=3, timeout_s=600)
    with ThreadPoolExecutor(1) as thread:
        proving = thread.submit(prover, "tiny/1", None)
        until = time.monotonic() + 20
        while not (pids.exists() and pids.read_text().endswith("\n")):
            assert time.monotonic() < until, "no process was started"
            time.sleep(0.01)
        prover.close()
        with pytest.raises(PackageError) as caught:
            proving.result(20)
    assert str(caught.value) == "tiny/1: not proved, since the service is stopping"
    with pytest.raises(PackageError, match=r"^tiny/2: not proved, since the service is stopping$"):
        prover("tiny/2", "tiny/1")
    (pid,) = map(int, pids.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_runs_are_timed_for_both_versions_on_their_own_golden_rows(models: Path) -> None:
    active, slower = (load_package(Repository(models), "tiny", n) for n in (1, 3))
    slow_ms, active_ms = time_runs(slower, active)
    assert slow_ms > active_ms
    assert len(time_runs(active, None)) == 1


@dataclass(frozen=True)
class HeldUp:
    """Graphs whose runs wait for a CPU."""

    graphs: Graphs

    def run(self, inputs: Mapping[str, Array]) -> Heads:
        time.sleep(0.05)
        return self.graphs.run(inputs)


def test_a_version_that_is_kept_waiting_for_a_cpu_is_no_slower(models: Path) -> None:
    new, active = (load_package(Repository(models), "tiny", n) for n in (1, 2))
    held_up: Any = HeldUp(active.graphs)
    _, active_ms = time_runs(new, replace(active, graphs=held_up))
    assert active_ms < 50


def test_times_that_do_not_apply_are_not_shown() -> None:
    assert shown(Verdict(1.23456)) == {"seconds": 1.235}


def test_the_verdict_says_which_package_was_proved(models: Path) -> None:
    verdict = Prover(models, slowdown=50, timeout_s=60)("tiny/2", "tiny/1")
    assert verdict.manifest == manifest_digest(Repository(models), "tiny", 2)
    assert "manifest" not in shown(verdict)


@pytest.fixture
def tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the proof: refuses, and says how it is scheduled as soon as that was changed."""
    script = tmp_path / "tells"
    script.write_text(
        f"#!{sys.executable}\n"
        "import os, sys, time\n"
        "def how():\n"
        "    return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)\n"
        "until = time.monotonic() + 10\n"
        f"while how() == {(os.SCHED_OTHER, _priority())} and time.monotonic() < until:\n"
        "    time.sleep(0.01)\n"
        "policy, nice = how()\n"
        "if policy == os.SCHED_IDLE and os.environ.get('NEVER_IDLE'):\n"
        "    time.sleep(60)\n"
        'print(\'{"refused": "policy %d, nice %d"}\' % (policy, nice))\n'
        "sys.exit(3)\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(proof.sys, "executable", os.fspath(script))


def _priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


linux = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="only Linux has it")


@linux
def test_the_process_runs_while_no_other_needs_the_cpu(models: Path, tells: None) -> None:
    with pytest.raises(PackageError, match=f"^policy {os.SCHED_IDLE}, nice {_priority()}$"):
        Prover(models, slowdown=3, timeout_s=60)("tiny/1", None)


@linux
def test_where_no_cpu_is_ever_idle_the_process_is_the_least_of_all(
    models: Path, tells: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEVER_IDLE", "yes")
    with pytest.raises(PackageError, match=f"^policy {os.SCHED_OTHER}, nice 19$"):
        Prover(models, slowdown=3, timeout_s=8)("tiny/1", None)


@linux
def test_where_idle_scheduling_is_forbidden_the_process_is_the_least_of_all(
    models: Path, tells: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(proof.os, "sched_setscheduler", forbidden)
    with pytest.raises(PackageError, match=f"^policy {os.SCHED_OTHER}, nice 19$"):
        Prover(models, slowdown=3, timeout_s=60)("tiny/1", None)
