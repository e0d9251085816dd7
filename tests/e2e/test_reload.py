"""Reloads: what new code has to pass before it serves, and what the one who asked for it is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import Penstock, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0")

VERSIONED = """
VERSION = {version!r}
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(VERSION)))])
    return [VERSION.encode()]
"""


@pytest.fixture
def deploy(short_dir: Path) -> Callable[..., Path]:
    """Writes an app that answers with its version, behind other lines; call it again to deploy another one."""

    def write(version: str, before: str = "") -> Path:
        path, new = short_dir / "app.py", short_dir / "app.new"
        new.write_text(before + VERSIONED.format(version=version))
        new.rename(path)
        return path

    return write


# -- workers stand ready before the switch -----------------------------------------------------------------------------


def test_no_request_meets_new_code_before_all_of_it_is_ready(deploy: Callable[..., Path], short_dir: Path) -> None:
    gate = short_dir / "gate"
    os.mkfifo(gate)
    app = deploy("old")
    with Penstock(*HTTP, "--wsgi-file", app, "--processes", "2", "--lazy-apps", "--disable-logging") as instance:
        waits = f"import uwsgi\nif uwsgi.worker_id() == 2:\n    open({str(gate)!r}).close()\n"
        deploy("new", before=waits)
        with Load(instance.http, "/") as load:
            before = len(instance.log)
            instance.send(signal.SIGHUP)
            until("worker 1 is ready", lambda: instance.log[before:].count("ready in") == 1)
            load.more(100)
            assert set(load.answers) == {b"old"}
            gate.write_text("")
            until("the new code", lambda: load.answers[b"new"] > 50)
        assert load.failures == []
