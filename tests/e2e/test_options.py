"""What single options do in a started server, where no behaviour of its own is tested by it elsewhere."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, connect, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, run_penstock, until

CASES = ("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py")

TELLS = """\
import os
import helper

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"not this one"]

def other(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.environ.get('COLOUR')} {helper.WHERE}".encode()]
"""

CHILD = """\
import subprocess

def application(environ, start_response):
    done = subprocess.run(["ls", "-l", "/proc/self/fd/"], close_fds=False, capture_output=True)
    start_response("200 OK", [])
    return [done.stdout]
"""


@pytest.fixture
def tells(short_dir: Path) -> Path:
    """A directory with an app that tells what surrounds it, and two more with a module each."""
    (short_dir / "tells.py").write_text(TELLS)
    for name in ("first", "second"):
        (short_dir / name).mkdir()
        (short_dir / name / "helper.py").write_text(f"WHERE = '{name}'\n")
    return short_dir


@pytest.mark.option("callable", "chdir", "env", "pythonpath")
def test_the_app_and_its_surroundings(tells: Path) -> None:
    paths = ("--pythonpath", "second", "--pythonpath", tells / "first")
    with Penstock(
        "--http", "127.0.0.1:0", "--chdir", tells, "--module", "tells", "--callable", "other", "--env", "COLOUR=blue",
        *paths,
    ) as instance:  # fmt: skip
        assert get(instance.http).text == "blue first"


@pytest.mark.option("threads")
@pytest.mark.parametrize("count", [1, 3])
def test_so_many_threads_run_the_app(gate: Gate, count: int) -> None:
    with Penstock(*CASES, "--threads", str(count)) as instance, ExitStack() as stack:
        waiting = [stack.enter_context(Connection(instance.http)) for _ in range(count)]
        for connection in waiting:
            connection.send(request_bytes("GET", gate.target))
            gate.entered()
        with Connection(instance.http) as late:
            late.send(request_bytes("GET", "/hello"))
            gate.open()
            assert late.read().status == 200
        gate.open(count - 1)


@pytest.mark.option("protocol")
@pytest.mark.parametrize("protocol", ["http", "http11"])
def test_a_socket_speaks_the_protocol_that_is_asked_for(short_dir: Path, protocol: str) -> None:
    address = short_dir / "app.sock"
    with Penstock("--socket", address, "--protocol", protocol, "--wsgi-file", APPS / "cases.py"):
        assert get(str(address), "/hello").text == "Hello world"


@pytest.mark.option("http-to")
def test_http_to_names_the_instances_own_socket_or_the_start_is_refused(short_dir: Path) -> None:
    own = short_dir / "app.sock"
    with Penstock(*CASES, "--socket", own, "--http-to", own) as instance:
        assert get(instance.http, "/hello").status == 200
    result = run_penstock(*CASES, "--socket", own, "--http-to", short_dir / "other.sock")
    assert result.returncode == 1
    assert "requests can not be passed on to another address" in result.stderr


def waiting_connections(address: Path, most: int) -> int:
    """How many clients the kernel lets in before it refuses one, at most `most`."""
    with ExitStack() as stack:
        for count in range(most):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            try:
                client.connect(str(address))
            except BlockingIOError:
                return count
    return most


@pytest.mark.option("listen")
def test_so_many_clients_wait_in_the_kernel(short_dir: Path, gate: Gate) -> None:
    address = short_dir / "app.sock"
    for listen, at_least, at_most in (("3", 3, 8), ("60", 60, 65)):
        with (
            Penstock("--http", address, "--wsgi-file", APPS / "cases.py", "--listen", listen),
            Connection(str(address)) as busy,
        ):
            busy.send(request_bytes("GET", gate.target))
            gate.entered()
            assert at_least <= waiting_connections(address, 100) <= at_most
            gate.open()
            assert busy.read().status == 200


@pytest.mark.option("chown-socket")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_owner_of_a_socket(short_dir: Path) -> None:
    address = short_dir / "app.sock"
    with Penstock("--http", address, "--wsgi-file", APPS / "cases.py", "--chown-socket", "nobody:nogroup"):
        assert (address.owner(), address.group()) == ("nobody", "nogroup")


@pytest.mark.option("worker-reload-mercy")
def test_a_request_that_does_not_end_has_this_long_at_a_stop(gate: Gate) -> None:
    with Penstock(*CASES, "--worker-reload-mercy", "1") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        begin = time.monotonic()
        instance.send(signal.SIGTERM)
        assert instance.wait_exit() == 0
        assert 0.8 < time.monotonic() - begin < 8


@pytest.mark.option("buffer-size")
def test_a_larger_request_head_is_taken(server: Penstock) -> None:
    headers = {f"X-Large-{number}": "x" * 4000 for number in range(25)}
    assert get(server.http, "/hello", headers).status == 431
    with Penstock(*CASES, "--buffer-size", "131072") as instance:
        assert get(instance.http, "/hello", headers).status == 200


@pytest.mark.option("max-vars")
def test_more_headers_are_taken(server: Penstock) -> None:
    headers = {f"X-Many-{number}": "x" for number in range(190)}
    assert get(server.http, "/hello", headers).status == 431
    with Penstock(*CASES, "--max-vars", "100") as instance:
        assert get(instance.http, "/hello", headers).status == 200


@pytest.mark.option("http-keepalive")
def test_a_kept_connection_is_closed_when_it_is_idle_for_this_long(server: Penstock) -> None:
    with Penstock(*CASES, "--http-keepalive=2") as instance, Connection(instance.http) as connection:
        assert connection.send(request_bytes("GET", "/hello")).read().status == 200
        begin = time.monotonic()
        assert connection.is_closed()
        assert 1 < time.monotonic() - begin < 8
    with Penstock(*CASES, "--http-keepalive=0") as instance, Connection(instance.http) as connection:
        response = connection.send(request_bytes("GET", "/hello")).read()
        assert response.header("Connection") == "close"
        assert connection.is_closed()


@pytest.mark.option("http-timeout")
def test_a_client_may_pause_for_this_long() -> None:
    with Penstock(*CASES, "--http-timeout", "1") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("POST", "/echo", {"Content-Length": "10"}) + b"abc")
        begin = time.monotonic()
        assert connection.read().status == 408
        assert 0.5 < time.monotonic() - begin < 8


def files_without_a_name(worker: int, folder: Path) -> list[int]:
    """Sizes of what process `worker` keeps in `folder`."""
    found = []
    for entry in Path(f"/proc/{worker}/fd").iterdir():
        with suppress(OSError):
            if re.fullmatch(rf"{re.escape(str(folder))}/.*\(deleted\)", str(entry.readlink())):
                found.append(entry.stat().st_size)
    return found


@pytest.mark.option("post-buffering", "spool-dir")
@pytest.mark.parametrize(("size", "files"), [(20_000, 0), (60_000, 1)])
def test_a_request_body_beyond_this_is_kept_in_a_file(tmp_path: Path, size: int, files: int) -> None:
    body = b"x" * size
    with Penstock(*CASES, "--post-buffering", "32768", "--spool-dir", tmp_path) as instance:
        (worker,) = instance.workers()
        with Connection(instance.http) as connection:
            connection.send(request_bytes("POST", "/echo", (), body)[:-1])
            assert get(instance.http, "/hello").status == 200
            if files:
                until("the body is in a file", lambda: len(files_without_a_name(worker, tmp_path)) == files)
            assert len(files_without_a_name(worker, tmp_path)) == files
            assert connection.send(body[-1:]).read().body == body


@pytest.mark.option("response-spool-total")
def test_all_responses_in_files_stay_below_this(tmp_path: Path) -> None:
    """Two clients that do not read, and room for one: the other one's app has to wait."""
    size = 24 << 20
    options = ("--response-spool", "16m", "--response-spool-total", "16m", "--spool-dir", tmp_path, "--threads", "3")
    with Penstock(*CASES, *options) as instance, ExitStack() as stack:
        (worker,) = instance.workers()
        for _ in range(2):
            slow = stack.enter_context(connect(instance.http))
            slow.sendall(request_bytes("GET", f"/large?size={size}"))
        until("the room is used", lambda: sum(files_without_a_name(worker, tmp_path)) > 8 << 20)
        assert get(instance.http, "/hello").status == 200
        assert sum(files_without_a_name(worker, tmp_path)) <= 16 << 20


