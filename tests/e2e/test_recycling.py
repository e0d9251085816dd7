"""Workers that are replaced because of their age, their requests or their size, and no request that is lost by it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Cut, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, rss_bytes, until
from tests.e2e.load import Load

CASES = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"), "--min-worker-lifetime", "0")

GROWS = """
import mmap
held = []
def application(environ, start_response):
    if environ["PATH_INFO"] == "/grow":
        held.append(bytearray(b"x") * (40 << 20))
    if environ["PATH_INFO"] == "/reserve":
        held.append(mmap.mmap(-1, 2 << 30))
    start_response("200 OK", [])
    return [b"%d" % len(held)]
"""


WAITS = """
import os
from urllib.parse import parse_qs
inner = application
def application(environ, start_response):
    if environ["PATH_INFO"] != "/wait":
        return inner(environ, start_response)
    query = parse_qs(environ["QUERY_STRING"])
    with open(query["started"][0], "w") as started:
        started.write(f"{os.getpid()}\\n")
    with open(query["go"][0], "rb", buffering=0) as go:
        go.read(1)
    start_response("200 OK", [])
    return [b"waited"]
"""


@pytest.fixture
def grows(short_dir: Path) -> tuple[str, ...]:
    """Serves an app that takes 40 MB at each request for /grow, and 2 GB of addresses for /reserve."""
    (short_dir / "grows.py").write_text(GROWS)
    return ("--http", "127.0.0.1:0", "--wsgi-file", str(short_dir / "grows.py"), "--min-worker-lifetime", "0")


@pytest.mark.event("recycle")
@pytest.mark.option("max-worker-lifetime", "max-worker-lifetime-delta")
def test_workers_are_replaced_by_age_without_losing_a_request() -> None:
    options = ("--processes", "2", "--max-worker-lifetime", "1", "--max-worker-lifetime-delta", "600")
    with Penstock(*CASES, *options) as instance:
        first = instance.workers()
        with Load(instance.http) as load:
            instance.wait_log(r"worker 1 lifetime reached, it was running for \d second")
            until("one of them is replaced", lambda: len(set(first) & set(instance.workers())) == 1)
            load.more(100)
        assert load.failures == []
        assert "worker 2 lifetime" not in instance.log


@pytest.mark.option("max-requests-delta")
def test_each_worker_serves_more_requests_than_the_one_before() -> None:
    with Penstock(*CASES, "--processes", "2", "--max-requests", "1", "--max-requests-delta", "100000") as instance:
        second = max(instance.workers())
        with Load(instance.http) as load:
            instance.wait_log(r"worker 1 .* is replaced \(max-requests 1\)")
            load.more(100)
        assert load.failures == []
        assert second in instance.workers() and "worker 2 (pid" not in instance.log.partition("serves")[2]


@pytest.mark.option("mem-collector-freq", "min-worker-lifetime")
def test_a_worker_that_has_grown_stays_until_it_is_looked_at_and_old_enough(grows: tuple[str, ...]) -> None:
    limit = ("--reload-on-rss", "30", "--mem-collector-freq")
    with (
        Penstock(*grows, *limit, "1") as watched,
        Penstock(*grows, *limit, "600") as seldom,
        Penstock(*grows, *limit, "1", "--min-worker-lifetime", "600") as young,
    ):
        kept = {one: one.workers() for one in (seldom, young)}
        for one in kept:
            assert get(one.http, "/grow").body == b"1"
        # A second at least lies between two looks: more time passes than without the option.
        for times in range(1, 5):
            get(watched.http, "/grow")
            until("another replacement", lambda: watched.log.count("is replaced (reload-on-rss") >= times)  # noqa: B023
            until("another one serves", lambda: get(watched.http).body == b"0")
        for one, workers in kept.items():
            assert one.workers() == workers and "is replaced" not in one.log


@pytest.mark.event("recycle")
@pytest.mark.option("reload-on-rss")
def test_a_worker_that_has_grown_is_replaced(grows: tuple[str, ...]) -> None:
    with Penstock(*grows, "--reload-on-rss", "64", "--mem-collector-freq", "1") as instance:
        (first,) = instance.workers()
        assert get(instance.http, "/grow").body == b"1"
        assert rss_bytes(first) > 40 << 20
        assert get(instance.http, "/grow").body == b"2"
        instance.wait_log(r"is replaced \(reload-on-rss = 64 MB, and it has \d+ MB")
        until("another one serves", lambda: get(instance.http).body == b"0")
        until("it is gone", lambda: first not in instance.workers())


@pytest.mark.option("reload-on-as")
def test_a_worker_whose_address_space_has_grown_is_replaced(grows: tuple[str, ...]) -> None:
    with Penstock(*grows, "--reload-on-as", "1", "--mem-collector-freq", "1") as instance:
        first = instance.workers()
        instance.wait_log(r"is replaced \(reload-on-as = 1 MB, and it has \d+ MB")
        until("another one serves", lambda: not set(first) & set(instance.workers()))
        assert get(instance.http).status == 200


@pytest.mark.event("recycle-evil")
@pytest.mark.option("evil-reload-on-rss", "evil-reload-on-as")
@pytest.mark.parametrize(
    ("limit", "target", "name"),
    [("--evil-reload-on-rss=64", "/grow", "RSS"), ("--evil-reload-on-as=4000", "/reserve", "ADDRESS SPACE")],
)
def test_an_evil_limit_kills(grows: tuple[str, ...], limit: str, target: str, name: str) -> None:
    with Penstock(*grows, limit, "--mem-collector-freq", "1") as instance:
        (first,) = instance.workers()
        assert get(instance.http, target).body == b"1"
        assert get(instance.http, target).body == b"2"
        instance.wait_log(rf"EVIL RELOAD ON WORKER 1 {name}: \d+ \(pid: {first}\)")
        until("another one serves", lambda: instance.workers() and first not in instance.workers())
        assert get(instance.http).status == 200


@pytest.mark.event("recycle-evil")
def test_an_evil_limit_cuts_what_is_in_flight_and_nobody_who_comes_then(grows: tuple[str, ...], gate: Gate) -> None:
    app = Path(grows[3])
    app.write_text(app.read_text() + WAITS)
    options = ("--evil-reload-on-rss", "64", "--mem-collector-freq", "1", "--threads", "2")
    with Penstock(*grows, *options) as instance, Connection(instance.http) as connection:
        (old,) = instance.workers()
        connection.send(request_bytes("GET", gate.target))
        assert gate.entered() == old
        for _ in range(2):
            get(instance.http, "/grow")
        instance.wait_log(rf"EVIL RELOAD ON WORKER 1 RSS: \d+ \(pid: {old}\)")
        with pytest.raises((Cut, ConnectionError)):
            connection.read()
        assert get(instance.http).body == b"0"


@pytest.mark.option("exit-on-reload")
def test_a_reload_that_ends_the_instance() -> None:
    with Penstock(*CASES, "--exit-on-reload") as instance:
        instance.send(signal.SIGHUP)
        assert instance.wait_exit() == 0
        assert "exit-on-reload" in instance.log


@pytest.mark.event("recycle")
def test_a_request_in_flight_ends_in_the_worker_that_is_replaced(grows: tuple[str, ...], gate: Gate) -> None:
    """The replacement serves first; the old worker stays for as long as its request takes, and no longer."""
    app = Path(grows[3])
    app.write_text(app.read_text() + WAITS)
    options = ("--reload-on-rss", "64", "--mem-collector-freq", "1", "--threads", "2")
    with Penstock(*grows, *options) as instance, Connection(instance.http) as connection:
        (old,) = instance.workers()
        connection.send(request_bytes("GET", gate.target))
        assert gate.entered() == old
        for _ in range(2):
            get(instance.http, "/grow")
        instance.wait_log(r"worker 1 \(pid: \d+\) is replaced \(reload-on-rss = 64 MB, and it has \d+ MB")
        until("another one serves", lambda: get(instance.http).body == b"0")
        assert old in instance.workers() and len(instance.workers()) == 2
        gate.open()
        assert connection.read().body == b"waited"
        until("it is gone", lambda: old not in instance.workers())
