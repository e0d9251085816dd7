"""What options do to the Python of an application, as the application and its clients see it."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, run_penstock, until

HTTP = ("--http", "127.0.0.1:0")
LOOK = """
import json, os, sys
import {imports}
def application(environ, start_response):
    names = {{"sys": sys, "os": os, "environ": environ}}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(eval(os.fsdecode(bytes.fromhex(environ["QUERY_STRING"])), names), default=repr).encode()]
"""
FAILING = """
class Odd(ValueError): pass
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fine":
        start_response("200 OK", [])
        return [b"fine"]
    if path == "/sent":
        def body():
            start_response("200 OK", [])
            yield b"begun"
            raise Odd("too late")
        return body()
    if path == "/later":
        def body():
            start_response("200 OK", [("Content-Type", "text/html")])
            raise Odd("while iterating")
            yield b""
        return body()
    raise (KeyError if path == "/key" else Odd)("it broke \\u00fc")
"""
BODIES = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return eval(environ["QUERY_STRING"].replace("%20", " "))
"""


@pytest.fixture
def project(short_dir: Path) -> Path:
    """An application that evaluates what it is asked, and two modules."""
    (short_dir / "look.py").write_text(LOOK.format(imports="os"))
    (short_dir / "early.py").write_text("import os\nprint('early is', __name__, 'in', os.getpid(), flush=True)\n")
    (short_dir / "late.py").write_text(
        "import os, sys\nprint('late is', __name__, 'in', os.getpid(), 'look' in sys.modules, flush=True)\n"
    )
    return short_dir


def ask(server: Penstock, expression: str) -> Any:
    response = get(server.http, f"/?{expression.encode().hex()}")
    assert response.status == 200, response.body
    return json.loads(response.body)


@pytest.mark.option("pyargv", "optimize", "no-site", "py-executable", "py-programname", "unenv", "envdir", "chdir2")
@pytest.mark.option("wsgi-disable-file-wrapper")
def test_what_the_application_finds(project: Path) -> None:
    (project / "vars").mkdir()
    (project / "vars" / "FROM_FILE").write_text("a value\n")
    (project / "vars" / "EMPTY").touch()
    (project / "work").mkdir()
    arguments = (
        *("--chdir", project, "--module", "look", "--pyargv", "-v shop", "--optimize", "2", "--no-site"),
        *("--py-executable", "/usr/bin/any", "--unenv", "UNWANTED", "--envdir", project / "vars"),
        *("--chdir2", "work", "--wsgi-disable-file-wrapper"),
    )
    with Penstock(*HTTP, *arguments, env={"UNWANTED": "x", "EMPTY": "x"}) as server:
        assert ask(server, "sys.argv") == ["uwsgi", "-v", "shop"]
        assert ask(server, "[sys.flags.optimize, sys.flags.no_site]") == [2, 1]
        assert ask(server, "sys.executable") == "/usr/bin/any"
        found = ask(server, "[os.environ.get(n) for n in ('UNWANTED', 'FROM_FILE', 'EMPTY')]")
        assert found == [None, "a value", None]
        assert ask(server, "os.getcwd()") == str(project / "work")
        assert "wsgi.file_wrapper" not in ask(server, "sorted(environ)")
    with Penstock(*HTTP, "--chdir", project, "--module", "look", "--py-programname", "/opt/python") as server:
        assert ask(server, "sys.argv") == ["uwsgi"]
        assert ask(server, "sys.flags.optimize") == 0
        assert ask(server, "sys.executable") == "/opt/python"
        assert "wsgi.file_wrapper" in ask(server, "sorted(environ)")


@pytest.mark.option("import", "shared-import", "lazy")
@pytest.mark.parametrize("lazy", [False, True])
def test_modules_beside_the_application(project: Path, lazy: bool) -> None:
    arguments = ("--chdir", project, "--module", "look", "--shared-import", "early.py", "--import", "late")
    more = ("--lazy",) if lazy else ()
    with Penstock(*HTTP, *arguments, *more, "--processes", "2") as server:
        (generation,) = server.generations()
        found = server.wait_log(r"^early is uwsgi_file_early in (\d+)$")
        assert int(found[1]) == generation
        server.wait_log(r"^late is late in \d+ True$")
        importers = {int(line.split()[4]) for line in server.log.splitlines() if line.startswith("late is")}
        assert importers == (set(server.workers()) if lazy else {generation})
        assert ask(server, "'late' in sys.modules and 'uwsgi_file_early' in sys.modules")


