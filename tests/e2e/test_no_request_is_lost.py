"""What happens to an instance under constant load loses no request: every kind of client, socket and event.

Each event is repeated a few times here, and fifty times by `make stress`. A failed request is any that is not answered
as it should be, a reset included. Only where the instance itself stops may a client lose the race of using a connection
again in the moment in which it is closed, which HTTP has no means against; those are counted apart.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Nginx, Penstock, free_port, is_alive, until
from tests.e2e.held import kill
from tests.e2e.load import Load
from tests.e2e.traces import Marks, trace

APP = ("--wsgi-file", str(APPS / "cases.py"), "--disable-logging", "--threads", "2")

CLIENTS = {
    "tcp": ("kept", "new", "idle", "idle", "slow", "upload"),
    "unix": ("kept", "new", "idle", "idle", "slow", "upload"),
    "uwsgi": ("uwsgi", "uwsgi"),
    "nginx": ("kept", "new", "idle", "slow", "upload"),
}
"""Where the clients connect -> which they are."""

SHORT, LONG = 3, 50
TIMES = (SHORT, pytest.param(LONG, marks=pytest.mark.stress))


@dataclass
class Site:
    """An instance under load."""

    instance: Penstock
    load: Load
    fifo: Path
    nginx: Nginx | None
    marks: Path

    def letter(self, letter: str) -> int:
        """Write a command into the FIFO; where the log ended before it."""
        since = len(self.instance.log)
        with self.fifo.open("w") as fifo:
            fifo.write(letter)
        return since


Start = Callable[..., Site]


@pytest.fixture(params=CLIENTS)
def start(request: pytest.FixtureRequest, short_dir: Path) -> Iterator[Start]:
    """Starts an instance with more options, and clients of it. What they saw is in the report (`--junitxml`)."""
    where = request.param
    listeners = {
        "tcp": ("--http", "127.0.0.1:0"),
        "unix": ("--http-socket", str(short_dir / "s")),
        "uwsgi": ("--socket", "127.0.0.1:0"),
        "nginx": ("--socket", str(short_dir / "s")),
    }[where]
    loads: list[Load] = []
    with ExitStack() as stack:

        def started(*options: str, ends_when_refused: bool = False) -> Site:
            fifo = short_dir / "fifo"
            marks = {"MARKS": str(short_dir / "marks")}
            instance = stack.enter_context(Penstock(*listeners, *APP, "--master-fifo", fifo, *options, env=marks))
            address = instance.uwsgi if where in ("uwsgi", "nginx") else instance.http
            nginx = None
            if where == "nginx":
                location = f"location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass unix:{address}; }}"
                nginx = stack.enter_context(Nginx(location))
                address = nginx.address
            load = Load(address, kinds=CLIENTS[where], ends_when_refused=ends_when_refused)
            loads.append(load)
            stack.enter_context(load)
            load.more(20)
            return Site(instance, load, fifo, nginx, short_dir / "marks")

        yield started
    request.node.user_properties += [
        ("answered", sum(load.count for load in loads)),
        ("failed", sum(len(load.failures) for load in loads)),
        ("races", sum(load.races for load in loads)),
    ]


@pytest.mark.event("reload")
@pytest.mark.parametrize("times", TIMES)
def test_reloads(start: Start, times: int) -> None:
    site = start("--processes", "2")
    for _ in range(times):
        site.instance.reload()
        site.load.more(20)
    assert site.load.failures == []


@pytest.mark.event("upgrade")
@pytest.mark.parametrize("times", TIMES)
def test_upgrades(start: Start, times: int) -> None:
    site = start("--processes", "2")
    for number in range(times):
        since = site.letter("f")
        site.instance.wait_log("has taken over", 30, since)
        site.instance.wait_log(f"generation {number + 2} serves", 30, since)
        site.load.more(20)
    assert site.load.failures == []


@pytest.mark.event("reload-workers")
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("letter", ["w", "c"])
def test_replaced_workers(start: Start, times: int, letter: str) -> None:
    site = start("--processes", "2")
    for _ in range(times):
        before = set(site.instance.workers())
        site.letter(letter)
        until("other workers", lambda: not before & set(site.instance.workers()), 30)  # noqa: B023
        site.load.more(20)
    assert site.load.failures == []


@pytest.mark.event("recycle")
@pytest.mark.parametrize("times", TIMES)
def test_recycled_workers(start: Start, times: int) -> None:
    site = start("--processes", "3", "--max-requests", "60", "--min-worker-lifetime", "0")
    until("workers are replaced", lambda: site.instance.log.count("is replaced (max-requests") >= times, 10 + 4 * times)
    site.load.more(20)
    assert site.load.failures == []


@pytest.mark.event("scale")
@pytest.mark.parametrize("times", TIMES)
def test_more_and_fewer_workers(start: Start, times: int) -> None:
    site = start("--processes", "4", "--cheaper", "1", "--cheaper-algo", "manual")
    for _ in range(times):
        for letter, line in (("+", "2 workers instead of 1"), ("+", "3 workers instead of 2"),
                             ("-", "2 workers instead of 3"), ("-", "1 workers instead of 2")):  # fmt: skip
            since = site.letter(letter)
            site.instance.wait_log(line, since=since)
            site.load.more(5)
    assert site.load.failures == []


@pytest.mark.event("generation-killed")
# Each one that dies soon after the one before it is replaced later: fifty of them would be waited for mostly.
@pytest.mark.parametrize("times", [SHORT, pytest.param(8, marks=pytest.mark.stress)])
def test_killed_generations(start: Start, times: int) -> None:
    site = start("--processes", "2")
    for _ in range(times):
        (generation,) = until("one generation", lambda: one_generation(site.instance), 60)
        os.kill(generation, signal.SIGKILL)
        until("it is dead", lambda: not is_alive(generation))  # noqa: B023
        until("another one", lambda: one_generation(site.instance), 60)
        site.load.more(20)
    assert site.load.failures == []


def one_generation(instance: Penstock) -> list[int]:
    """The generation process, if there is one and all workers are its own; else nothing."""
    generations = instance.generations()
    return generations if len(generations) == 1 and len(instance.workers()) == 2 else []


@pytest.mark.event("worker-killed")
@pytest.mark.parametrize("times", TIMES)
def test_killed_workers(start: Start, times: int, request: pytest.FixtureRequest) -> None:
    """Each request that fails was in the hands of the killed worker: so say the kernel, and the app's marks."""
    site = start("--processes", "3", "--wsgi-file", str(APPS / "marked.py"))
    kills = []
    for _ in range(times):
        workers = until("three workers", lambda: len(site.instance.workers()) == 3 and site.instance.workers(), 30)
        # One of those that have served: what dies as soon as it has started is tried again later and later.
        kills.append(kill(workers[len(kills) % 2]))
        site.load.more(20)
    site.load.stop()
    found = trace(site.load.failed, kills, Marks(site.marks), has_proxy=site.nginx is not None)
    request.node.user_properties += [(f"failed in {where}", count) for where, count in found.items()]
    # Each of the two threads of a worker has one request, and its loop reads one more for each.
    assert found.total() - found["race"] <= 4 * times, found
    if site.nginx is not None:
        # It was never refused, only cut off.
        errors = [line for line in site.nginx.error_log.splitlines() if "[error]" in line]
        assert len(errors) == found.total() and not [line for line in errors if "connect()" in line], errors


