"""Memory that processes take, and what is left of it, from files as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.observe.room import Free, free_bytes, used_bytes

KB, MB = 1 << 10, 1 << 20


def make(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    make(tmp_path / "proc", {"meminfo": "MemTotal: 8000 kB\nMemAvailable:    4096 kB\n", "self/cgroup": "0::/\n"})
    return tmp_path / "proc"


def test_the_machine(proc: Path, tmp_path: Path) -> None:
    assert free_bytes(proc, tmp_path / "none") == Free(4096 * KB, "MemAvailable of the machine")


def test_version_2_counts_the_tightest_group_on_the_way_up(proc: Path, tmp_path: Path) -> None:
    make(proc, {"self/cgroup": "0::/site/app\n"})
    root = tmp_path / "cgroup"
    make(
        root,
        {
            "site/memory.max": f"{3 * MB}\n",
            "site/memory.current": f"{2 * MB}\n",
            "site/memory.stat": f"anon 5\ninactive_file {MB // 2}\n",
            "site/app/memory.max": "max\n",
            "site/app/memory.current": f"{MB}\n",
        },
    )
    found = free_bytes(proc, root)
    assert found is not None and found.size_bytes == MB + MB // 2
    assert found.source == f"memory.max of the control group {root}/site"


def test_version_1_in_a_container_that_does_not_see_its_own_path(proc: Path, tmp_path: Path) -> None:
    make(proc, {"self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n"})
    root = tmp_path / "cgroup"
    make(
        root,
        {
            "memory/memory.limit_in_bytes": f"{2 * MB}\n",
            "memory/memory.usage_in_bytes": f"{MB}\n",
            "memory/memory.stat": "cache 7\ntotal_inactive_file 4096\n",
            "cpu,cpuacct/memory.limit_in_bytes": "1\n",
            "cpu,cpuacct/memory.usage_in_bytes": "1\n",
        },
    )
    found = free_bytes(proc, root)
    assert found is not None and found.size_bytes == MB + 4096 and "memory.limit_in_bytes" in found.source


@pytest.mark.parametrize("text", ["", "nonsense", "99999999999999999999 9", "-1"])
def test_what_can_not_be_read_is_left_out(proc: Path, tmp_path: Path, text: str) -> None:
    make(tmp_path / "cgroup", {"memory.max": text, "memory.current": "1"})
    found = free_bytes(proc, tmp_path / "cgroup")
    assert found is not None
    make(proc, {"meminfo": text, "self/cgroup": text})
    free_bytes(proc, tmp_path / "cgroup")


def test_nobody_says(tmp_path: Path) -> None:
    assert free_bytes(tmp_path, tmp_path) is None


def test_the_proportional_size_counts_shared_pages_once(tmp_path: Path) -> None:
    make(tmp_path, {"1/smaps_rollup": "Rss: 900 kB\nPss: 300 kB\nPss_Dirty: 10 kB\n"})
    make(tmp_path, {"2/smaps_rollup": "Rss: 900 kB\nPss: 200 kB\n"})
    assert used_bytes([1, 2], tmp_path) == 500 * KB
    assert used_bytes([os.getpid()], tmp_path) > MB, "the resident size where that is not to be had"
    assert used_bytes([2**22 + 1], tmp_path) == 0
    assert used_bytes([os.getpid()]) > MB


def test_what_is_not_looked_at_in_time_is_taken_to_be_as_large(proc: Path) -> None:
    make(proc, {f"{pid}/smaps_rollup": f"Rss: 9 kB\nPss: {pid} kB\n" for pid in (10, 30, 20, 500)})
    assert used_bytes((10, 30, 20, 500), proc) == 560 * KB
    # Each look at the clock takes a tenth of a second: for the last one there is no time.
    ticks = iter(range(100))
    assert used_bytes((10, 30, 20, 500), proc, lambda: next(ticks) / 10, 0.25) == (10 + 30 + 20 + 30) * KB
    # The first one counts, however late it is.
    assert used_bytes((10, 30), proc, lambda: 0.0, 0.0) == 20 * KB
