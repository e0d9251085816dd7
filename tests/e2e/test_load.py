"""Large, many and long: bodies, cookies, streams and connections, with an eye on memory."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Cut, get, post, request_bytes, uwsgi_request
from tests.e2e.harness import APPS, Nginx, Penstock, is_alive, rss_bytes, until
from tests.e2e.load import Load

MIB = 1 << 20
UPLOAD = bytes(range(251)) * (5 * MIB // 251)
UPLOAD_ANSWER = f"{len(UPLOAD)} {hashlib.sha256(UPLOAD).hexdigest()}".encode()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let the tests (not the server, which is started before) open as many files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def behind_nginx(address: str) -> str:
    return f"""
        client_max_body_size 75M;
        location / {{ include /etc/nginx/uwsgi_params; uwsgi_pass {address}; }}"""


def test_five_megabytes_up(server: Penstock) -> None:
    assert post(server.http, "/digest", UPLOAD).body == UPLOAD_ANSWER
    assert uwsgi_request(server.uwsgi, "/digest", "POST", UPLOAD).body == UPLOAD_ANSWER


def test_five_megabytes_up_through_nginx(server: Penstock) -> None:
    with Nginx(behind_nginx(server.uwsgi)) as nginx:
        assert post(nginx.address, "/digest", UPLOAD).body == UPLOAD_ANSWER
        # An app that does not look at the body: no reset, no 502.
        assert post(nginx.address, "/unread", UPLOAD).body == b"did not look at the body"


def test_an_upload_leaves_no_file_behind(server: Penstock, tmp_path: Path) -> None:
    (worker,) = server.workers()
    before = set(os.listdir("/tmp"))
    post(server.http, "/digest", UPLOAD)

    def open_files() -> list[str]:
        links = []
        for name in os.listdir(f"/proc/{worker}/fd"):
            try:
                links.append(os.readlink(f"/proc/{worker}/fd/{name}"))
            except FileNotFoundError:
                continue
        return [link for link in links if "(deleted)" in link and "memfd" not in link]

    until("no deleted file is open", lambda: not open_files())
    assert not [name for name in set(os.listdir("/tmp")) - before if "penstock" in name]


def test_large_cookies(server: Penstock) -> None:
    cookie = "session=" + "c" * 3500
    assert f'"HTTP_COOKIE": "{cookie}"' in get(server.http, "/environ", {"Cookie": cookie}).text
    with Nginx(behind_nginx(server.uwsgi)) as nginx:
        assert f'"HTTP_COOKIE": "{cookie}"' in get(nginx.address, "/environ", {"Cookie": cookie}).text


@pytest.mark.parametrize("target", ["/large?size={}", "/large?size={}&length=1"])
def test_a_hundred_megabytes_down_with_flat_memory(server: Penstock, target: str) -> None:
    stream_down(server, target.format(100 * MIB), 100 * MIB)


def stream_down(server: Penstock, target: str, size: int) -> None:
    """Read `target` with half a megabyte of pauses, and watch the worker's memory."""
    (worker,) = server.workers()
    get(server.http, "/large?size=1000000")
    before = rss_bytes(worker)
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", target, {"Connection": "close"}))
        head = connection.read_head()
        read, highest = len(connection.buffer), 0
        while data := connection.sock.recv(MIB):
            read += len(data)
            highest = max(highest, rss_bytes(worker))
    chunk_overhead = size // 1000 if ("Transfer-Encoding", "chunked") in head[3] else 0
    assert size <= read <= size + chunk_overhead + 100
    assert highest - before < 16 * MIB, f"{(highest - before) / MIB:.1f} MiB more"


def test_a_client_that_does_not_read_costs_little_memory(server: Penstock) -> None:
    (worker,) = server.workers()
    get(server.http, "/large?size=1000000")
    before = rss_bytes(worker)
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", f"/large?size={100 * MIB}"))
        connection.read_head()
        for _ in range(50):
            assert get(server.http, "/hello").status == 200, "the other thread serves on"
        assert rss_bytes(worker) - before < 16 * MIB
    until("the stream is given up", lambda: get(server.http, "/hello").status == 200)


def test_two_thousand_idle_connections_beside_a_working_client(many_files: None) -> None:
    idle_connections(2000)