@pytest.mark.event("stop")
@pytest.mark.parametrize("times", TIMES)
def test_stops(start: Start, times: int) -> None:
    for _ in range(times):
        site = start("--processes", "2", ends_when_refused=True)
        site.instance.send(signal.SIGTERM)
        site.load.join()
        assert site.instance.wait_exit() == 0
        assert site.load.lost == []
        if site.nginx is not None:
            errors = [line for line in site.nginx.error_log.splitlines() if "[error]" in line]
            assert not [line for line in errors if "connect() to unix" not in line]


@pytest.mark.event("master-killed")
@pytest.mark.parametrize("times", TIMES)
def test_killed_masters(short_dir: Path, times: int) -> None:
    """A supervisor starts another one on the same addresses at once, while the old workers finish what they have."""
    addresses = (f"127.0.0.1:{free_port()}", str(short_dir / "s"))
    options = ("--http", addresses[0], "--http-socket", addresses[1], "--pidfile", short_dir / "pid", "--threads", "2")
    with ExitStack() as stack:
        instance = Penstock(*APP, *options, "--processes", "2")
        for _ in range(times):
            stack.callback(instance.clean)
            old = instance.workers()
            loads = [stack.enter_context(Load(one, kinds=("kept", "new"), ends_when_refused=True)) for one in addresses]
            for load in loads:
                load.more(10)
            os.kill(instance.pid, signal.SIGKILL)
            instance.wait_exit()
            instance = Penstock(*APP, *options, "--processes", "2")
            until("the old workers are gone", lambda: not any(map(is_alive, old)), 2.0)  # noqa: B023
            for address in addresses:
                assert get(address, "/hello").status == 200
            for load in loads:
                load.stop()
        instance.stop()
