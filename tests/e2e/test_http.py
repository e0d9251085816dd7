"""HTTP/1.1 as clients see it: connections, framing, failures of the app, limits."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.clients import Connection, Cut, chunked, connect, get, post, request_bytes, uwsgi_packet, uwsgi_variables
from tests.e2e.harness import APPS, Gate, Penstock, until

# -- connections -------------------------------------------------------------------------------------------------------


def test_keep_alive(server: Penstock) -> None:
    with Connection(server.http) as connection:
        for _ in range(5):
            response = connection.request("GET", "/hello")
            assert (response.status, response.body, response.framing) == (200, b"Hello world", "length")
            assert (response.header("connection") or "").lower() != "close"
            assert response.header("date")


def test_connection_close(server: Penstock) -> None:
    with Connection(server.http) as connection:
        response = connection.request("GET", "/hello", {"Connection": "close"})
        assert (response.header("connection") or "").lower() == "close"
        assert connection.is_closed()


def test_pipelining(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(
            request_bytes("GET", "/hello")
            + request_bytes("POST", "/echo", body=b"one")
            + request_bytes("HEAD", "/hello")
            + request_bytes("POST", "/echo", {"Transfer-Encoding": "chunked"}, chunked(b"tw", b"o"))
            + request_bytes("GET", "/generator?n=2")
        )
        assert connection.read().body == b"Hello world"
        assert connection.read().body == b"one"
        assert connection.read("HEAD").body == b""
        assert connection.read().body == b"two"
        assert connection.read().body == b"piece 0\npiece 1\n"


def test_fifty_pipelined_requests_in_one_packet(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(b"".join(request_bytes("POST", "/echo", body=b"%d" % number) for number in range(50)))
        assert [connection.read().body for _ in range(50)] == [b"%d" % number for number in range(50)]


def test_a_pipeline_behind_a_slow_request_is_not_held_back(server: Penstock, gate: Gate) -> None:
    with Connection(server.http) as connection:
        connection.send(
            request_bytes("GET", "/hello") + request_bytes("GET", gate.target) + request_bytes("GET", "/hello")
        )
        gate.entered()
        assert connection.read().body == b"Hello world", "the first answer comes while the second request is in the app"
        gate.open()
        assert connection.read().status == 200
        assert connection.read().body == b"Hello world"


def test_an_unfinished_request_does_not_hold_the_answer_before_it_back(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", "/hello") + b"GET /hello HT")
        assert connection.read().body == b"Hello world"
        connection.send(b"TP/1.1\r\nHost: localhost\r\n\r\nGET /hello JUNK\r\n\r\n")
        assert connection.read().body == b"Hello world"
        assert connection.read().status == 400, "a refusal leaves behind the answers before it"


@pytest.mark.parametrize(
    "tail", [b"", b"\r\n", b"GET /par", b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
)
def test_a_client_that_says_no_more_gets_what_it_has_asked_for(server: Penstock, tail: bytes) -> None:
    for _ in range(10):
        with Connection(server.http) as connection:
            connection.send(request_bytes("GET", "/hello") + tail)
            connection.sock.shutdown(socket.SHUT_WR)
            assert connection.read().body == b"Hello world"


def test_continue_comes_behind_the_answer_before_it(server: Penstock) -> None:
    with Connection(server.http) as connection:
        expecting = request_bytes("POST", "/echo", {"Expect": "100-continue", "Content-Length": "4"})
        connection.send(request_bytes("GET", "/hello") + expecting)
        assert connection.read().body == b"Hello world"
        assert connection.read_head()[1] == 100
        connection.send(b"body")
        assert connection.read().body == b"body"


def test_a_request_that_comes_byte_by_byte(server: Penstock) -> None:
    data = request_bytes("POST", "/echo", {"X-Long": "v" * 100}, b"body in pieces")
    with Connection(server.http) as connection:
        for position in range(len(data)):
            connection.send(data[position : position + 1])
        assert connection.read().body == b"body in pieces"


def test_http_1_0_is_closed(server: Penstock) -> None:
    with Connection(server.http) as connection:
        response = connection.send(b"GET /generator HTTP/1.0\r\n\r\n").read()
        assert response.framing == "close"
        assert response.body == b"piece 0\npiece 1\npiece 2\n"


def test_http_1_0_keep_alive(server: Penstock) -> None:
    with Connection(server.http) as connection:
        for _ in range(2):
            response = connection.send(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").read()
            assert response.body == b"Hello world"
            assert (response.header("connection") or "").lower() == "keep-alive"


def test_an_idle_connection_that_closes_is_no_error(server: Penstock) -> None:
    since = len(server.log)
    with Connection(server.http) as connection:
        connection.request("GET", "/hello")
    get(server.http, "/hello")
    assert "Traceback" not in server.log[since:]


# -- bodies ------------------------------------------------------------------------------------------------------------


def test_chunked_response(server: Penstock) -> None:
    with Connection(server.http) as connection:
        response = connection.request("GET", "/generator?n=3")
        assert (response.framing, response.body) == ("chunked", b"piece 0\npiece 1\npiece 2\n")
        assert connection.request("GET", "/hello").status == 200


def test_empty_pieces_do_not_end_a_chunked_response(server: Penstock) -> None:
    assert get(server.http, "/empty-pieces").body == b"ab"


def test_chunked_request(server: Penstock) -> None:
    body = b"0123456789" * 5000
    with Connection(server.http) as connection:
        response = connection.request(
            "POST", "/echo", {"Transfer-Encoding": "chunked"}, chunked(body[:1], body[1:40000], body[40000:])
        )
        assert response.body == body
        assert connection.request("GET", "/hello").status == 200


def test_chunked_request_has_no_content_length_in_environ_that_lies(server: Penstock) -> None:
    response = post(server.http, "/environ", chunked(b"abc"), {"Transfer-Encoding": "chunked"})
    environ = json.loads(response.body)
    assert environ.get("CONTENT_LENGTH", "3") in ("", "3")


def test_a_large_body_is_spooled(server: Penstock) -> None:
    import hashlib

    body = bytes(range(256)) * 8192  # 2 MiB
    expected = f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    assert post(server.http, "/digest", body).body == expected
    headers = {"Transfer-Encoding": "chunked"}
    assert post(server.http, "/digest", chunked(body[:1000000], body[1000000:]), headers).body == expected


def test_expect_100_continue(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(request_bytes("POST", "/echo", {"Expect": "100-continue", "Content-Length": "4"}))
        assert connection.read("HEAD").status == 100
        response = connection.send(b"body").read()
        assert (response.status, response.body) == (200, b"body")


def test_a_body_that_did_not_wait_needs_no_100_continue(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(request_bytes("POST", "/echo", {"Expect": "100-continue"}, b"body"))
        response = connection.read()
        if response.status == 100:
            response = connection.read()
        assert (response.status, response.body) == (200, b"body")


def test_an_unread_body_does_not_spoil_the_next_request(server: Penstock) -> None:
    with Connection(server.http) as connection:
        assert connection.request("POST", "/unread", body=b"x" * 300000).body == b"did not look at the body"
        assert connection.request("GET", "/hello").body == b"Hello world"


# -- framing of responses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/hello", "/generator", "/write", "/large?size=100000"])
def test_head_has_no_body(server: Penstock, target: str) -> None:
    with Connection(server.http) as connection:
        assert connection.request("HEAD", target).status == 200
        # What follows shows that nothing was sent between.
        assert connection.request("GET", "/hello").body == b"Hello world"


def test_head_says_the_length_that_get_has(server: Penstock) -> None:
    with Connection(server.http) as connection:
        assert connection.request("HEAD", "/hello").header("content-length") == "11"


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_without_a_body(server: Penstock, code: int) -> None:
    with Connection(server.http) as connection:
        response = connection.request("GET", f"/status?code={code}")
        assert (response.status, response.body) == (code, b"")
        assert response.header("transfer-encoding") is None
        assert connection.request("GET", "/hello").body == b"Hello world"


def test_a_body_shorter_than_its_content_length_cuts_the_connection(server: Penstock) -> None:
    with Connection(server.http) as connection, pytest.raises(Cut) as cut:
        connection.request("GET", "/short")
    assert cut.value.data.endswith(b"12345")


def test_a_body_longer_than_its_content_length_is_cut_to_it(server: Penstock) -> None:
    with Connection(server.http) as connection:
        response = connection.request("GET", "/long")
        assert (response.framing, response.body) == ("length", b"12345")
        # The connection is either clean or closed; the rest of the body is never part of the next response.
        connection.send(request_bytes("GET", "/hello", {"Connection": "close"}))
        rest = connection.rest()
        assert rest == b"" or (rest.startswith(b"HTTP/1.1 200") and rest.endswith(b"Hello world"))


def test_headers_arrive_in_order_and_may_repeat(server: Penstock) -> None:
    response = get(server.http, "/headers")
    assert response.all("set-cookie") == ["a=1", "b=2"]
    assert response.header("x-one") == "1"


def test_a_header_can_not_smuggle_another(server: Penstock) -> None:
    response = get(server.http, "/bad-header")
    assert response.status == 500
    assert not response.all("x-injected")


# -- failures of the app -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/raise-before", "raised before start_response"),
        ("/raise-started", "raised after start_response"),
        ("/raise-first", "raised at the first piece"),
    ],
)
def test_an_exception_before_the_first_byte_is_a_500(server: Penstock, target: str, message: str) -> None:
    with Connection(server.http) as connection:
        response = connection.request("GET", target)
        assert response.status == 500
        assert b"Traceback" not in response.body, "the traceback is not the client's"
        assert message not in response.text
        server.wait_log(rf"RuntimeError: {message}")


@pytest.mark.parametrize("target", ["/raise-later", "/raise-later?length=1"])
def test_an_exception_after_the_first_byte_cuts_the_connection(server: Penstock, target: str) -> None:
    with Connection(server.http) as connection, pytest.raises(Cut) as cut:
        connection.request("GET", target)
    assert b"0\r\n\r\n" not in cut.value.data, "a chunked body must not look complete"
    server.wait_log("RuntimeError: raised after the first piece")


@pytest.mark.parametrize("target", ["/not-started", "/text", "/none", "/twice", "/system-exit"])
def test_an_app_that_breaks_the_rules_is_a_500(server: Penstock, target: str) -> None:
    since = len(server.log)
    assert get(server.http, target).status == 500
    until("something in the log", lambda: len(server.log) > since)
    assert get(server.http, "/hello").status == 200


# -- limits ------------------------------------------------------------------------------------------------------------


def status_of(address: str, data: bytes, method: str = "GET") -> int:
    """Status of the answer to raw `data`; the connection has to be closed after it."""
    with Connection(address) as connection:
        status = connection.send(data).read(method).status
        assert connection.is_closed(), f"{status}, and the connection stays open"
        return status


def test_48_kib_of_headers_are_taken(server: Penstock) -> None:
    assert get(server.http, "/hello", {"X-Big": "x" * 48 * 1024}).status == 200


def test_a_head_above_the_limit_is_a_431(server: Penstock) -> None:
    assert status_of(server.http, request_bytes("GET", "/hello", {"X-Big": "x" * 70 * 1024})) == 431


def test_too_many_headers_are_a_431(server: Penstock) -> None:
    fields = [(f"X-{number}", "v") for number in range(2000)]
    assert status_of(server.http, request_bytes("GET", "/hello", fields)) == 431


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Length", "3"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "3"), ("Content-Length", "4")],
        [("Content-Length", "+3")],
        [("Content-Length", "-3")],
        [("Content-Length", "99999999999999999999999")],
        [("Content-Length", "0x3")],
        [("Transfer-Encoding", "chunked, chunked")],
        [("Transfer-Encoding", "chunked, identity")],
        [("Host", "a"), ("Host", "b")],
        [("X-Fold", "a\r\n b")],
        [("X Space", "a")],
    ],
)
def test_ambiguous_framing_is_refused(server: Penstock, fields: list[tuple[str, str]]) -> None:
    assert status_of(server.http, request_bytes("POST", "/echo", fields) + b"abc") in (400, 501)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /hello HTTP/1.1\n\n",
        b"GET /hello HTTP/1.1\r\n\r\n",
        b"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /he\0llo HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G@T /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_http_is_refused(server: Penstock, data: bytes) -> None:
    assert status_of(server.http, data + b"\r\n\r\n") == 400


def test_an_unsupported_version_is_refused(server: Penstock) -> None:
    assert status_of(server.http, b"GET /hello HTTP/3.0\r\nHost: a\r\n\r\n") in (400, 505)


def test_an_unknown_transfer_coding_is_a_501(server: Penstock) -> None:
    assert status_of(server.http, request_bytes("POST", "/echo", {"Transfer-Encoding": "gzip, chunked"})) == 501


def test_a_broken_chunk_is_a_400(server: Penstock) -> None:
    for body in (b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcX\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n"):
        assert status_of(server.http, request_bytes("POST", "/echo", {"Transfer-Encoding": "chunked"}) + body) == 400


@pytest.fixture(scope="module")
def limited() -> Iterator[Penstock]:
    """An instance with small limits and short timeouts."""
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--limit-post", "1000", "--http-timeout", "1",
        "--socket-timeout", "1", "--header-limit", "2048",
    ) as instance:  # fmt: skip
        yield instance


@pytest.mark.option("limit-post")
def test_a_body_above_limit_post_is_a_413(limited: Penstock) -> None:
    assert post(limited.http, "/echo", b"x" * 1000).status == 200
    assert post(limited.http, "/echo", b"x" * 1001).status == 413
    with Connection(limited.http) as connection:
        connection.send(request_bytes("POST", "/echo", {"Expect": "100-continue", "Content-Length": "1001"}))
        assert connection.read().status == 413, "before the body was asked for"
    with Connection(limited.http) as connection:
        connection.send(request_bytes("HEAD", "/echo", {"Content-Length": "1001"}))
        assert connection.read("HEAD").status == 413 and connection.is_closed(), "and HEAD has no body"


def test_a_chunked_body_above_limit_post_is_a_413(limited: Penstock) -> None:
    response = post(limited.http, "/echo", chunked(b"x" * 600, b"x" * 600), {"Transfer-Encoding": "chunked"})
    assert response.status == 413


@pytest.mark.option("header-limit")
def test_header_limit_lowers_the_limit(limited: Penstock) -> None:
    assert get(limited.http, "/hello", {"X-Big": "x" * 1000}).status == 200
    assert get(limited.http, "/hello", {"X-Big": "x" * 2100}).status == 431


def test_a_head_that_does_not_come_is_a_408(limited: Penstock) -> None:
    with Connection(limited.http) as connection:
        assert connection.send(b"GET /hello HTTP/1.1\r\nHost:").read().status == 408
        assert connection.is_closed()


@pytest.mark.option("socket-timeout")
def test_a_body_that_does_not_come_is_a_408(limited: Penstock) -> None:
    with Connection(limited.http) as connection:
        connection.send(request_bytes("POST", "/echo", {"Content-Length": "10"}) + b"abc")
        assert connection.read().status == 408


# -- the wrong protocol ------------------------------------------------------------------------------------------------


def test_the_wrong_protocol_is_recognised_and_named() -> None:
    """On both kinds of socket the log says what came and what to do about it."""
    with Penstock("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py") as instance:
        with connect(instance.http) as sock:
            sock.sendall(uwsgi_packet(uwsgi_variables("/hello")))
            sock.recv(1000)
        line = instance.wait_log("^.*uwsgi was sent to an HTTP socket.*$")[0]
        assert "proxy_pass" in line
        with Connection(instance.uwsgi) as connection:
            connection.send(request_bytes("GET", "/hello"))
            connection.rest()
        line = instance.wait_log("^.*HTTP was sent to a uwsgi socket.*$")[0]
        assert "uwsgi_pass" in line
