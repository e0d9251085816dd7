"""What a supervisor sees of an instance. No systemd runs here: the harness's datagram socket plays its side."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, run_penstock, until

OPTIONS = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"), "--disable-logging")

WAITING_APP = """
import os
with open({path!r}) as gate:
    gate.read(1)
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def notices(instance: Penstock) -> list[str]:
    instance._read_notices()
    return instance.notices


def test_reload_is_told_as_notify_reload_wants_it() -> None:
    with Penstock(*OPTIONS) as instance:
        assert f"MAINPID={instance.pid}" in instance.notices
        before, asked_at = len(notices(instance)), time.monotonic_ns() // 1000
        instance.reload()
        said = notices(instance)[before:]
        assert said[0] == "RELOADING=1"
        assert int(said[1].removeprefix("MONOTONIC_USEC=")) >= asked_at
        assert said[2] == "STATUS=reloading: generation 2 is starting"
        assert said[3:] == ["READY=1", f"MAINPID={instance.pid}", "STATUS=generation 2 serves"]
        instance.send(signal.SIGTERM)
        until("STOPPING=1", lambda: "STOPPING=1" in notices(instance))


def test_reload_that_fails_is_over_too(short_dir: Path) -> None:
    app = short_dir / "app.py"
    app.write_text("def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'old']\n")
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", app) as instance:
        app.write_text("syntax error here\n")
        before = len(notices(instance))
        instance.reload()
        said = notices(instance)[before:]
        assert said[0] == "RELOADING=1" and "READY=1" in said
        assert said[-1].startswith("STATUS=a reload failed, generation 1 keeps serving: SyntaxError")
        assert get(instance.http, "/").body == b"old"


def test_nothing_of_the_supervisor_is_left_to_children(short_dir: Path) -> None:
    own = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1", "FDSTORE": "4"}
    own |= {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    shown = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps(list(os.environ)))"
    (short_dir / "app.py").write_text(
        "import json, os\n"
        "def application(environ, start_response):\n"
        "    body = json.dumps(list(os.environ)).encode()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n"
    )
    commands = [f'{sys.executable} -c "{shown}" {short_dir}/{name}' for name in ("asap", "attached")]
    app = ("--http", "127.0.0.1:0", "--wsgi-file", short_dir / "app.py")
    with Penstock(*app, "--exec-asap", commands[0], "--attach-daemon", commands[1], env=own) as instance:
        seen = [set(json.loads(get(instance.http, "/").body))]
        seen += [set(json.loads((short_dir / "asap").read_text()))]
        note = short_dir / "attached"
        text = until("the program's note", lambda: note.exists() and note.read_text())
        seen += [set(json.loads(text))]
        for names in seen:
            assert "PATH" in names and not names & {"NOTIFY_SOCKET", *own}


def test_watchdog_is_fed_while_workers_are_ready() -> None:
    with Penstock(*OPTIONS, env={"WATCHDOG_USEC": "200000"}) as instance:
        before = notices(instance).count("WATCHDOG=1")
        until("several beats", lambda: notices(instance).count("WATCHDOG=1") >= before + 5)


def test_master_that_is_stuck_feeds_no_watchdog_and_says_where_it_was() -> None:
    instance = Penstock(*OPTIONS, env={"WATCHDOG_USEC": "200000"})
    try:
        until("a beat", lambda: notices(instance).count("WATCHDOG=1") >= 2)
        # As systemd ends a service whose watchdog has waited in vain.
        instance.send(signal.SIGABRT)
        assert instance.wait_exit() == -signal.SIGABRT
        instance.wait_log(r"Fatal Python error: Aborted")
        assert "in run" in instance.log
        until("the end of every process", lambda: not instance.processes(), 5.0)
    finally:
        instance.clean()


def test_start_that_lasts_gets_more_time(short_dir: Path) -> None:
    gate, app = short_dir / "gate", short_dir / "app.py"
    os.mkfifo(gate)
    app.write_text(WAITING_APP.format(path=str(gate)))
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", app, wait=False) as instance:
        until("more time", lambda: "EXTEND_TIMEOUT_USEC=20000000" in notices(instance), 20.0)
        assert "READY=1" not in instance.notices
        gate.write_text("x")
        instance.wait_ready()


def test_start_that_fails_says_why(short_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        instance = Penstock("--http", address, "--wsgi-file", APPS / "cases.py", wait=False)
        try:
            assert instance.wait_exit() == 1
            said = notices(instance)
            assert said[0] == "STOPPING=1" and "ERRNO=98" in said and "EXIT_STATUS=1" in said
            assert f"STATUS=the http socket {address}" in said[1] and "can not be bound" in said[1]
        finally:
            instance.clean()
    instance = Penstock("--http", "127.0.0.1:0", "--module", "no_such_module_anywhere", wait=False)
    try:
        assert instance.wait_exit() == 22
        assert "EXIT_STATUS=22" in notices(instance)
    finally:
        instance.clean()


def test_supervisor_that_is_not_there_changes_nothing() -> None:
    ended = run_penstock("--no-server", "--wsgi-file", APPS / "cases.py", env={"NOTIFY_SOCKET": "/nowhere"})
    assert ended.returncode == 0
