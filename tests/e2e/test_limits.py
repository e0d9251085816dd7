"""Limits, priority and CPUs of the processes, and pid files beside the first one."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import APPS, Penstock, rss_bytes, until

CASES = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"))


def limit(pid: int, name: str) -> str:
    """The soft limit `name` of a process, as /proc says it."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(name))[26:].split()[0]


@pytest.mark.option("limit-as", "limit-nproc", "max-fd", "prio", "cpu-affinity")
def test_limits_reach_the_workers() -> None:
    limits = ("--limit-as", "4096", "--limit-nproc", "20000", "--max-fd", "512", "--prio", "3", "--cpu-affinity", "1")
    with Penstock(*CASES, *limits, "--processes", "2") as instance:
        for pid in instance.workers():
            assert limit(pid, "Max address space") == str(4096 << 20)
            assert limit(pid, "Max processes") == "20000" and limit(pid, "Max open files") == "512"
            assert os.getpriority(os.PRIO_PROCESS, pid) == 3
        cpus = [os.sched_getaffinity(pid) for pid in instance.workers()]
        usable = os.sched_getaffinity(0)
        if len(usable) > 1:
            assert all(len(one) == 1 for one in cpus) and len(set.union(*cpus)) == 2
        else:
            assert cpus == [usable, usable]


def command(pid: int) -> str:
    """Read the short name of a process."""
    return Path(f"/proc/{pid}/comm").read_text()


def most_descriptors() -> int:
    """1,048,576, or as many as this process may have: only a privileged one raises the hard limit."""
    for wanted in (1 << 20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        shell = ("sh", "-c", f"ulimit -n {wanted}")
        if subprocess.run(shell, capture_output=True, check=False).returncode == 0:
            return wanted
    raise AssertionError("the hard limit can not be asked for")


MOST = most_descriptors()


@pytest.mark.parametrize("most", [MOST], ids=[f"{MOST}-descriptors"])
def test_many_descriptors_that_are_allowed_cost_nothing(most: int) -> None:
    """Nothing is sized by the limit, and no loop goes up to it. The name of the test says how high it could be."""
    seen = {}
    for allowed in (256, most):
        prefix = ("sh", "-c", f'ulimit -n {allowed} && exec "$@"', "sh")
        options = ("--processes", "2", "--attach-daemon", "exec sleep 1000")
        with Penstock(*CASES, *options, prefix=prefix) as instance:
            assert limit(instance.pid, "Max open files") == str(allowed)
            # Until it has become the program, it is a copy of the master.
            until("the program runs", lambda: "sleep\n" in [command(pid) for pid in instance.processes()])
            pids = instance.processes()
            ticks = 0
            for pid in pids:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
            seen[allowed] = sum(map(rss_bytes, pids)), ticks / os.sysconf("SC_CLK_TCK")
    (few_rss, few_cpu), (many_rss, many_cpu) = seen[256], seen[most]
    assert abs(many_rss - few_rss) < 0.1 * few_rss
    assert many_cpu < few_cpu + 0.3


@pytest.mark.option("pidfile2", "safe-pidfile", "safe-pidfile2")
def test_pid_files(short_dir: Path) -> None:
    paths = {name: short_dir / name for name in ("pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2")}
    with Penstock(*CASES, *(word for name, path in paths.items() for word in (f"--{name}", path))) as instance:
        assert {path.read_text() for path in paths.values()} == {f"{instance.pid}\n"}
    assert not any(path.exists() for path in paths.values())


@pytest.mark.option("pidfile2", "safe-pidfile")
def test_the_same_pid_file_may_be_named_more_than_once(short_dir: Path) -> None:
    path = short_dir / "pid"
    with Penstock(*CASES, "--pidfile", path, "--pidfile2", f"{short_dir}/./pid", "--safe-pidfile", path) as instance:
        assert path.read_text() == f"{instance.pid}\n"
        assert "belongs to an instance" not in instance.log
    assert not path.exists()
