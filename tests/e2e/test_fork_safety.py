"""What an app leaves behind at its import for the workers that are forked from it is said once, at the start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.both import ask_both
from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, until

WARNING = "the import has left behind what the workers can not share"
EVERYTHING = (
    *("--http-socket", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--stats", "127.0.0.1:0", "--log-master"),
    *("--req-logger", "file:requests.log", "--master-fifo", "fifo", "--touch-reload", "touched", "--pidfile", "pid"),
    *("--py-auto-reload", "1", "--py-tracebacker", "tb", "--processes", "2", "--threads", "2", "--locks", "3"),
)


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """A port that somebody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def start(elsewhere: int, *arguments: str) -> Penstock:
    environment = {"ELSEWHERE": str(elsewhere)}
    return Penstock("--http-socket", "127.0.0.1:0", "--wsgi-file", APPS / "careless.py", *arguments, env=environment)


def test_what_is_lost_or_shared_is_named_once_and_hooks_run_in_each_worker(elsewhere: int, short_dir: Path) -> None:
    with start(elsewhere, "--processes", "2") as instance:
        first, second = (answer.text.split() for answer in ask_both(instance.http, "/", short_dir))
        assert first[0] != second[0] and first[2] != second[2]
        assert (first[0], second[0]) == (first[1], second[1])
        assert instance.log.count(WARNING) == 1
        assert f"  - the thread poller (poll, {APPS / 'careless.py'}:17), which no worker has\n" in instance.log
        assert f"  - the connection to 127.0.0.1:{elsewhere} (descriptor " in instance.log


@pytest.mark.option("lazy-apps")
def test_with_lazy_apps_there_is_nothing_to_say(elsewhere: int) -> None:
    with start(elsewhere, "--processes", "2", "--lazy-apps") as instance:
        until("the app answers", lambda: get(instance.http).status == 200)
        assert WARNING not in instance.log


def test_nothing_of_penstock_s_own_is_named() -> None:
    with Penstock(*EVERYTHING, "--wsgi-file", APPS / "inside.py") as instance:
        assert get(instance.http).status == 200
        instance.reload()
        assert WARNING not in instance.log
