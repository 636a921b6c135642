"""The CPU budget of made-up machines."""

from pathlib import Path

import pytest

from service.scoring.threads import CpuBudget, cgroup_budgets, cpu_budget


def machine(root: Path, memberships: str, files: dict[str, str]) -> Path:
    """A tree with /proc/self/cgroup and files under /sys/fs/cgroup."""
    for path, text in {"proc/self/cgroup": memberships}.items() | {
        (f"sys/fs/cgroup/{path}", text) for path, text in files.items()
    }:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_v2_quota_of_a_container_binds(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", {"cpu.max": "250000 100000\n"})
    found = cpu_budget(root, affinity=16)
    assert (found.cpus, found.threads) == (2.5, 2)
    assert found.source == "/sys/fs/cgroup: 250000 of every 100000 us"


def test_v2_without_a_quota_leaves_the_affinity(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})
    assert cpu_budget(root, affinity=6) == CpuBudget(6.0, "affinity: 6 CPUs")


def test_v2_quota_of_a_group_around_ours_binds(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/kubepods/pod1/main\n",
        {
            "kubepods/pod1/main/cpu.max": "max 100000",
            "kubepods/pod1/cpu.max": "300000 100000",
            "kubepods/cpu.max": "800000 100000",
        },
    )
    assert [b.cpus for b in cgroup_budgets(root)] == [3.0, 8.0]
    assert cpu_budget(root, affinity=16).cpus == 3.0


def test_v1_quota_of_a_container_binds_although_its_path_is_the_hosts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "5:cpu,cpuacct:/docker/4f2a\n4:memory:/docker/4f2a\n1:name=systemd:/docker/4f2a\n",
        {"cpu,cpuacct/cpu.cfs_quota_us": "150000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
    )
    found = cpu_budget(root, affinity=8)
    assert (found.cpus, found.threads) == (1.5, 1)


def test_v1_quota_is_found_where_only_the_cpu_link_exists(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}
    root = machine(tmp_path, "3:cpuacct,cpu:/\n", files)
    assert cpu_budget(root, affinity=8).cpus == 4.0


def test_v1_quota_of_minus_one_is_unlimited(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert cgroup_budgets(machine(tmp_path, "3:cpu:/\n", files)) == []


def test_hybrid_machine_takes_the_smaller_of_both_trees(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "3:cpu:/app\n0::/app\n",
        {
            "unified/app/cpu.max": "500000 100000",
            "cpu/app/cpu.cfs_quota_us": "200000",
            "cpu/app/cpu.cfs_period_us": "100000",
        },
    )
    assert cpu_budget(root, affinity=8).cpus == 2.0


@pytest.mark.parametrize(
    "text", ["", "max", "100000", "abc 100000", "0 100000", "100000 0", "-1 100000", "1 2 3"]
)
def test_unreadable_quota_is_no_quota(tmp_path: Path, text: str) -> None:
    assert cgroup_budgets(machine(tmp_path, "0::/\n", {"cpu.max": text})) == []


def test_path_that_climbs_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    files = {"a/cpu.max": "max 100000", "cpu.max": "300000 100000"}
    root = machine(tmp_path, "0::/a/../../../etc\n", files)
    assert [b.cpus for b in cgroup_budgets(root)] == [3.0]


def test_machine_without_cgroups_has_its_affinity(tmp_path: Path) -> None:
    assert cpu_budget(tmp_path, affinity=3).threads == 3


def test_quota_below_one_cpu_still_gives_one_thread(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", {"cpu.max": "20000 100000"})
    assert cpu_budget(root, affinity=8).threads == 1


def test_this_machine_has_a_budget() -> None:
    assert cpu_budget().cpus > 0