@pytest.mark.option("import", "shared-import", "pymodule-alias", "post-pymodule-alias", "need-app")
@pytest.mark.parametrize("name", ["import", "shared-import", "pymodule-alias", "post-pymodule-alias"])
def test_a_module_that_is_not_there(project: Path, name: str) -> None:
    value = "x=nothing" if "alias" in name else "nothing"
    arguments = ("--chdir", project, "--module", "look", f"--{name}={value}")
    refused = run_penstock(*HTTP, *arguments)
    assert refused.returncode == 22
    assert f"{name} = nothing: ModuleNotFoundError" in refused.stderr and "Traceback" in refused.stderr
    with Penstock(*HTTP, *arguments, "--need-app=false") as server:
        assert ask(server, "1") == 1


@pytest.mark.option("pymodule-alias", "post-pymodule-alias")
def test_second_names(project: Path) -> None:
    (project / "look.py").write_text(LOOK.format(imports="chosen_settings"))
    (project / "settings_live.py").write_text("")
    arguments = ("--pymodule-alias", "chosen_settings=./settings_live.py", "--post-pymodule-alias", "later=late")
    with Penstock(*HTTP, "--chdir", project, "--module", "look", *arguments) as server:
        assert ask(server, "os.path.basename(sys.modules['chosen_settings'].__file__)") == "settings_live.py"
        assert ask(server, "sys.modules['later'] is sys.modules['late']")


@pytest.mark.option("catch-exceptions")
def test_a_traceback_reaches_the_client_only_where_that_is_wanted(short_dir: Path) -> None:
    (short_dir / "failing.py").write_text(FAILING)
    arguments = (*HTTP, "--chdir", short_dir, "--module", "failing")
    with Penstock(*arguments, "--catch-exceptions") as server:
        server.wait_log("sees its source lines")
        for path, text in (("/", "it broke \u00fc"), ("/later", "while iterating")):
            response = get(server.http, path)
            assert response.status == 500
            assert response.header("content-type") == "text/plain; charset=utf-8"
            assert response.body.decode().endswith(f"failing.Odd: {text}\n")
            assert 'failing.py", line' in response.body.decode() and "penstock" not in response.body.decode()
        assert get(server.http, "/fine").body == b"fine"
        with pytest.raises(Exception):  # noqa: B017
            assert b"Odd" not in get(server.http, "/sent").body
    with Penstock(*arguments) as server:
        assert get(server.http, "/").body == b"Internal Server Error"


@pytest.mark.option(
    "reload-on-exception", "reload-on-exception-type", "reload-on-exception-value", "reload-on-exception-repr"
)
@pytest.mark.parametrize(
    ("option", "spared"),
    [
        ("--reload-on-exception", False),
        ("--reload-on-exception-type=failing.Odd", True),
        ("--reload-on-exception-value=it broke \u00fc", False),
        ("--reload-on-exception-repr=failing.Odd: it broke \u00fc", True),
    ],
)
def test_a_worker_is_replaced_after_an_exception(short_dir: Path, option: str, spared: bool) -> None:
    (short_dir / "failing.py").write_text(FAILING)
    arguments = (*HTTP, "--chdir", short_dir, "--module", "failing", "--min-worker-lifetime", "0")
    with Penstock(*arguments, option) as server:
        (before,) = server.workers()
        if spared:
            assert get(server.http, "/key").status == 500
            assert get(server.http, "/fine").status == 200
            assert server.workers() == [before]
        assert get(server.http, "/").status == 500
        until("another worker", lambda: before not in server.workers() and len(server.workers()) == 1)
        assert get(server.http, "/fine").body == b"fine"
        server.wait_log(r"is replaced \(exception failing\.Odd\)")


@pytest.mark.option("wsgi-accept-buffer", "wsgi-strict")
def test_bodies(short_dir: Path) -> None:
    (short_dir / "bodies.py").write_text(BODIES)

    def answers(*options: str) -> list[bytes]:
        with Penstock(*HTTP, "--chdir", short_dir, "--module", "bodies", *options) as server:
            asked = ("[bytearray(b'a'),memoryview(b'b')]", "bytearray(b'ab')", "b'ab'", "[b'ab']", "['ab']")
            responses = [get(server.http, f"/?{each}") for each in asked]
            return [each.body if each.status == 200 else b"refused" for each in responses]

    assert answers() == [b"refused", b"refused", b"ab", b"ab", b"refused"]
    assert answers("--wsgi-accept-buffer") == [b"ab", b"ab", b"ab", b"ab", b"refused"]
    assert answers("--wsgi-strict") == [b"refused", b"refused", b"refused", b"ab", b"refused"]


