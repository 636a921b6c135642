"""What the kernel is asked for, read back from it."""

import ctypes
import os
import platform
import sys
import threading

import pytest

from service.commands.time_slice import LOOP_SLICE_S, _Attributes, ask_for_slices

GETATTR = {"x86_64": 315, "aarch64": 275}.get(platform.machine())

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or GETATTR is None, reason="sched_setattr(2) is of Linux"
)


def slices(thread: int = 0) -> tuple[int, int, int]:
    """Slice in ns, nice and policy of a thread, or the first of a process; 0: the calling one."""
    found = _Attributes()
    size = ctypes.sizeof(found)
    assert ctypes.CDLL(None).syscall(GETATTR, thread, ctypes.byref(found), size, 0) == 0
    return found.runtime_ns, found.nice, found.policy


def in_thread(work):
    """What `work` gives on a thread of its own: the other tests keep the slices they have."""
    given = []
    thread = threading.Thread(target=lambda: given.append(work()))
    thread.start()
    thread.join()
    return given[0]


needs_slices = pytest.mark.skipif(
    sys.platform == "linux" and GETATTR is not None and in_thread(slices)[0] == 0,
    reason="Linux before 6.12 has one slice for all",
)


@needs_slices
def test_the_thread_that_asks_has_short_slices_and_its_priority() -> None:
    before = in_thread(slices)
    taken, after = in_thread(lambda: (ask_for_slices(LOOP_SLICE_S), slices()))
    assert taken
    assert after == (100_000, *before[1:])
    assert before[0] > 100_000


@needs_slices
def test_threads_and_processes_that_it_starts_have_slices_as_usual() -> None:
    usual = in_thread(slices)

    def child() -> tuple[int, int, int]:
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(write, b"%d %d %d" % slices())
            os._exit(0)
        os.waitpid(pid, 0)
        first, second, third = map(int, os.read(read, 100).split())
        return first, second, third

    def parent():
        ask_for_slices(LOOP_SLICE_S)
        return in_thread(slices), child()

    assert in_thread(parent) == (usual, usual)


def test_who_runs_at_idle_priority_stays_there() -> None:
    def idle():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return ask_for_slices(LOOP_SLICE_S), os.sched_getscheduler(0)

    assert in_thread(idle) == (False, os.SCHED_IDLE)
