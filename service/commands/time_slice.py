"""Have the event loop run as soon as it wakes, whatever the scoring threads compute."""

import ctypes
import os
import platform
import sys

LOOP_SLICE_S = 0.0001  # the least there is

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # by machine; glibc wraps it from 2.41 on
_RESET_ON_FORK = 1  # threads and processes that this thread starts have slices as usual


class _Attributes(ctypes.Structure):
    """`struct sched_attr` of sched_setattr(2), as of its first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def ask_for_slices(seconds: float) -> bool:
    """Ask for time slices of this length for the calling thread; whether the kernel takes it.

    Of threads that want one CPU, the one with the shorter slices runs as soon as it wakes, and each
    gets the same share: unlike a priority, this takes nothing from other programs. Linux heeds it
    from 6.12 on (sched_setattr(2), `sched_runtime`, 0.1 to 100 ms); elsewhere nothing changes.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return False
    try:
        policy = os.sched_getscheduler(0)
    except OSError:  # musl, or a sandbox
        return False
    if policy & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
        return False  # somebody has chosen for it
    wanted = _Attributes(
        size=ctypes.sizeof(_Attributes),
        policy=os.SCHED_OTHER,
        flags=_RESET_ON_FORK,
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        runtime_ns=round(seconds * 1e9),
    )
    failed: int = ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wanted), 0)
    return failed == 0
