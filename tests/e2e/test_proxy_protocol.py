"""The PROXY protocol on HTTP listeners: who the client is when a balancer passes bytes on, and who is believed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Connection, get, request_bytes, uwsgi_request
from tests.e2e.harness import APPS, Penstock, until

CASES = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py")
V1 = b"PROXY TCP4 192.0.2.9 198.51.100.2 56324 443\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + bytes([192, 0, 2, 9, 198, 51, 100, 2])
    + struct.pack(">HH", 56324, 443)
)  # fmt: skip
V6 = b"PROXY TCP6 2001:db8::9 ::1 7 8\r\n"
ASK = request_bytes("GET", "/environ")
FORWARDED = request_bytes("GET", "/environ", {"X-Forwarded-For": "203.0.113.5"})


@pytest.fixture(scope="module")
def server() -> Iterator[Penstock]:
    with Penstock(*CASES, "--enable-proxy-protocol", "--socket-timeout", "5") as instance:
        yield instance


def client_of(body: bytes) -> tuple[str, str]:
    environ = json.loads(body)
    return environ["REMOTE_ADDR"], environ["REMOTE_PORT"]


@pytest.mark.option("enable-proxy-protocol")
@pytest.mark.parametrize(
    ("header", "client"),
    [(V1, ("192.0.2.9", "56324")), (V2, ("192.0.2.9", "56324")), (V6, ("2001:db8::9", "7"))],
)
def test_the_header_names_the_client(server: Penstock, header: bytes, client: tuple[str, str]) -> None:
    with Connection(server.http) as connection:
        for data in (header + ASK, ASK, ASK):
            assert client_of(connection.send(data).read().body) == client
    until("the log names the client", lambda: client[0] in server.log)


@pytest.mark.option("enable-proxy-protocol")
@pytest.mark.parametrize("header", [V1, V2])
def test_the_header_may_come_in_pieces(server: Penstock, header: bytes) -> None:
    with Connection(server.http) as connection:
        for byte in header + ASK:
            connection.send(bytes([byte]))
        assert client_of(connection.read().body)[0] == "192.0.2.9"
        # Pipelined behind it.
        connection.send(ASK * 3)
        assert [client_of(connection.read().body)[0] for _ in range(3)] == ["192.0.2.9"] * 3


@pytest.mark.option("enable-proxy-protocol")
@pytest.mark.parametrize("header", [b"", b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"])
def test_a_balancer_may_speak_for_itself(server: Penstock, header: bytes) -> None:
    with Connection(server.http) as connection:
        assert client_of(connection.send(header + ASK).read().body)[0] == "127.0.0.1"


@pytest.mark.option("enable-proxy-protocol")
@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2[:12] + b"\x21\0\0\0", V2[:12] + b"\x20\0\0\0"])
def test_a_client_that_is_not_named_may_not_speak_for_others(server: Penstock, header: bytes) -> None:
    with Connection(server.http) as connection:
        for data in (header + FORWARDED, FORWARDED):
            assert client_of(connection.send(data).read().body)[0] == "127.0.0.1"


@pytest.mark.option("enable-proxy-protocol")
def test_the_client_that_is_named_is_no_trusted_proxy(server: Penstock) -> None:
    with Connection(server.http) as connection:
        assert client_of(connection.send(V1 + FORWARDED).read().body)[0] == "192.0.2.9"
    with Connection(server.http) as connection:
        assert client_of(connection.send(FORWARDED).read().body)[0] == "203.0.113.5"


@pytest.mark.option("enable-proxy-protocol")
@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.9 198.51.100.2 x 443\r\n", b"PROXY " + b"x" * 200, V1 + V1, V2 + V1,
        V2[:12] + b"\x31" + V2[13:], V2[:14] + b"\xff\xff" + V2[16:], ASK.replace(b"GET", b"PROXY TCP4"),
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(server: Penstock, header: bytes) -> None:
    with Connection(server.http) as connection:
        answer = connection.send(header + ASK).read()
        assert answer.status == 400 and b"REMOTE_ADDR" not in answer.body
        assert connection.is_closed()
    assert get(server.http, "/hello").body == b"Hello world"


@pytest.mark.option("enable-proxy-protocol")
def test_it_is_not_spoken_where_it_is_not_expected(server: Penstock) -> None:
    assert uwsgi_request(server.uwsgi, "/hello").body == b"Hello world"
    with (
        Penstock(*CASES) as plain,
        Penstock(*CASES, "--enable-proxy-protocol", "--trusted-proxies", "none") as distrustful,
    ):
        for instance in (plain, distrustful):
            for header in (V1, V2):
                with Connection(instance.http) as connection:
                    assert connection.send(header + ASK).read().status == 400
            until("the cure is named", lambda instance=instance: "trusted-proxies" in instance.log)
        assert get(distrustful.http, "/hello").body == b"Hello world"


@pytest.mark.option("http-enable-proxy-protocol")
@pytest.mark.parametrize("option", ["--http-enable-proxy-protocol", "--http-enable-proxy-protocol=2"])
def test_the_option_of_the_http_router(option: str) -> None:
    with Penstock(*CASES, option) as instance, Connection(instance.http) as connection:
        assert client_of(connection.send(V1 + ASK).read().body)[0] == "192.0.2.9"


@pytest.mark.option("enable-proxy-protocol")
def test_a_connection_that_moves_to_another_worker_keeps_its_client() -> None:
    with (
        Penstock(*CASES, "--enable-proxy-protocol", "--processes", "2") as instance,
        Connection(instance.http) as kept,
        Connection(instance.http) as fresh,
        Connection(instance.http) as unnamed,
    ):
        assert client_of(kept.send(V1 + ASK).read().body)[0] == "192.0.2.9"
        assert client_of(unnamed.send(b"PROXY UNKNOWN\r\n" + ASK).read().body)[0] == "127.0.0.1"
        before = {get(instance.http, "/pid").body for _ in range(50)}
        instance.reload()
        until("new workers serve", lambda: get(instance.http, "/pid").body not in before)
        assert client_of(kept.send(ASK).read().body)[0] == "192.0.2.9"
        assert client_of(fresh.send(V1 + ASK).read().body)[0] == "192.0.2.9"
        assert client_of(unnamed.send(FORWARDED).read().body)[0] == "127.0.0.1"
