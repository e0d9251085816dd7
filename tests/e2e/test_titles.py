"""What ps shows for each process, and that commands find the master whatever its title is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.harness import APPS, Penstock, run_penstock

CASES = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"))


def title(pid: int) -> str:
    """The title as ps shows it; empty if the process has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def titles(instance: Penstock) -> list[str]:
    """The titles of the master, the generation and the workers."""
    return [title(pid) for pid in (instance.pid, *instance.generations())] + sorted(map(title, instance.workers()))


def test_titles_say_what_a_process_is() -> None:
    with Penstock(*CASES, "--processes", "2") as instance:
        master, *others = titles(instance)
        assert master.startswith("penstock master --http 127.0.0.1:0 --wsgi-file")
        assert others == ["penstock generation 1", "penstock worker 1", "penstock worker 2"]
        instance.reload()
        assert "penstock generation 2" in titles(instance)
        assert Path(f"/proc/{instance.pid}/comm").read_text() == "penstock-master\n"


@pytest.mark.option("auto-procname", "procname-append")
def test_the_master_without_its_arguments() -> None:
    with Penstock(*CASES, "--auto-procname", "--procname-append", " (shop)") as instance:
        assert titles(instance) == [
            "penstock master (shop)",
            "penstock generation 1 (shop)",
            "penstock worker 1 (shop)",
        ]


@pytest.mark.option("procname", "procname-master", "procname-prefix")
def test_titles_of_the_users_own_and_commands_that_find_the_master(short_dir: Path) -> None:
    pidfile = short_dir / "pid"
    options = ("--procname", "whitewhale", "--procname-master", "boss", "--procname-prefix", "eu-")
    with Penstock(*CASES, *options, "--pidfile", pidfile) as instance:
        assert titles(instance) == ["eu-boss", "eu-whitewhale", "eu-whitewhale"]
        refused = run_penstock(*CASES, "--pidfile", pidfile)
        assert refused.returncode == 1 and "is running" in refused.stderr
        assert run_penstock("--reload", pidfile).returncode == 0
        instance.wait_log("generation 2 serves")
        assert run_penstock("--stop", pidfile).returncode == 0
        assert instance.wait_exit() == 0


@pytest.mark.option("procname-prefix-spaced")
def test_a_prefix_with_a_blank() -> None:
    with Penstock(*CASES, "--procname-prefix-spaced", "[shop.com]") as instance:
        assert titles(instance) == [
            "[shop.com] penstock master",
            "[shop.com] penstock generation 1",
            "[shop.com] penstock worker 1",
        ]
        instance.stop(signal.SIGTERM)
