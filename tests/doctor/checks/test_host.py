"""The clock, and whom the kernel has killed: from words of its own that were recorded."""

from __future__ import annotations

import os
import time
from pathlib import Path

from penstock.doctor.checks import host as checks
from penstock.doctor.facts import Facts, Host
from penstock.doctor.gather.host import clock_is_synchronised, container, host, killed, oom_kills
from tests.doctor.support import evidence, examination, only
from tests.e2e.harness import Penstock

JOURNAL = """\
2026-11-27T03:12:44+00:00 web kernel: Out of memory: Killed process 4711 (penstock-worker) total-vm:912344kB, \
anon-rss:502112kB, file-rss:0kB, shmem-rss:128kB, UID:33 pgtables:1300kB oom_score_adj:0
2026-11-27T03:12:50+00:00 web kernel: Memory cgroup out of memory: Killed process 4720 (postgres) total-vm:1kB
2026-11-27T04:00:01+00:00 web kernel: penstock-worker[4801]: segfault at 0 ip 00007f sp 00007ff error 4 in \
_speedups.so[7f0000000000+1000]
2026-11-27T04:00:02+00:00 web kernel: usb 1-1: new high-speed USB device
"""


def with_journal(folder: Path, text: str, status: int = 0) -> dict[str, str]:
    """An environment in which `journalctl` says this."""
    (folder / "said").write_text(text)
    for name in ("journalctl", "dmesg"):
        program = folder / name
        program.write_text(f"#!/bin/sh\ncat {folder}/said\nexit {status}\n")
        program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_killed_processes_are_found_in_the_journal(tmp_path: Path) -> None:
    found, blind = host(with_journal(tmp_path, JOURNAL), None)
    assert [(one.name, one.pid, one.is_oom) for one in found.killed] == [
        ("penstock-worker", 4711, True),
        ("postgres", 4720, True),
        ("penstock-worker", 4801, False),
    ]
    assert found.killed[0].when == "2026-11-27T03:12:44+00:00" and blind == []
    oom, crash = checks.check(Facts(host=Host(euid=0, killed=found.killed)))
    assert (oom.code, crash.code) == ("killed-for-memory", "crashed")
    assert "4711" in evidence(oom) and "postgres" not in evidence(oom) and "_speedups.so" in evidence(crash)


def test_a_journal_about_others_is_not_mentioned(tmp_path: Path) -> None:
    lines = [line for line in JOURNAL.splitlines() if "penstock" not in line]
    found, _ = host(with_journal(tmp_path, "\n".join(lines)), None)
    assert list(checks.check(Facts(host=Host(euid=0, killed=found.killed)))) == []


def test_a_journal_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    found, blind = host(with_journal(tmp_path, "", 1), None)
    assert found.killed == () and ["journalctl" in one.why for one in blind] == [True]


def test_lines_of_dmesg() -> None:
    (one,) = killed("[12345.678901] Out of memory: Killed process 9 (uwsgi) total-vm:1kB, anon-rss:1kB\nrubbish [ (\n")
    assert (one.when, one.name) == ("[12345.678901]", "uwsgi")


def test_kills_are_counted_by_the_control_group(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/shop.service\n")
    (tmp_path / "shop.service").mkdir()
    (tmp_path / "shop.service" / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
    assert oom_kills(tmp_path / "membership", tmp_path) == 2
    assert oom_kills(Path("/proc/self/cgroup")) >= 0
    (tmp_path / "membership").write_text("0::/\n")
    (tmp_path / "memory.events").write_text("oom_kill 5\n")
    assert oom_kills(tmp_path / "membership", tmp_path) == 0
    assert oom_kills(tmp_path / "membership", tmp_path, is_container=True) == 5
    (one,) = checks.check(Facts(host=Host(euid=0, oom_kills=2)))
    assert one.code == "killed-for-memory" and "2 processes" in evidence(one)


def test_the_clock() -> None:
    assert clock_is_synchronised() in (True, False)
    for container_kind, level in (("", "warning"), ("docker", "note")):
        (one,) = checks.check(Facts(host=Host(euid=0, clock_is_synchronised=False, container=container_kind)))
        assert (one.code, one.level) == ("clock-not-synchronised", level)
    for is_right in (True, None):
        assert list(checks.check(Facts(host=Host(euid=0, clock_is_synchronised=is_right)))) == []


def test_files_from_the_future(running: tuple[Path, Penstock]) -> None:
    folder, _ = running
    path = folder / "shop" / "wsgi.py"
    later = time.time() + 7200
    os.utime(path, (later, later))
    try:
        one = only(examination(folder, "app.ini"), "clock-behind")
    finally:
        os.utime(path)
    assert str(path) in evidence(one)


def test_a_container_is_known_by_its_signs(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "cgroup").write_text("0::/kubepods.slice/pod1\n")
    assert container({}, tmp_path) in ("kubepods", "podman")
    assert container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == "kubernetes"
    assert container({"container": "lxc"}, tmp_path) in ("lxc", "podman")
