"""The real commands on real files: exit statuses, the value for programs, and that nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.support import NAMES, case
from tests.e2e.harness import ROOT


def check(cwd: Path, *argv: str, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("UWSGI_", "PENSTOCK_"))}
    env = {name: value for name, value in env.items() if name not in ("INVOCATION_ID", "NOTIFY_SOCKET")}
    return subprocess.run(
        [sys.executable, "-m", "penstock", *argv],
        cwd=cwd,
        env={**env, "PYTHONPATH": str(ROOT), **environ},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


SHOP = "[uwsgi]\nhttp = 127.0.0.1:0\nmodule = shop\nthreads = 2\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("raise SystemExit('it is never imported')\napplication = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("more", "status", "codes"),
    [
        ("", 0, set()),
        ("vacum = true\n", 1, {"unknown-option"}),
        ('callable = "application"\n', 2, {"quotes-in-value", "no-callable"}),
        ("harakiri = 300\nhttp-timeout = 60\n", 1, {"harakiri-above-http-timeout", "harakiri-above-mercy"}),
        ("daemonize = app.log\n", 1, {"daemonize-under-systemd"}),
        ("processes = 2\nprocesses = 4\n", 1, {"repeated-option"}),
        ("pidfile = /no/where/app.pid\n", 2, {"no-directory"}),
        ("home = /no/venv\n", 2, {"no-interpreter"}),
        ("uid = nobody-of-this-name\ngid = none-either\n", 2, {"no-user", "no-group"}),
        ("processes = many\n", 2, {"not-a-number"}),
        ("chdir = /no/where\n", 2, {"no-directory"}),
        ("wsgi-file = none.py\n", 1, {"two-apps"}),
        ("log-date = %Y-%m\n", 0, set()),
        ("log-date = %Y-%d\n", 1, {"magic-in-date"}),
    ],
)
def test_exit_statuses(shop: Path, more: str, status: int, codes: set[str]) -> None:
    (shop / "app.ini").write_text(SHOP + more)
    done = check(shop, "check", "--json", "app.ini", INVOCATION_ID="1")
    assert done.stderr == ""
    found = {finding["id"] for finding in json.loads(done.stdout)["findings"] if finding["severity"] != "note"}
    assert (found, done.returncode) == (codes, status)
    for_people = check(shop, "check", "app.ini", INVOCATION_ID="1")
    assert (for_people.returncode, for_people.stderr) == (status, "")
    assert all(f"[{code}]" in for_people.stdout for code in codes)
    assert not (shop / "app.log").exists()


BROKEN = [name for name in NAMES if name.startswith(("xml_", "yaml_", "json_", "include", "exits", "zero", "scheme"))]


@pytest.mark.parametrize("name", BROKEN)
def test_files_of_the_corpus_end_without_a_traceback(name: str, tmp_path: Path) -> None:
    this = case(name, tmp_path)
    done = check(tmp_path, "check", "--json", *this.argv, **this.environ)
    value = json.loads(done.stdout)
    worst = {finding["severity"] for finding in value["findings"]}
    assert done.returncode == (2 if "error" in worst else 1 if "warning" in worst else 0)
    assert "Traceback" not in done.stderr
    if this.expected.get("errors"):
        assert done.returncode == 2


def test_standard_input_and_the_environment(shop: Path) -> None:
    done = check(shop, "check", "-", "--json", text=SHOP + "vacum = 1\n", UWSGI_PROCESES="2")
    found = {finding["id"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert (found["unknown-option"]["file"], found["unknown-option"]["line"]) == ("-", 5)
    assert found["environment-near-miss"]["option"] == "proceses"


def test_commands_in_a_file_are_not_run(shop: Path) -> None:
    (shop / "app.ini").write_text(f"{SHOP}env = A=@(exec://touch {shop}/ran)\n")
    done = check(shop, "check", "app.ini")
    assert done.returncode == 2 and "command-not-run" in done.stdout
    assert not (shop / "ran").exists()


def test_what_a_start_refuses_is_an_error_and_what_it_takes_is_none(shop: Path) -> None:
    """The two never disagree: here about a socket whose directory is missing."""
    (shop / "app.ini").write_text("[uwsgi]\nsocket = none/app.sock\nmodule = shop\n")
    assert check(shop, "check", "app.ini").returncode == 2
    assert check(shop, "app.ini").returncode == 1


def test_explain_and_show(shop: Path) -> None:
    (shop / "app.ini").write_text(SHOP)
    explained = check(shop, "explain", "threads", "app.ini")
    assert explained.returncode == 0 and "app.ini:4: threads = 2" in explained.stdout
    shown = check(shop, "show", "--json", "app.ini")
    assert shown.returncode == 0 and json.loads(shown.stdout)["plan"]["engine"]["threads"] == 2
    assert check(shop, "explain", "no-such-thing").returncode == 1


def test_from_a_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for command, status in (("check", 2), ("show", 2), ("", 1)):
        gone.mkdir(exist_ok=True)
        script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m penstock {command} --http :0 --module x"
        words = ["/bin/sh", "-c", script]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == status and "Traceback" not in done.stderr
        assert "the directory that this was started in is gone" in done.stderr


@pytest.mark.parametrize("command", ["check", "check --json", "show", "show --json", "explain route", "explain env"])
def test_no_command_prints_a_password(shop: Path, command: str) -> None:
    (shop / "app.ini").write_text(
        SHOP + "route = ^/admin basicauth:Admins,joe:hidden-1\nenv = SECRET_KEY=hidden-2\nmy-token = hidden-4\n"
        "env = DATABASE_URL=postgres://joe:hidden-3@db/shop\nenv = LANG=%(my-token)\n"
    )
    done = check(shop, *command.split(), "app.ini")
    assert "hidden-1" not in done.stdout and "hidden-2" not in done.stdout and "hidden-3" not in done.stdout
    assert "joe:***" in done.stdout or command.startswith("check")
    assert not done.stderr