@pytest.mark.option("no-server")
def test_a_configuration_is_tested_beside_what_serves(project: Path) -> None:
    with Penstock(*HTTP, "--chdir", project, "--module", "look", "--pidfile", project / "pid") as server:
        command = ("--http", server.http, "--chdir", project, "--pidfile", project / "pid", "--no-server")
        fine = run_penstock(*command, "--module", "look", "--lazy-apps")
        assert (fine.returncode, "no-server: module look was imported" in fine.stderr) == (0, True), fine.stderr
        refused = run_penstock(*command, "--module", "nothing", "--need-app=false")
        assert refused.returncode == 22 and "No module named 'nothing'" in refused.stderr
        assert ask(server, "1") == 1 and (project / "pid").read_text().strip() == str(server.pid)


@pytest.mark.option("py-tracebacker")
def test_whoever_connects_is_told_the_stacks(short_dir: Path) -> None:
    (short_dir / "waiting.py").write_text(
        "import os\n"
        "def waits_here(path):\n"
        "    open(path).close()\n"
        "def application(environ, start_response):\n"
        "    waits_here(environ['QUERY_STRING'])\n"
        "    start_response('200 OK', [])\n"
        "    return [b'done']\n"
    )
    fifo = short_dir / "fifo"
    os.mkfifo(fifo)
    arguments = ("--chdir", short_dir, "--module", "waiting", "--py-tracebacker", "tb.", "--processes", "2")
    with Penstock(*HTTP, *arguments, "--threads", "2") as server:
        assert (short_dir / "tb.1").stat().st_mode & 0o777 == 0o600
        text = stacks(short_dir / "tb.1")
        assert text.startswith("*** Python tracebacker output ***\n") and "uWSGIWorker1Core1" in text
        with socket.create_connection(server.http.split(":")) as client:  # type: ignore[arg-type]
            client.sendall(f"GET /?{fifo} HTTP/1.0\r\n\r\n".encode())
            wanted = "function = waits_here line = open(path).close()"
            until("the stack", lambda: any(wanted in stacks(short_dir / f"tb.{n}") for n in (1, 2)))
            printed = run_penstock("--connect-and-read", short_dir / "tb.2")
            assert "tracebacker output" in printed.stdout + printed.stderr
            fifo.open("w").close()
            assert client.recv(4096).startswith(b"HTTP/1.")
        server.send(signal.SIGHUP)
        server.wait_log(r"worker 2 of generation 1 killed successfully")
        assert "tracebacker output" in stacks(short_dir / "tb.1")
    assert not list(short_dir.glob("tb.*"))


def stacks(path: Path) -> str:
    """What the socket at `path` tells."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        pieces = []
        while piece := client.recv(65536):
            pieces.append(piece)
    return b"".join(pieces).decode()


@pytest.mark.option("skip-atexit", "skip-atexit-teardown")
@pytest.mark.parametrize(
    ("option", "called"),
    [("--skip-atexit=no", ["own", "all"]), ("--skip-atexit-teardown", ["own"]), ("--skip-atexit", [])],
)
def test_what_a_worker_calls_at_its_end(short_dir: Path, option: str, called: list[str]) -> None:
    (short_dir / "ending.py").write_text(
        "import atexit, os, uwsgi\n"
        "atexit.register(lambda: os.write(2, b'called all\\n'))\n"
        "uwsgi.atexit = lambda: os.write(2, b'called own\\n')\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'']\n"
    )
    with Penstock(*HTTP, "--chdir", short_dir, "--module", "ending", option) as server:
        assert get(server.http).status == 200
        log = server.stop()
    assert [line.split()[1] for line in log.splitlines() if line.startswith("called ")] == called


@pytest.mark.option("http-var")
def test_every_request_has_these_variables(project: Path) -> None:
    variables = ("--http-var", "COLOUR=blue=green", "--http-var", "PLACE=here", "--http-var", "PLACE=there")
    rule = ("--route-if", "equal:${COLOUR};blue=green addvar:SEEN=yes")
    with Penstock(*HTTP, "--chdir", project, "--module", "look", *variables, *rule) as server:
        found = ask(server, "[environ.get(name) for name in ('COLOUR', 'PLACE', 'SEEN')]")
        assert found == ["blue=green", "there", "yes"]
