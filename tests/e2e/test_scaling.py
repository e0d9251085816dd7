"""The number of workers follows the load, comes down to none and back, and no request is lost by it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, read_stats, run_penstock, until
from tests.e2e.load import Load

APP = ("--wsgi-file", str(APPS / "cases.py"))
CASES = ("--http", "127.0.0.1:0", *APP, "--disable-logging")


class Waiting:
    """Requests that stand at a gate, or wait for a worker that lets them."""

    def __init__(self, address: str, gate: Gate, count: int) -> None:
        self.gate, self.answers = gate, [0] * count
        self.threads = [threading.Thread(target=self._ask, args=(address, number)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self, address: str, number: int) -> None:
        with Connection(address) as connection:
            connection.send(request_bytes("GET", self.gate.target))
            self.answers[number] = connection.read().status

    def end(self) -> None:
        """Let all of them through, and see that each has its answer."""
        self.gate.open(len(self.threads))
        for thread in self.threads:
            thread.join(20)
        assert self.answers == [200] * len(self.threads)


@pytest.mark.event("scale")
@pytest.mark.option("cheaper", "cheaper-overload", "cheaper-initial", "cheaper-step")
def test_workers_come_when_all_are_busy_and_leave_when_they_are_not_needed(gate: Gate) -> None:
    options = ("--processes", "4", "--cheaper", "1", "--cheaper-initial", "2", "--cheaper-step", "2")
    with Penstock(*CASES, *options, "--cheaper-overload", "1", "--stats", "127.0.0.1:0") as instance:
        assert len(instance.workers()) == 2
        waiting = Waiting(instance.http, gate, 2)
        instance.wait_log(r"4 workers instead of 2: every worker was busy for \d seconds, queue wait 0 ms")
        until("four workers", lambda: len(instance.workers()) == 4)
        with Load(instance.http) as load:
            waiting.end()
            load.more(50)
        assert load.failures == []
        instance.wait_log(r"worker 4 cheaped \(pid: \d+\)")
        until("one worker is left", lambda: len(instance.workers()) == 1)
        stats = read_stats(instance.wait_log(r"Stats server enabled on (\S+)")[1])
        assert [one["status"] for one in stats["workers"]][1:] == ["cheap"] * 3
        assert get(instance.http, "/hello").status == 200


@pytest.mark.option("cheaper-algo")
def test_workers_come_when_connections_wait_on_a_unix_socket(gate: Gate, short_dir: Path) -> None:
    path = short_dir / "s"
    options = ("--processes", "3", "--cheaper", "1", "--cheaper-algo", "backlog", "--cheaper-overload", "2")
    with Penstock("--http-socket", path, *APP, *options) as instance:
        waiting = Waiting(str(path), gate, 8)
        instance.wait_log(r"2 workers instead of 1: \d connections wait")
        instance.wait_log(r"3 workers instead of 2: \d connections wait")
        waiting.end()
        until("one worker is left", lambda: len(instance.workers()) == 1)


@pytest.mark.option(
    "cheaper-busyness-min",
    "cheaper-busyness-max",
    "cheaper-busyness-multiplier",
    "cheaper-busyness-penalty",
    "cheaper-busyness-verbose",
)
def test_workers_follow_busyness(gate: Gate) -> None:
    options = (
        *("--processes", "2", "--cheaper", "1", "--cheaper-algo", "busyness", "--cheaper-overload", "1"),
        *("--cheaper-busyness-min", "20", "--cheaper-busyness-max", "80", "--cheaper-busyness-multiplier", "4"),
        *("--cheaper-busyness-penalty", "3", "--cheaper-busyness-verbose"),
    )
    # A machine with other things to do may take seconds for what comes next; so many windows wait for it.
    with Penstock(*CASES, *options) as instance:
        for _ in range(2):
            since = len(instance.log)
            waiting = Waiting(instance.http, gate, 1)
            instance.wait_log(r"2 workers instead of 1: busyness is \d+ %, above 80 %", since=since)
            if "1 workers instead of 2" not in instance.log:
                waiting.end()
                instance.wait_log(r"1 workers instead of 2: busyness was below 20 % for 4 windows")
            else:
                waiting.end()
        instance.wait_log(
            r"\[busyness\] 2 workers, \d+ % busy in 1 seconds, \d+ connections wait, \d of 7 calm windows"
        )


@pytest.mark.option(
    "cheaper-busyness-backlog-alert",
    "cheaper-busyness-backlog-step",
    "cheaper-busyness-backlog-multiplier",
)
def test_workers_come_at_once_when_too_many_connections_wait(gate: Gate) -> None:
    options = (
        *("--processes", "4", "--cheaper", "1", "--cheaper-algo", "busyness", "--cheaper-overload", "1"),
        *("--cheaper-busyness-max", "1000", "--cheaper-busyness-backlog-alert", "3"),
        *("--cheaper-busyness-backlog-step", "3", "--cheaper-busyness-backlog-multiplier", "1"),
    )
    with Penstock(*CASES, *options) as instance:
        waiting = Waiting(instance.http, gate, 10)
        instance.wait_log(r"4 workers instead of 1: \d+ connections wait")
        waiting.end()
        instance.wait_log(r"3 workers instead of 4: busyness is \d+ %, and no connections wait any more")


@pytest.mark.option("cheaper-busyness-backlog-nonzero")
def test_a_worker_comes_when_connections_wait_for_too_long(gate: Gate) -> None:
    options = (
        *("--processes", "2", "--cheaper", "1", "--cheaper-algo", "busyness", "--cheaper-busyness-max", "1000"),
        *("--cheaper-busyness-backlog-nonzero", "1"),
    )
    with Penstock(*CASES, *options) as instance:
        waiting = Waiting(instance.http, gate, 4)
        instance.wait_log(r"2 workers instead of 1: \d connections wait, since \d seconds")
        waiting.end()


@pytest.mark.event("scale")
@pytest.mark.option("cheaper", "cheaper-algo", "cheaper-overload")
def test_workers_come_because_requests_waited_and_none_leaves_while_they_do(gate: Gate) -> None:
    options = (
        *("--processes", "3", "--cheaper", "1", "--cheaper-algo", "busyness", "--cheaper-overload", "1"),
        # Neither busyness nor the number of those that wait makes a worker come or stay.
        *("--cheaper-busyness-min", "999", "--cheaper-busyness-max", "1000", "--cheaper-busyness-multiplier", "1"),
        *("--cheaper-busyness-backlog-alert", "1000", "--cheaper-busyness-backlog-nonzero", "0"),
        *("--stats", "127.0.0.1:0"),
    )
    with Penstock(*CASES, *options) as instance:
        stats = instance.wait_log(r"Stats server enabled on (\S+)")[1]
        assert read_stats(stats)["queue_wait"] == 0
        waiting = Waiting(instance.http, gate, 6)
        waited = r"requests waited in all of a window, though busyness is \d+ %, queue wait \d{3,} ms"
        instance.wait_log(rf"2 workers instead of 1: {waited}")
        instance.wait_log(rf"3 workers instead of 2: {waited}")
        until("the wait is told", lambda: read_stats(stats)["queue_wait"] >= 1_000_000)
        assert "2 workers instead of 3" not in instance.log
        waiting.end()
        instance.wait_log(r"1 workers instead of 2: busyness was below 999 % for \d windows, queue wait \d{1,2} ms")
        until("nothing waits", lambda: read_stats(stats)["queue_wait"] < 100_000)


@pytest.mark.option("cheaper-rss-limit-soft")
def test_no_worker_comes_over_the_soft_limit_of_memory(gate: Gate) -> None:
    options = ("--processes", "2", "--cheaper", "1", "--cheaper-overload", "0", "--cheaper-rss-limit-soft", "1m")
    with Penstock(*CASES, *options) as instance:
        waiting = Waiting(instance.http, gate, 1)
        instance.wait_log(r"no worker is added: they have \d+ MB, over cheaper-rss-limit-soft")
        assert len(instance.workers()) == 1
        waiting.end()


@pytest.mark.option("cheaper-rss-limit-hard")
def test_workers_leave_over_the_hard_limit_of_memory() -> None:
    options = ("--processes", "3", "--cheaper", "1", "--cheaper-initial", "2", "--cheaper-rss-limit-hard", "1m")
    with Penstock(*CASES, *options) as instance:
        instance.wait_log(r"1 workers instead of 2: the workers have \d+ MB, over cheaper-rss-limit-hard")
        until("one worker is left", lambda: len(instance.workers()) == 1)


def test_cheaper_must_be_lower_than_processes() -> None:
    result = run_penstock(*CASES, "--processes", "2", "--cheaper", "2")
    assert result.returncode == 1
    assert "cheaper = 2 must be lower than processes" in result.stderr


@pytest.mark.event("sleep")
@pytest.mark.option("cheap", "idle")
def test_workers_leave_when_nobody_comes_and_are_back_for_the_next() -> None:
    with Penstock(*CASES, "--processes", "2", "--cheap", "--idle", "1") as instance:
        assert instance.workers() == [] and len(instance.generations()) == 1
        for _ in range(2):
            since = len(instance.log)
            with Connection(instance.http) as connection:
                connection.send(request_bytes("GET", "/hello"))
                assert connection.read().status == 200
                # It may be quiet for a second before anybody looks who is there.
                instance.wait_log(r"a connection waits: starting workers", since=since)
                instance.wait_log(r"inactive for more than 1 seconds", since=since)
                until("no workers", lambda: instance.workers() == [])
        instance.reload()
        assert instance.workers() == []
        assert get(instance.http, "/hello").status == 200


@pytest.mark.option("die-on-idle")
def test_the_instance_ends_when_nobody_comes() -> None:
    with Penstock(*CASES, "--idle", "1", "--die-on-idle") as instance:
        assert instance.wait_exit() == 0
        assert "die-on-idle" in instance.log
        instance.stop(signal.SIGTERM)
