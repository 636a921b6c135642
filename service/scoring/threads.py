"""How many CPUs this process may use: by affinity and cgroup quota, never by the host's cores."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_CGROUP = "sys/fs/cgroup"


@dataclass(frozen=True)
class CpuBudget:
    """CPUs this process may use (need not be a whole number), and what says so."""

    cpus: float
    source: str

    @property
    def threads(self) -> int:
        """Threads that can be busy at once; at least one.

        Rounded down: two busy threads under a quota of 1.5 CPUs spend it early and are then stopped
        by the kernel for the rest of each period: more tail latency than half a core is worth.
        """
        return max(1, int(self.cpus))


def cpu_budget(root: Path = Path("/"), affinity: int | None = None) -> CpuBudget:
    """The budget of this process; `root` and `affinity` (in CPUs) are for made-up machines."""
    cpus = affinity if affinity is not None else _affinity()
    budgets = [CpuBudget(float(cpus), f"affinity: {cpus} CPUs"), *cgroup_budgets(root)]
    return min(budgets, key=lambda budget: budget.cpus)


def cgroup_budgets(root: Path) -> list[CpuBudget]:
    """CPU quotas that bind this process: its own cgroup's and those of the groups around it."""
    budgets = []
    for directory in _cgroup_directories(root):
        if (quota := _quota_v2(directory) or _quota_v1(directory)) is not None:
            used, period = quota
            shown = "/" + str(directory.relative_to(root))
            budgets.append(CpuBudget(used / period, f"{shown}: {used} of every {period} us"))
    return budgets


def _affinity() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _cgroup_directories(root: Path) -> Iterator[Path]:
    """Directories of this process in the v2 tree and in the v1 cpu tree, innermost first.

    Inside a container the path in /proc/self/cgroup is often the host's, while the mount shows the
    container's own group at its top: directories that are not there are passed over on the way up.
    """
    for hierarchy, controllers, path in _memberships(root):
        if hierarchy == "0":
            mounts = [_CGROUP, f"{_CGROUP}/unified"]
        elif "cpu" in controllers:
            mounts = [f"{_CGROUP}/{name}" for name in dict.fromkeys(("cpu", ",".join(controllers)))]
        else:
            continue
        for mount in mounts:
            group = PurePosixPath(path.lstrip("/"))
            for part in (group, *group.parents):
                directory = root / mount / part
                if ".." not in part.parts and directory.is_dir():
                    yield directory


def _memberships(root: Path) -> Iterator[tuple[str, list[str], str]]:
    """(hierarchy id, controllers, path) of each line of /proc/self/cgroup, else the v2 root."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        yield hierarchy, controllers.split(","), path


def _quota_v2(directory: Path) -> tuple[int, int] | None:
    """(microseconds, period) of `cpu.max`; None when unlimited or absent."""
    words = _read(directory / "cpu.max").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return _positive(words[0], words[1])


def _quota_v1(directory: Path) -> tuple[int, int] | None:
    """(microseconds, period) of the CFS quota; None when unlimited (-1) or absent."""
    return _positive(
        _read(directory / "cpu.cfs_quota_us").strip(),
        _read(directory / "cpu.cfs_period_us").strip(),
    )


def _positive(quota: str, period: str) -> tuple[int, int] | None:
    if not (quota.isdecimal() and period.isdecimal()) or int(quota) == 0 or int(period) == 0:
        return None
    return int(quota), int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
