"""Limits of running instances: real ones, of files and of memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.doctor.checks import limits as checks
from penstock.doctor.facts import Facts, Host, Instance, MemoryLimit
from penstock.observe.room import limits_bytes
from tests.doctor.support import evidence, examination, only, serious, write_configuration
from tests.e2e.harness import Penstock

MEMORY_V1 = Path("/sys/fs/cgroup/memory")
_MIB = 1 << 20


def test_an_instance_with_few_files(folder: Path) -> None:
    write_configuration(folder, "max-fd = 128\nlisten = 500\n")
    with Penstock("app.ini", cwd=folder):
        one = only(examination(folder, "app.ini"), "open-files-few")
    assert "128 open files" in evidence(one) and "a backlog of 500" in evidence(one)


def test_a_backlog_above_what_the_kernel_allows(folder: Path) -> None:
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    write_configuration(folder, f"listen = {allowed + 1}\n")
    with Penstock("app.ini", cwd=folder):
        one = only(examination(folder, "app.ini"), "backlog-lowered")
    assert f"{allowed + 1}" in one.cause and "somaxconn" in one.cure
    assert one.commands == ("penstock tune --apply app.ini",)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 1 for the memory of processes."""
    if os.geteuid() != 0 or not (MEMORY_V1 / "cgroup.procs").exists():
        pytest.skip("no control group can be made")
    path = MEMORY_V1 / f"pst-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    path.rmdir()


def test_workers_that_do_not_fit_into_their_control_group(folder: Path, group: Path) -> None:
    write_configuration(folder, "processes = 40\ncheaper = 1\n")
    text = (folder / "app.ini").read_text().replace("processes = 1\n", "")
    (folder / "app.ini").write_text(text)
    with Penstock("app.ini", cwd=folder) as instance:
        for pid in instance.processes():
            (group / "cgroup.procs").write_text(str(pid))
        (group / "memory.limit_in_bytes").write_text(str(300 * _MIB))
        one = only(examination(folder, "app.ini"), "memory-short")
        (group / "memory.limit_in_bytes").write_text(str(8 << 30))
        assert "memory-short" not in serious(examination(folder, "app.ini"))
    assert "40 workers x" in evidence(one) and "300 MiB" in evidence(one) and str(group) in evidence(one)


def test_the_limits_of_a_group_are_read(tmp_path: Path) -> None:
    """Of version 2, from files as the kernel writes them."""
    (tmp_path / "meminfo").write_text("MemTotal:       4000000 kB\n")
    (tmp_path / "cgroup").write_text("0::/shop.slice/shop.service\n")
    place = tmp_path / "groups" / "shop.slice" / "shop.service"
    place.mkdir(parents=True)
    (place / "memory.max").write_text(f"{512 * _MIB}\n")
    (place.parent / "memory.max").write_text("max\n")
    found = list(limits_bytes(tmp_path / "cgroup", tmp_path, tmp_path / "groups"))
    assert [size for size, _ in found] == [4000000 * 1024, 512 * _MIB]


def test_workers_that_fit_are_not_mentioned(running: tuple[Path, Penstock]) -> None:
    folder, _ = running
    facts = examination(folder, "app.ini").facts
    assert isinstance(facts.instance, Instance) and facts.instance.stats is not None
    assert facts.instance.memory_bytes > 10 * _MIB and facts.instance.open_files > 100
    assert facts.host.memory is not None
    assert list(checks.check(facts)) == []
    assert list(checks.check(Facts(host=Host(euid=0, memory=MemoryLimit(1, "nothing"))))) == []