def test_a_program_that_the_app_starts_has_no_socket_of_the_server(short_dir: Path) -> None:
    """What `close-on-exec` and `close-on-exec2` are for is always so."""
    (short_dir / "child.py").write_text(CHILD)
    with Penstock("--http", "127.0.0.1:0", "--chdir", short_dir, "--module", "child", "--stats", ":0") as instance:
        text = get(instance.http).text
        assert "pipe:" in text and "socket:" not in text


def test_a_start_that_would_be_unsafe_without_an_option_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "app.ini"
    config.write_text("[uwsgi]\nhttp = 127.0.0.1:0\nmodule = hello\nchroot = /srv\n")
    result = run_penstock("--ini", config, cwd=APPS)
    assert result.returncode == 1
    assert "app.ini:4: chroot is not supported and can not be left out: in uWSGI it confines" in result.stderr


def test_an_option_that_only_is_not_there_is_told_and_the_start_goes_on(tmp_path: Path) -> None:
    config = tmp_path / "app.ini"
    config.write_text("[uwsgi]\nhttp = 127.0.0.1:0\nmodule = hello\nlegion = a\nlegion-node = b\n")
    with Penstock("--ini", config, cwd=APPS) as instance:
        assert get(instance.http).status == 200
        said = instance.wait_log(r"^.*legion.*$")[0]
        assert "app.ini:4: legion and legion-node are not supported and are ignored: in uWSGI legion makes" in said
        assert instance.log.count("legion") == said.count("legion")
