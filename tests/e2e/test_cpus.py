"""`processes = auto` and `threads = auto`: by the CPUs that the instance may really use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.harness import APPS, Penstock

AUTO = (
    *("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"), "--disable-logging"),
    *("--processes", "auto", "--threads", "auto"),
)


def said(instance: Penstock) -> tuple[int, int]:
    """Workers and threads that an instance says it has."""
    match = instance.wait_log(r"is ready: .*, (\d+) workers?, (\d+) threads? each")
    assert len(instance.workers()) == int(match[1])
    return int(match[1]), int(match[2])


@pytest.mark.option("processes", "threads")
def test_one_cpu_by_affinity() -> None:
    first = min(os.sched_getaffinity(0))
    with Penstock(*AUTO, prefix=("taskset", "--cpu-list", str(first))) as instance:
        assert said(instance) == (1, 4)


def test_as_many_as_there_are() -> None:
    with Penstock(*AUTO) as instance:
        workers, threads = said(instance)
        assert 1 <= workers <= len(os.sched_getaffinity(0)) and threads == 4


@pytest.mark.option("processes")
@pytest.mark.parametrize(
    ("files", "said_in_log"),
    [
        ({"memory.max": "209715200\n"}, "because the memory limit is 200 MiB"),
        ({"memory/memory.limit_in_bytes": "209715200\n"}, "because the memory limit is 200 MiB"),
    ],
)
def test_one_worker_by_the_memory_of_a_control_group(short_dir: Path, files: dict[str, str], said_in_log: str) -> None:
    with Penstock(*AUTO, prefix=in_group(short_dir, files)) as instance:
        assert said(instance)[0] == 1
        assert said_in_log in instance.log or len(os.sched_getaffinity(0)) == 1


@pytest.mark.parametrize(
    "files",
    [
        {"cpu.max": "100000 100000\n"},
        {"cpu.max": "50000 100000\n"},
        {"cpu,cpuacct/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
    ],
)
def test_one_cpu_by_the_quota_of_a_control_group(short_dir: Path, files: dict[str, str]) -> None:
    with Penstock(*AUTO, prefix=in_group(short_dir, files)) as instance:
        assert said(instance) == (1, 4)


def in_group(short_dir: Path, files: dict[str, str]) -> tuple[str, ...]:
    """Over the real tree of control groups another one is mounted, as a container sees it; the command that does it."""
    tree, membership = short_dir / "cgroup", short_dir / "membership"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    membership.write_text("5:memory:/\n4:cpu,cpuacct:/\n0::/\n")
    mounts = f"mount --bind {tree} /sys/fs/cgroup && mount --bind {membership} /proc/$$/cgroup"
    # The last mount is on this shell's own file, which its process number keeps through exec.
    prefix = ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount in a namespace of their own")
    return prefix
