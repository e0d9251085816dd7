"""Sockets that are there before the instance, and after it: socket activation and the file-descriptor store.

No systemd runs here. A helper passes descriptors as sd_listen_fds(3) has it, and the harness's datagram socket takes
what is stored; `systemd-socket-activate`, where it is installed, is the real thing.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, clean_environment, until

APP = ("--wsgi-file", str(APPS / "cases.py"), "--disable-logging")

PASS = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
moved = [os.dup(fd) for fd in fds]
high = [os.dup(fd) for fd in moved]
for number, fd in enumerate(moved):
    os.dup2(fd, 100 + number)
for number in range(len(fds)):
    os.dup2(100 + number, 3 + number)
os.closerange(3 + len(fds), 200)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.argv[3], sys.argv[3:])
"""
"""What a service manager does between fork and exec: descriptors from 3 on, and the variables."""


class Activated(Penstock):
    """An instance that is started with sockets."""

    def __init__(self, sockets: dict[str, socket.socket], *arguments: str, **more: object) -> None:
        fds = [one.fileno() for one in sockets.values()]
        prefix = (sys.executable, "-c", PASS, ",".join(map(str, fds)), ":".join(sockets))
        super().__init__(*arguments, prefix=prefix, pass_fds=fds, **more)  # type: ignore[arg-type]


def bound(path: Path | None = None) -> socket.socket:
    """A listening socket, as a socket unit makes it: it may block."""
    if path is not None:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(str(path))
        made.listen(20)
        return made
    return socket.create_server(("127.0.0.1", 0), backlog=20)


def address(one: socket.socket) -> str:
    name = one.getsockname()
    return str(name) if isinstance(name, str) else f"{name[0]}:{name[1]}"


def test_inherited_sockets_are_served_and_stay(short_dir: Path) -> None:
    path = short_dir / "s"
    with bound() as web, bound(path) as local:
        with Activated({"http": web, "local": local}, "--protocol", "http", "--vacuum", *APP) as instance:
            instance.wait_log("SystemD socket activation detected")
            for where in (address(web), str(path)):
                assert get(where, "/hello").body == b"Hello world"
            instance.reload()
            assert get(str(path), "/hello").body == b"Hello world"
        # Who connects now waits for the next instance.
        assert path.is_socket()
        waiting = [Connection(where) for where in (address(web), str(path))]
        for connection in waiting:
            connection.send(request_bytes("GET", "/hello", {"Connection": "close"}))
        with Activated({"http": web, "local": local}, "--protocol", "http", *APP):
            for connection in waiting:
                assert connection.read().body == b"Hello world"
                connection.close()


@pytest.mark.option("protocol")
def test_protocol_is_uwsgi_unless_something_else_is_said() -> None:
    with bound() as web, Activated({"web": web}, *APP) as instance:
        assert f"uwsgi socket 0 attached to TCP address {address(web)}" in instance.log


def test_configured_address_is_not_bound_twice(short_dir: Path) -> None:
    with bound() as web:
        options = ("--http", address(web), "--http", "127.0.0.1:0", *APP)
        with Activated({"web": web}, *options) as instance:
            assert get(address(web), "/hello").body == b"Hello world"
            assert f"http socket 0 attached to TCP address {address(web)}" in instance.log
            assert get(instance.http, "/hello").body == b"Hello world"
            before = len(instance.log)
            instance.reload()
            assert "bound to" not in instance.log[before:]
            assert get(address(web), "/hello").body == b"Hello world"


def test_descriptors_for_another_process_are_left_alone() -> None:
    with Penstock("--http", "127.0.0.1:0", *APP, env={"LISTEN_PID": "1", "LISTEN_FDS": "3"}) as instance:
        assert get(instance.http, "/hello").body == b"Hello world"
        assert "SystemD" not in instance.log


def test_descriptor_that_is_no_listener_is_named() -> None:
    one, other = socket.socketpair()
    with one, other, Activated({"odd": one}, "--http", "127.0.0.1:0", *APP) as instance:
        assert "descriptor 3 (odd), passed at the start, is no listening stream socket" in instance.log
        assert get(instance.http, "/hello").body == b"Hello world"


def test_workers_and_programs_have_no_descriptor_of_it_too_much() -> None:
    with bound() as web, Activated({"http": web}, "--attach-daemon", "exec sleep 1000", *APP) as instance:
        inode = os.readlink(f"/proc/{instance.pid}/fd/3")
        sleeper = int(instance.wait_log(r"spawning \"exec sleep") and until("sleep", lambda: _named(instance, "sleep")))
        until("its exec", lambda: len(os.listdir(f"/proc/{sleeper}/fd")) == 3)
        for pid in instance.workers():
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            assert links.count(inode) == 1


def _named(instance: Penstock, name: str) -> int | None:
    return next((pid for pid in instance.processes() if Path(f"/proc/{pid}/comm").read_text().strip() == name), None)


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd is not installed")
def test_systemds_own_activator(short_dir: Path) -> None:
    path = short_dir / "s"
    command = ["systemd-socket-activate", "-l", str(path), "--fdname=http", sys.executable, "-m", "penstock", *APP]
    with (short_dir / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, env=clean_environment(), cwd=short_dir)
    try:
        until("the socket", lambda: path.is_socket())
        # The first connection starts the instance, and is answered by it.
        assert get(str(path), "/hello").body == b"Hello world"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert path.is_socket() and "attached to UNIX address" in (short_dir / "log").read_text()
    finally:
        process.kill()
        process.wait()