def idle_connections(count: int) -> None:
    """Hold `count` connections that were used once, and see that one more client is served as ever."""
    # The limit that a login shell has; the server has to lift it for itself.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        instance = Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--master", "--listen", "512")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    connections: list[Connection] = []
    with instance:
        try:
            (worker,) = instance.workers()
            before = rss_bytes(worker)
            for _ in range(count):
                connection = Connection(instance.http)
                connections.append(connection)
                assert connection.request("GET", "/hello").status == 200
            assert rss_bytes(worker) - before < count * 8192 + 8 * MIB
            with Connection(instance.http) as working:
                for _ in range(200):
                    assert working.request("GET", "/hello").status == 200
            for connection in connections[:: count // 100]:
                assert connection.request("GET", "/hello").body == b"Hello world"
        finally:
            for connection in connections:
                connection.close()


def test_a_slow_request_does_not_stop_its_neighbours(server: Penstock, gate: object) -> None:
    from tests.e2e.harness import Gate

    assert isinstance(gate, Gate)
    with Connection(server.http) as slow:
        slow.send(request_bytes("GET", gate.target))
        gate.entered()
        for _ in range(20):
            assert get(server.http, "/hello").status == 200
        with Connection(server.http) as kept:
            for _ in range(20):
                assert kept.request("GET", "/hello").status == 200
        gate.open()
        assert slow.read().body == b"waited"


def test_a_stream_arrives_piece_by_piece(server: Penstock, short_dir: Path) -> None:
    go = short_dir / "go"
    os.mkfifo(go)
    hold = os.open(go, os.O_RDWR)
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", f"/stream?go={go}"))
        connection.read_head()
        while b"first\n" not in connection.buffer:
            connection.buffer += connection.sock.recv(1000)
        os.write(hold, b".")
        while b"second\n" not in connection.buffer:
            connection.buffer += connection.sock.recv(1000)
    os.close(hold)


# -- for `make stress` -------------------------------------------------------------------------------------------------


@pytest.mark.stress
def test_stress_a_gigabyte_down(server: Penstock) -> None:
    stream_down(server, f"/large?size={1024 * MIB}", 1024 * MIB)


@pytest.mark.stress
def test_stress_ten_thousand_idle_connections(many_files: None) -> None:
    idle_connections(10000)


@pytest.mark.stress
def test_stress_two_hundred_reloads_under_load() -> None:
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--processes", "4", "--threads", "2",
        "--disable-logging",
    ) as instance:  # fmt: skip
        with Load(instance.http, clients=8) as load:
            for _ in range(200):
                instance.reload()
                load.more(20)
        assert load.failures == []


@pytest.mark.stress
def test_stress_recycling_all_the_time() -> None:
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--processes", "4", "--threads", "2",
        "--max-requests", "200", "--min-worker-lifetime", "0", "--disable-logging",
    ) as instance:  # fmt: skip
        with Load(instance.http, clients=8) as load:
            load.more(100_000, deadline_s=600)
        assert load.failures == []


@pytest.mark.stress
def test_stress_two_hundred_killed_workers() -> None:
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--processes", "4", "--disable-logging"
    ) as instance:
        for number in range(200):
            until("four workers", lambda: len(instance.workers()) == 4, 60)
            victim = instance.workers()[number % 4]
            os.kill(victim, signal.SIGKILL)
            until("it is dead", lambda: not is_alive(victim))  # noqa: B023  # called in this turn
            assert get(instance.http, "/hello").status == 200


@pytest.mark.stress
def test_stress_clients_that_go_at_any_moment(server: Penstock) -> None:
    """Cut a request at each byte, and a response at many places: nothing stays open, nothing stops."""
    data = request_bytes("POST", "/echo", {"Transfer-Encoding": "chunked"}, b"4\r\nbody\r\n0\r\n\r\n")
    for cut in range(len(data)):
        with Connection(server.http) as connection:
            connection.send(data[:cut])
    for _ in range(200):
        with Connection(server.http) as connection:
            connection.send(request_bytes("GET", "/large?size=3000000"))
            connection.sock.recv(100000)
    with pytest.raises(Cut), Connection(server.http) as connection:
        connection.request("GET", "/raise-later")
    (worker,) = server.workers()
    until("only the listeners and a few more are open", lambda: len(os.listdir(f"/proc/{worker}/fd")) < 40)
    assert get(server.http, "/hello").status == 200
