"""Instances that the tests of one file share: starting one takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import APPS, Gate, Penstock


@pytest.fixture(scope="module")
def server() -> Iterator[Penstock]:
    """One worker with two threads, on HTTP and uwsgi, that serves apps/cases.py."""
    with Penstock(
        "--http",
        "127.0.0.1:0",
        "--socket",
        "127.0.0.1:0",
        "--wsgi-file",
        APPS / "cases.py",
        "--master",
        "--threads",
        "2",
    ) as instance:
        yield instance


@pytest.fixture
def gate(short_dir: Path) -> Iterator[Gate]:
    """A gate that requests wait at."""
    with Gate(short_dir) as made:
        yield made
