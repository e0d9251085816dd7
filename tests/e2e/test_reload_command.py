"""`penstock reload`: what whoever asks for a reload is told, and that nobody else notices one that fails."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, clean_environment, run_penstock, until
from tests.e2e.load import Load

VERSIONED = """
VERSION = {version!r}
def application(environ, start_response):
    if environ["PATH_INFO"] == "/health" and {unhealthy}:
        raise LookupError("the table is missing")
    start_response("200 OK", [("Content-Length", str(len(VERSION)))])
    return [VERSION.encode()]
"""


class Site:
    """An app and its configuration, in a directory of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = folder / "app.py"
        self.config = folder / "app.ini"
        self.pidfile = folder / "app.pid"
        self.deploy("old")
        self.configure()

    def deploy(self, version: str, before: str = "", unhealthy: bool = False) -> None:
        """Put another version in place, behind other lines."""
        new = self.folder / "app.new"
        new.write_text(before + VERSIONED.format(version=version, unhealthy=unhealthy))
        new.rename(self.app)

    def configure(self, *lines: str) -> None:
        """Write the configuration, with some lines more."""
        text = ["[uwsgi]", "http = 127.0.0.1:0", f"wsgi-file = {self.app}", f"pidfile = {self.pidfile}"]
        self.config.write_text("\n".join([*text, "processes = 2", "disable-logging = true", *lines, ""]))

    def start(self) -> Penstock:
        """Start it."""
        return Penstock(self.config)


@pytest.fixture
def site(short_dir: Path) -> Site:
    """A site that answers `old`."""
    return Site(short_dir)


def asking(*words: str | Path) -> subprocess.Popen[str]:
    """Start the command, and do not wait for its end."""
    command = [sys.executable, "-m", "penstock", "reload", *map(str, words)]
    return subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a command: its status, its output and its errors."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.event("reload")
def test_it_returns_when_the_new_code_serves(site: Site) -> None:
    with site.start() as instance, Load(instance.http, "/") as load:
        for version, words in (
            ("1", [site.pidfile]),
            ("2", [site.config]),
            ("3", ["--ini", site.config]),
            ("4", ["--pid", str(instance.pid)]),
            ("5", ["--wait", "--timeout=60", site.pidfile]),
        ):
            load.more(10)
            site.deploy(version)
            result = run_penstock("reload", *words)
            assert (result.returncode, result.stderr) == (0, "")
            assert re.fullmatch(r"\[penstock\] generation \d serves after \d+\.\d seconds\n", result.stdout)
            assert get(instance.http).body == version.encode(), "whoever is told meets no old code any more"
        assert load.failures == []


