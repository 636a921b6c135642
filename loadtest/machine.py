"""What a result says about where it was made: machine and its load, versions, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_PACKAGES = ("fastapi", "httptools", "numpy", "onnxruntime", "orjson", "uvicorn", "uvloop")


def describe_machine() -> dict[str, Any]:
    """CPU, its flags, the cores and memory this process may use, and the load at this moment."""
    cpu = _first_processor()
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_flags": cpu.get("flags", "").split(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_quota": _read("/sys/fs/cgroup/cpu.max"),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "load_average_1m": os.getloadavg()[0],
    }


def describe_versions() -> dict[str, str]:
    """Python and the packages that a server here runs on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def describe_commit() -> dict[str, Any]:
    """The commit, and whether tracked files differ from it: such a result is for oneself only."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "is_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _first_processor() -> dict[str, str]:
    block = _read("/proc/cpuinfo").split("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
