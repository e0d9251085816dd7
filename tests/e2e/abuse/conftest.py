"""Instances that the tests of one file attack; each is one worker, which has to be the same at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.abuse import cases, judge
from tests.e2e.harness import Penstock

APP = Path(__file__).parent / "app.py"


@pytest.fixture(scope="module")
def server() -> Iterator[Penstock]:
    """One worker with one thread on HTTP and uwsgi that serves app.py, with the limits of the corpus."""
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    with Penstock(*listen, "--wsgi-file", APP, "--master", *cases.LIMITS) as instance:
        yield instance


@pytest.fixture
def unharmed(server: Penstock) -> Iterator[Penstock]:
    """The shared instance; at the end its worker has to be the same process, and to answer."""
    before = judge.ask(server.http).pid
    yield server
    assert judge.ask(server.http).pid == before, f"the worker was replaced:\n{server.tail}"