BROKEN = [
    ("syntax", {"before": "def (:\n"}, (), r"SyntaxError: invalid syntax at .*app\.py:1; "),
    ("raises", {"before": "raise LookupError('no settings')\n"}, (), r"LookupError: no settings at .*app\.py:1 "),
    ("hangs", {"before": "import threading\nthreading.Event().wait(1000)\n"}, ("--timeout", "1"),
     r"still importing file .*app\.py after 1 seconds at .*app\.py:2 \(threading\.Event\(\)\.wait"),
    ("hangs in C", {"before": "import ctypes\nctypes.PyDLL(None).sleep(1000)\n"}, ("--timeout", "1"),
     r"it was still importing the app after 1 seconds; its stacks are in the log; "),
    ("is killed", {"before": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"}, (),
     r"the process of generation 2 \(pid: \d+\) died while it was importing file .*: killed by signal 9 \(SIGKILL\)"),
    ("leaves", {"before": "import sys\nsys.exit(4)\n"}, (),
     r"sys\.exit\(4\) was called during the import at .*app\.py:2"),
    ("unhealthy", {"unhealthy": True}, (),
     r"worker \d \(pid: \d+\): health-check /health was answered 500 .*: LookupError: the table is missing at "),
]  # fmt: skip


@pytest.mark.event("reload-broken", "reload-stuck", "reload-unfit")
@pytest.mark.option("health-check")
@pytest.mark.parametrize(("changes", "words", "cause"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_reload_that_fails_says_why_and_nobody_else_notices(
    site: Site, changes: dict[str, object], words: tuple[str, ...], cause: str
) -> None:
    site.configure("health-check = /health", "health-check-retries = 0")
    with site.start() as instance:
        before = instance.workers()
        with Load(instance.http, "/") as load:
            load.more(20)
            site.deploy("new", **changes)  # type: ignore[arg-type]
            result = run_penstock("reload", *words, site.pidfile)
            load.more(20)
        assert load.failures == [] and set(load.answers) == {b"old"}
        assert result.returncode == 3 and result.stdout == ""
        first = result.stderr.splitlines()[0]
        assert first.startswith("[penstock] ") and re.search(cause, first.partition("; generation")[0] + "; "), first
        assert "generation 1 keeps serving" in first
        assert set(before) <= set(instance.workers()), "not one of them was replaced"
        site.deploy("fine")
        assert run_penstock("reload", site.pidfile).returncode == 0
        assert get(instance.http).body == b"fine"


@pytest.mark.event("reload-broken")
def test_the_whole_traceback_comes_after_the_cause(site: Site) -> None:
    with site.start() as instance:
        site.deploy("new", before="def settings():\n    raise LookupError('no settings')\nsettings()\n")
        result = run_penstock("reload", site.pidfile)
        assert result.returncode == 3
        first, _, rest = result.stderr.partition("\n")
        assert first.startswith(f"[penstock] LookupError: no settings at {site.app}:2 ")
        assert "Traceback (most recent call last):\n" in rest and "\nLookupError: no settings\n" in rest
        assert f'File "{site.app}", line 3, in <module>\n    settings()\n' in rest
        assert f'File "{site.app}", line 2, in settings\n    raise LookupError(' in rest
        assert get(instance.http).body == b"old"


@pytest.mark.event("reload-broken")
@pytest.mark.parametrize(
    ("line", "first", "more"),
    [
        ("processes = many", "app.ini:7: processes = many: ", ""),
        ("threads = x\nstrict = true\nwork = 3", "app.ini:7: threads = x: ", "app.ini:9: "),
        ("chdir = /does/not/exist", "app.ini:7: chdir = /does/not/exist: it does not exist", ""),
        ("http = 127.0.0.1:1:2", "app.ini:7: ", ""),
    ],
)
def test_a_configuration_that_is_wrong_now_changes_nothing(site: Site, line: str, first: str, more: str) -> None:
    with site.start() as instance:
        with Load(instance.http, "/") as load:
            site.configure(line)
            site.deploy("new")
            result = run_penstock("reload", site.pidfile)
            load.more(20)
        assert load.failures == [] and set(load.answers) == {b"old"}
        assert result.returncode == 3
        said = result.stderr.splitlines()
        assert f"the configuration could not be read again: {site.folder}/{first}" in said[0], said
        assert more in result.stderr
        assert said[0].partition("; generation")[0].removeprefix("[penstock] ") in instance.log
        # By its configuration it is not even found, and the same is said.
        if "many" in line:
            result = run_penstock("reload", site.config)
            assert result.returncode == 1 and first in result.stderr.splitlines()[0]


def test_what_needs_a_restart_is_named(site: Site) -> None:
    site.configure("umask = 022", "http-socket = app.sock", f"chdir = {site.folder}")
    with site.start() as instance:
        site.configure(
            "umask = 077", "http-socket = app.sock", f"chdir = {site.folder}", "chmod-socket = 660", "work = 3"
        )
        result = run_penstock("reload", site.pidfile)
        assert result.returncode == 0
        for said in (
            r"\[penstock\] \*\*\* a reload can not change umask: stop and start the instance for that \*\*\*",
            r"\[penstock\] \*\*\* .*app\.sock keeps its mode, owner and socket options until the instance is",
            r"\[penstock\] warning: .*app\.ini:11: there is no option work, .*did you mean",
        ):
            assert re.search(said, result.stderr), result.stderr
            assert re.search(said.replace(r"\[penstock\] ", ""), instance.log)


def test_reloads_that_are_asked_for_meanwhile_are_one_more(site: Site) -> None:
    gate = site.folder / "gate"
    os.mkfifo(gate)
    with site.start() as instance:
        site.deploy("broken", before=f"{waiting_at(gate)}raise LookupError('too early')\n")
        first = asking(site.pidfile)
        instance.wait_log("^importing$")
        site.deploy("fine")
        others = [asking("--pid", str(instance.pid)) for _ in range(3)]

        def is_queued() -> bool:
            fleet = status(instance.pid)
            return len(fleet["queued_tickets"]) == 3

        until("all of them wait", is_queued)
        gate.write_text("")
        code, _, err = outcome(first)
        assert code == 3 and "LookupError: too early" in err
        for process in others:
            code, out, err = outcome(process)
            assert (code, err) == (0, "") and "generation 3 serves" in out
        assert get(instance.http).body == b"fine"
        assert status(instance.pid)["last_number"] == 3


def waiting_at(gate: Path) -> str:
    """Lines of an app that say that it is imported, and wait until something is written into a FIFO."""
    return f"print('importing', flush=True)\nopen({str(gate)!r}).close()\n"


def status(pid: int) -> dict[str, object]:
    """The fleet of an instance, as its control socket tells it."""
    from penstock.master.control_client import request

    fleet: dict[str, object] = request(pid, "status", timeout_s=10)["fleet"]
    return fleet


def test_ctrl_c_ends_the_waiting_and_not_the_reload(site: Site) -> None:
    gate = site.folder / "gate"
    os.mkfifo(gate)
    with site.start() as instance:
        site.deploy("new", before=waiting_at(gate))
        process = asking(site.pidfile)
        until("it waits", lambda: status(instance.pid)["tickets"])
        process.send_signal(signal.SIGINT)
        code, _, err = outcome(process)
        assert code == 130 and "the reload goes on" in err and "Traceback" not in err
        gate.write_text("")
        until("the new code", lambda: get(instance.http).body == b"new")


def test_no_wait_returns_at_once(site: Site) -> None:
    gate = site.folder / "gate"
    os.mkfifo(gate)
    with site.start() as instance:
        site.deploy("new", before=waiting_at(gate))
        assert told_nothing(run_penstock("reload", "--no-wait", site.pidfile))
        instance.wait_log("^importing$")
        site.deploy("newest")
        for _ in range(2):
            assert told_nothing(run_penstock("--reload", site.pidfile))
        assert get(instance.http).body == b"old"
        gate.write_text("")
        until("the newest code", lambda: get(instance.http).body == b"newest")
        assert "generation 4" not in instance.log


def told_nothing(result: subprocess.CompletedProcess[str]) -> bool:
    """Whether a command ended well and said nothing."""
    return (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_progress_is_shown_on_a_terminal(site: Site) -> None:
    with site.start():
        master, terminal = pty.openpty()
        command = [sys.executable, "-m", "penstock", "reload", str(site.pidfile)]
        with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=terminal) as process:
            os.close(terminal)
            shown = b""
            try:
                while piece := os.read(master, 65536):
                    shown += piece
            except OSError:
                pass  # The other end is closed.
            assert process.wait(60) == 0
        os.close(master)
        assert b"[penstock] *** reloading (reload command): starting generation 2" in shown
        assert b"generation 2 serves" in shown


def test_whoever_is_no_master_is_told_apart(site: Site, short_dir: Path) -> None:
    with site.start() as instance:
        for pid in (*instance.workers(), *instance.generations()):
            result = run_penstock("reload", "--pid", str(pid))
            assert result.returncode == 255
            assert f"is a child of a Penstock master: name that one, by --pid {instance.pid}" in result.stderr
        result = run_penstock("reload")
        assert result.returncode == 1 and f"running here: {instance.pid} (" in result.stderr.replace(
            ", ", " running here: "
        )
        assert len(status(instance.pid)["generations"]) == 1  # type: ignore[arg-type]
