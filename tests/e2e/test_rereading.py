"""A configuration that takes its time to be read again: everything else goes on meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, is_alive, read_stats, run_penstock, until
from tests.e2e.load import Load


class Site:
    """An instance whose configuration is partly what a command says, which waits at a gate when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.gate = folder, folder / "gate"
        (folder / "part.ini").write_text("[uwsgi]\nprocesses = 2\n")
        # A command that waits is killed with its group, and tells whether it is there by its pid.
        (folder / "command").write_text(
            f"#!/bin/sh\ncd {folder}\nif [ -e gate ]; then echo $$ >waits; read line <gate; fi\ncat part.ini\n"
        )
        (folder / "command").chmod(0o755)
        (folder / "app.ini").write_text(
            "[uwsgi]\nhttp = 127.0.0.1:0\ndisable-logging = true\n"
            f"wsgi-file = {APPS / 'cases.py'}\nstats = {folder / 'stats'}\npidfile = {folder / 'pid'}\n"
            f"ini = exec://{folder / 'command'}\n"
        )
        self.instance = Penstock("--ini", folder / "app.ini")

    def close_gate(self) -> None:
        os.mkfifo(self.gate)

    def waits(self) -> int:
        """Wait until the command stands at the gate; its pid."""
        path = self.folder / "waits"
        return int(until("the command waits", lambda: path.exists() and path.read_text().strip()))

    def open_gate(self) -> None:
        with self.gate.open("w") as gate:
            gate.write("\n")


@pytest.fixture
def site(short_dir: Path) -> Iterator[Site]:
    made = Site(short_dir)
    with made.instance:
        yield made


@pytest.mark.event("reload")
def test_statistics_answers_and_respawns_go_on_while_a_command_is_waited_for(site: Site) -> None:
    site.close_gate()
    with Load(site.instance.http) as load:
        site.instance.send(signal.SIGHUP)
        site.waits()
        assert len(read_stats(str(site.folder / "stats"))["workers"]) == 2
        load.more(100)
    assert load.failures == []
    before = site.instance.workers()
    os.kill(before[0], signal.SIGKILL)
    until("another worker", lambda: len(set(site.instance.workers()) - {before[0]}) == 2)
    assert get(site.instance.http, "/hello").status == 200
    (site.folder / "part.ini").write_text("[uwsgi]\nprocesses = 3\n")
    site.open_gate()
    site.instance.wait_log("generation 2 serves")
    until("three workers", lambda: len(site.instance.workers()) == 3)


@pytest.mark.event("stop")
def test_a_stop_does_not_wait_for_it_and_nothing_of_it_is_left(site: Site) -> None:
    site.close_gate()
    site.instance.send(signal.SIGHUP)
    pid = site.waits()
    began = time.monotonic()
    site.instance.stop()
    assert time.monotonic() - began < 10
    until("the command is gone", lambda: not is_alive(pid))


@pytest.mark.event("reload", "reload-broken")
def test_what_the_reading_finds_is_told_as_if_it_had_been_here(site: Site) -> None:
    (site.folder / "part.ini").write_text("[uwsgi]\nprocesses = many\n")
    ended = run_penstock("reload", site.folder / "pid")
    assert ended.returncode == 3 and "processes = many" in ended.stderr, ended.stderr
    assert get(site.instance.http, "/hello").status == 200
    (site.folder / "part.ini").write_text("[uwsgi]\nprocesses = 2\numask = 077\n")
    ended = run_penstock("reload", site.folder / "pid")
    assert ended.returncode == 0 and "a reload can not change umask" in ended.stderr, ended.stderr
    # One after the other, and each time from the start.
    assert run_penstock("reload", site.folder / "pid").returncode == 0
    site.instance.wait_log("generation 4 serves")


@pytest.mark.event("reload-broken")
def test_the_time_of_a_reload_is_over_while_the_configuration_is_read(site: Site) -> None:
    site.close_gate()
    began = time.monotonic()
    ended = run_penstock("reload", "--timeout", "1", site.folder / "pid")
    assert time.monotonic() - began < 20
    assert ended.returncode == 3 and "took longer than 1 seconds" in ended.stderr, ended.stderr
    pid = site.waits()
    until("the command is gone", lambda: not is_alive(pid))
    assert get(site.instance.http, "/hello").status == 200
    site.gate.unlink()
    assert run_penstock("reload", site.folder / "pid").returncode == 0


@pytest.mark.event("master-killed")
def test_who_reads_does_not_keep_the_workers_alive(site: Site) -> None:
    workers = site.instance.workers()
    site.close_gate()
    site.instance.send(signal.SIGHUP)
    pid = site.waits()
    os.kill(site.instance.pid, signal.SIGKILL)
    until("the end of the workers and of the command", lambda: not any(map(is_alive, (*workers, pid))), 5.0)
    site.instance.clean()