class Store:
    """The file-descriptor store of a service manager, at the harness's notification socket."""

    def __init__(self) -> None:
        self.kept: dict[str, socket.socket] = {}

    def read(self, instance: Penstock) -> None:
        """Take what an instance has told so far."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(instance._notify, 4096, 8)
            except BlockingIOError:
                return
            lines = data.decode().splitlines()
            instance.notices += lines
            name = next((line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")), "")
            if "FDSTORE=1" in lines:
                self.kept[name] = socket.socket(fileno=fds[0])
            if "FDSTOREREMOVE=1" in lines:
                self.kept.pop(name).close()

    def ready(self, instance: Penstock) -> None:
        until("READY=1", lambda: self.read(instance) or "READY=1" in instance.notices, 30.0)

    def close(self) -> None:
        for one in self.kept.values():
            one.close()


def test_stored_sockets_survive_a_restart_of_the_service(short_dir: Path) -> None:
    path, store = short_dir / "s", Store()
    options = ("--http", "127.0.0.1:0", "--http-socket", str(path), "--vacuum", *APP)
    with Gate(short_dir) as gate:
        instance = Penstock(*options, env={"FDSTORE": "8"}, wait=False)
        store.ready(instance)
        where = instance.http
        assert list(store.kept) == [f"penstock-{where.replace(':', '%3a')}", f"penstock-{path}"]
        slow = Connection(str(path))
        slow.send(request_bytes("GET", gate.target))
        gate.entered()
        instance.send(signal.SIGTERM)
        instance.wait_log("gracefully killing workers")
        # Accepted before the end: served by the old. Connected after it: waits for the new.
        gate.open()
        assert slow.read().status == 200
        slow.close()
        assert instance.wait_exit() == 0
        store.read(instance)
        assert len(store.kept) == 2 and path.is_socket()
        waiting = [Connection(each) for each in (where, str(path))]
        for connection in waiting:
            connection.send(request_bytes("GET", "/hello", {"Connection": "close"}))
        instance.clean()
        options = ("--http", where, "--http-socket", str(path), "--vacuum", *APP)
        instance = Activated(store.kept, *options, env={"FDSTORE": "8"}, wait=False)
        store.ready(instance)
        for connection in waiting:
            assert connection.read().body == b"Hello world"
            connection.close()
        # An end that nobody asked for through the supervisor: nobody shall wait for a next instance.
        instance.send(signal.SIGINT)
        assert instance.wait_exit() == 0
        store.read(instance)
        assert not store.kept and not path.exists()
        instance.clean()


def test_stored_socket_of_a_killed_instance_is_taken_over(short_dir: Path) -> None:
    path, store = short_dir / "s", Store()
    instance = Penstock("--http-socket", str(path), *APP, env={"FDSTORE": "8"}, wait=False)
    store.ready(instance)
    instance.send(signal.SIGKILL)
    instance.wait_exit()
    with Connection(str(path)) as waiting:
        waiting.send(request_bytes("GET", "/hello"))
        until("the end of every process", lambda: not instance.processes(), 5.0)
        second = Activated(store.kept, "--http-socket", str(path), *APP, wait=False)
        store.ready(second)
        with Connection(str(path)) as other:
            other.send(request_bytes("GET", "/hello"))
            assert other.read().status == 200
        # TERM keeps what is stored.
        second.stop()
    store.close()
    instance.clean()


def test_socket_that_is_configured_no_more_leaves_the_store(short_dir: Path) -> None:
    config, store = short_dir / "app.ini", Store()
    first, second = short_dir / "first", short_dir / "second"
    text = f"[uwsgi]\nhttp-socket = {first}\nwsgi-file = {APPS / 'cases.py'}\n"
    config.write_text(text + f"http-socket = {second}\n")
    instance = Penstock("--ini", config, env={"FDSTORE": "8"}, wait=False)
    store.ready(instance)
    assert sorted(store.kept) == [f"penstock-{first}", f"penstock-{second}"]
    config.write_text(text)
    instance.send(signal.SIGHUP)
    until("one less", lambda: store.read(instance) or len(store.kept) == 1)
    config.write_text(text + f"http-socket = {second}\n")
    instance.send(signal.SIGHUP)
    until("one more", lambda: store.read(instance) or len(store.kept) == 2)
    assert get(str(second), "/hello").status == 200
    instance.send(signal.SIGKILL)
    instance.wait_exit()
    until("the end of every process", lambda: not instance.processes(), 5.0)
    instance.clean()
    config.write_text(text)
    with Activated(store.kept, "--ini", config, env={"FDSTORE": "8"}, wait=False) as instance:
        store.ready(instance)
        assert list(store.kept) == [f"penstock-{first}"]
        assert get(str(first), "/hello").status == 200
    store.close()
