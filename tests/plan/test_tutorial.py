"""What the tutorial's reader types, as plans: three command lines and three files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.config.settings import Settings
from penstock.plan.resolve import resolve
from penstock.plan.types import Plan
from tests.config.support import read
from tests.plan.test_resolve import machine

CASES = Path(__file__).parent.parent / "cases" / "config"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A project directory with a virtual environment beside it."""
    (tmp_path / "cmdb" / "uwsgi").mkdir(parents=True)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    os.symlink("/bin/sh", tmp_path / "venv" / "bin" / "python")
    return tmp_path / "cmdb"


def made(site: Path, *argv: str) -> tuple[Settings, Plan]:
    settings = read(*argv, cwd=site)
    return settings, resolve(settings, machine(site))


def from_file(site: Path, name: str) -> tuple[Settings, Plan]:
    text = (CASES / f"{name}.ini").read_text().replace("/site/cmdb", str(site))
    (site / "uwsgi.ini").write_text(text)
    return made(site, "--ini", "uwsgi.ini")


def test_hello_world(site: Path) -> None:
    settings, plan = made(site, "--http", "0.0.0.0:8001", "--wsgi-file", "hello.py")
    assert settings.findings == ()
    assert [(one.protocol, one.host, one.port) for one in plan.listeners] == [("http", "0.0.0.0", 8001)]
    assert (plan.app.kind, plan.app.target, plan.app.callable) == ("file", "hello.py", "application")


@pytest.mark.parametrize("app", [("--module", "cmdb.wsgi"), ("--wsgi-file", "cmdb/wsgi.py")])
def test_django(site: Path, app: tuple[str, str]) -> None:
    settings, plan = made(
        site.parent,
        *("--http", "0.0.0.0:8001", "--chdir", "cmdb", "--home", "../venv", *app),
        *("--master", "--processes", "4", "--threads", "2"),
    )
    assert settings.findings == ()
    assert (plan.processes, plan.engine.threads) == (4, 2)
    assert plan.app.chdir == str(site)
    assert plan.app.interpreter == f"{site.parent}/venv/bin/python"
    assert plan.app.target == app[1]


def test_ini_with_http(site: Path) -> None:
    settings, plan = from_file(site, "tutorial_http")
    assert [finding.code for finding in settings.findings] == ["unknown-option", "text-after-value"]
    assert plan.processes == 1
    assert plan.listeners[0].backlog == 2048
    assert plan.engine.write_timeout_s == 60
    assert plan.stats is not None and plan.stats.host == f"{site}/uwsgi/uwsgi.status"
    assert plan.pidfile == f"{site}/uwsgi/uwsgi.pid"
    assert plan.notes == ()


def test_ini_with_socket(site: Path) -> None:
    settings, plan = from_file(site, "tutorial_socket")
    assert settings.findings == ()
    assert [(one.protocol, one.port) for one in plan.listeners] == [("uwsgi", 18001)]
    assert plan.processes == 20
    assert plan.daemonize == f"{site}/uwsgi/uwsgi.log"
    assert plan.touch_reload == (f"{site}/uwsgi/reload",)


def test_ini_as_recommended(site: Path) -> None:
    settings, plan = from_file(site, "tutorial_recommended")
    assert settings.findings == ()
    assert plan.app.chdir == str(site)
    assert (plan.app.target, plan.app.callable) == ("cmdb.wsgi", "application")
    assert (plan.processes, plan.engine.threads, plan.engine.max_requests) == (3, 2, 500)
    assert plan.vacuum
    assert plan.engine.head_limit_bytes == 65536
