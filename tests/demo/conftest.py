"""The demo, prepared once in a directory of its own; skipped where Django is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")


@pytest.fixture(scope="session")
def demo_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepare the demo; Django's settings are read once in a process, so this holds for the whole session."""
    from penstock.demo.__main__ import prepare

    directory = tmp_path_factory.mktemp("demo")
    before = os.environ.copy()
    os.environ["PENSTOCK_DEMO_DIR"] = str(directory)
    prepare(directory)
    yield directory
    from django.db import connections

    connections.close_all()
    for name in ("PENSTOCK_DEMO_DIR", "DJANGO_SETTINGS_MODULE"):
        os.environ.pop(name, None)
        if name in before:
            os.environ[name] = before[name]


@pytest.fixture
def client(demo_dir: Path) -> Any:
    """Call the project through its own WSGI handler, CSRF checks included."""
    from django.test import Client

    return Client(enforce_csrf_checks=True, raise_request_exception=False, SERVER_NAME="localhost")
