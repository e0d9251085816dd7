"""The uwsgi protocol, packet by packet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.clients import (
    Connection,
    chunked,
    uwsgi_exchange,
    uwsgi_packet,
    uwsgi_request,
    uwsgi_variables,
)
from tests.e2e.harness import APPS, Penstock


def environ(server: Penstock, target: str = "/environ", **more: Any) -> dict[str, Any]:
    response = uwsgi_request(server.uwsgi, target, **more)
    assert response.status == 200
    found: dict[str, Any] = json.loads(response.body)
    return found


@pytest.mark.option("socket")
def test_hello(server: Penstock) -> None:
    response = uwsgi_request(server.uwsgi, "/hello")
    assert (response.version, response.status, response.body) == ("HTTP/1.1", 200, b"Hello world")


def test_variables_arrive_as_they_were_sent(server: Penstock) -> None:
    found = environ(server, "/environ/a%20b?x=1&y=2", HTTP_X_OWN="v", Host="h", EMPTY="", HTTP_LATIN="\xe9")
    assert found["PATH_INFO"] == "/environ/a%20b"
    assert found["QUERY_STRING"] == "x=1&y=2"
    assert found["REQUEST_URI"] == "/environ/a%20b?x=1&y=2"
    assert (found["HTTP_X_OWN"], found["Host"], found["EMPTY"], found["HTTP_LATIN"]) == ("v", "h", "", "\xe9")
    assert (found["REMOTE_ADDR"], found["SERVER_NAME"], found["SERVER_PORT"]) == ("192.0.2.7", "example.org", "80")


def test_duplicate_variables_the_last_wins(server: Penstock) -> None:
    packet = uwsgi_packet([*uwsgi_variables("/environ"), ("HTTP_X", "one"), ("HTTP_X", "two")])
    body = uwsgi_exchange(server.uwsgi, packet).partition(b"\r\n\r\n")[2]
    assert json.loads(body)["HTTP_X"] == "two"


def test_body(server: Penstock) -> None:
    body = b"b" * 200000
    assert uwsgi_request(server.uwsgi, "/echo", "POST", body).body == body


def test_a_response_without_a_length_ends_with_the_connection_and_is_not_chunked(server: Penstock) -> None:
    response = uwsgi_request(server.uwsgi, "/generator")
    assert response.body == b"piece 0\npiece 1\npiece 2\n"
    assert response.header("transfer-encoding") is None


def test_a_chunked_body_is_not_what_uwsgi_carries(server: Penstock) -> None:
    # nginx has decoded it before, and says the length.
    response = uwsgi_request(server.uwsgi, "/echo", "POST", chunked(b"abc"), HTTP_TRANSFER_ENCODING="chunked")
    assert response.body == chunked(b"abc")


def test_modifier_30_takes_script_name_off_the_path(server: Penstock) -> None:
    found = environ(server, "/sub/environ", modifier1=30, SCRIPT_NAME="/sub")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/sub", "/environ")


def test_ping(server: Penstock) -> None:
    assert uwsgi_exchange(server.uwsgi, b"\x64\x00\x00\x00") == b"\x64\x00\x00\x01"


@pytest.mark.parametrize(("variables", "scheme"), [
    ({}, "http"),
    ({"HTTPS": "on"}, "https"),
    ({"UWSGI_SCHEME": "https"}, "https"),
])  # fmt: skip
def test_scheme(server: Penstock, variables: dict[str, str], scheme: str) -> None:
    assert environ(server, **variables)["wsgi.url_scheme"] == scheme


def test_a_full_block_is_taken(server: Penstock) -> None:
    variables = uwsgi_variables("/hello")
    used = len(uwsgi_packet(variables)) - 4
    name = "HTTP_COOKIE"
    packet = uwsgi_packet([*variables, (name, "c" * (65535 - used - 4 - len(name)))])
    assert packet[1:3] == b"\xff\xff"
    assert uwsgi_exchange(server.uwsgi, packet).startswith(b"HTTP/1.1 200")


def test_a_dynamic_app_on_the_wire_is_not_loaded(server: Penstock) -> None:
    assert uwsgi_request(server.uwsgi, "/hello", UWSGI_FILE="/etc/hosts", UWSGI_MODULE="os").body == b"Hello world"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00",
        uwsgi_packet([("", "value")]),
        b"\x00\x06\x00\x00\xff\x00abcd",
        b"\x00\x02\x00\x00ab",
    ],
)
def test_a_broken_packet_closes_the_connection_and_nothing_else(server: Penstock, data: bytes) -> None:
    answer = uwsgi_exchange(server.uwsgi, data)
    assert not answer or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4"))
    assert uwsgi_request(server.uwsgi, "/hello").status == 200


def test_the_client_may_send_in_pieces(server: Penstock) -> None:
    packet = uwsgi_packet(uwsgi_variables("/echo", "POST", b"body"), b"body")
    with Connection(server.uwsgi) as connection:
        for position in range(len(packet)):
            connection.send(packet[position : position + 1])
        assert connection.rest().endswith(b"\r\n\r\nbody")


def test_a_failing_app_is_a_500(server: Penstock) -> None:
    assert uwsgi_request(server.uwsgi, "/raise-before").status == 500


def test_head_and_304_have_no_body(server: Penstock) -> None:
    assert uwsgi_request(server.uwsgi, "/hello", "HEAD").body == b""
    assert uwsgi_request(server.uwsgi, "/status?code=304").body == b""


def test_variables_of_the_servers_own_can_not_be_set_from_outside(server: Penstock) -> None:
    found = environ(server, **{"uwsgi.node": "evil", "wsgi.url_scheme": "evil", "wsgi.own": "evil"})
    assert "evil" not in json.dumps(found)


def test_a_request_without_a_method_is_refused_with_the_cause() -> None:
    """What nginx sends when `include uwsgi_params;` is missing."""
    with Penstock("--socket", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py") as instance:
        answer = uwsgi_exchange(instance.uwsgi, uwsgi_packet([("HTTP_HOST", "example.org")]))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"include uwsgi_params" in answer
        instance.wait_log("^.*no-request-method.*include uwsgi_params.*$")
