"""How many CPUs a process may use: affinity and control groups, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.surroundings import Surroundings, cgroup_cpu_quota, cgroup_memory_limit, usable_cpus


def groups(tmp_path: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    member = tmp_path / "membership"
    member.write_text(membership)
    return root, member


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/../host\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        (
            "4:cpu,cpuacct:/x\n0::/\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("4:cpu,cpuacct:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, None),
        ("7:memory:/\n", {"cpu.max": "100000 100000\n"}, None),
        ("broken\n", {}, None),
    ],
)
def test_quota(tmp_path: Path, membership: str, files: dict[str, str], cpus: int | None) -> None:
    assert cgroup_cpu_quota(*groups(tmp_path, membership, files)) == cpus


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {"memory.max": "268435456\n"}, 268435456),
        ("0::/a/b\n", {"a/memory.max": "5000\n", "a/b/memory.max": "max\n", "memory.max": "9000\n"}, 5000),
        ("0::/../host\n", {"memory.max": "7000\n"}, 7000),
        ("0::/\n", {"memory.max": "nonsense\n"}, None),
        ("5:memory:/x\n4:cpu:/\n", {"memory/x/memory.limit_in_bytes": "4000\n", "memory.max": "1\n"}, 4000),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ("4:cpu:/\n", {"memory/memory.limit_in_bytes": "4000\n"}, None),
    ],
)
def test_memory_limit(tmp_path: Path, membership: str, files: dict[str, str], limit: int | None) -> None:
    assert cgroup_memory_limit(*groups(tmp_path, membership, files)) == limit


def test_without_the_file_of_memberships(tmp_path: Path) -> None:
    assert cgroup_cpu_quota(tmp_path, tmp_path / "nothing") is None
    assert cgroup_memory_limit(tmp_path, tmp_path / "nothing") is None


def test_here() -> None:
    here = Surroundings.here()
    assert here.cpus == usable_cpus() >= 1
    assert here.cwd.startswith("/") and here.hostname and here.user and here.binary.startswith("/")
