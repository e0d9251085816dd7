"""WSGI (PEP 3333) as an app sees it, over both protocols, with wsgiref.validate around the app as the judge."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import penstock
from tests.e2e.clients import Connection, Response, chunked, get, post, request_bytes, uwsgi_request
from tests.e2e.harness import APPS, Penstock, until

# -- the environ -------------------------------------------------------------------------------------------------------


def http_environ(server: Penstock, target: str = "/environ", data: bytes | None = None) -> dict[str, Any]:
    with Connection(server.http) as connection:
        connection.send(data or request_bytes("GET", target))
        found: dict[str, Any] = json.loads(connection.read().body)
        return found


def test_environ_over_http(server: Penstock) -> None:
    fields = {
        "Host": "www.example.org:8080",
        "User-Agent": "tests",
        "X-Custom-Name": "value",
        "Content-Type": "text/x-test",
        "Cookie": "a=1",
    }
    found = http_environ(server, data=request_bytes("POST", "/environ/a%20b/%C3%A9?q=1%202", fields, b"body"))
    assert found["REQUEST_METHOD"] == "POST"
    assert found["SCRIPT_NAME"] == ""
    assert found["PATH_INFO"] == "/environ/a b/\xc3\xa9", "percent-decoded bytes as latin-1 (PEP 3333)"
    assert found["QUERY_STRING"] == "q=1%202"
    assert found["REQUEST_URI"] == "/environ/a%20b/%C3%A9?q=1%202"
    assert found["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert found["SERVER_PORT"] == server.http.rpartition(":")[2]
    assert found["SERVER_NAME"] == socket.gethostname()
    assert found["REMOTE_ADDR"] == "127.0.0.1"
    assert found["CONTENT_TYPE"] == "text/x-test"
    assert found["CONTENT_LENGTH"] == "4"
    assert found["HTTP_HOST"] == "www.example.org:8080"
    assert found["HTTP_USER_AGENT"] == "tests"
    assert found["HTTP_X_CUSTOM_NAME"] == "value"
    assert found["HTTP_COOKIE"] == "a=1"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & found.keys()


def test_names_and_values_are_those_of_this_request_however_many_came_before(server: Penstock) -> None:
    """The engine keeps names, their order and their last values between requests; none may leak into another."""
    with Connection(server.http) as connection:
        for number in range(700):
            fields = [(f"X-Name-{number}", "1"), ("x-MIXED-case", f"v{number % 3}"), ("X-Mixed-Case", "w")]
            if number % 2:
                fields.reverse()
            connection.send(
                request_bytes("HEAD" if number % 5 == 0 else "GET", f"/environ/{number % 7}?{number % 2}", fields)
            )
            response = connection.read("HEAD" if number % 5 == 0 else "GET")
            if number % 5 == 0:
                continue
            found = json.loads(response.body)
            assert found["PATH_INFO"] == f"/environ/{number % 7}" and found["QUERY_STRING"] == str(number % 2)
            assert found["REQUEST_METHOD"] == "GET"
            assert {key for key in found if key.startswith("HTTP_X_NAME_")} == {f"HTTP_X_NAME_{number}"}
            joined = [value for name, value in fields if name.lower() == "x-mixed-case"]
            assert found["HTTP_X_MIXED_CASE"] == ", ".join(joined)


def test_environ_over_http_without_a_body(server: Penstock) -> None:
    found = http_environ(server)
    assert not found.get("CONTENT_LENGTH")
    assert not found.get("CONTENT_TYPE")
    assert found["QUERY_STRING"] == ""


@pytest.mark.parametrize("protocol", ["http", "uwsgi"])
def test_the_wsgi_keys(server: Penstock, protocol: str) -> None:
    if protocol == "http":
        found = http_environ(server)
    else:
        found = json.loads(uwsgi_request(server.uwsgi, "/environ").body)
    assert found["wsgi.version"] == [1, 0]
    assert found["wsgi.url_scheme"] == "http"
    assert found["wsgi.run_once"] is False
    assert found["wsgi.multithread"] is True
    assert found["wsgi.multiprocess"] is False
    assert found["wsgi.input"].startswith("RequestBody:")
    assert "FileWrapper" in found["wsgi.file_wrapper"]
    assert "wsgi.errors" in found
    assert found["uwsgi.version"].startswith("bytes:")
    assert found["uwsgi.node"] == f"bytes:{socket.gethostname().encode()!r}"


def test_repeated_headers_are_joined(server: Penstock) -> None:
    fields = [("X-Twice", "a"), ("X-Twice", "b"), ("Cookie", "a=1"), ("Cookie", "b=2")]
    found = http_environ(server, data=request_bytes("GET", "/environ", fields))
    assert found["HTTP_X_TWICE"] in ("a,b", "a, b")
    assert found["HTTP_COOKIE"] == "a=1; b=2", "RFC 9110 5.2 and RFC 6265 5.4"


def test_a_header_with_an_underscore_can_not_pass_for_one_with_a_dash(server: Penstock) -> None:
    fields = [("X_Forwarded_For", "6.6.6.6"), ("X-Real", "1")]
    found = http_environ(server, data=request_bytes("GET", "/environ", fields))
    assert "6.6.6.6" not in found.get("HTTP_X_FORWARDED_FOR", "")


@pytest.mark.option("underscores-in-headers")
def test_underscores_in_headers_passes_them_on_and_never_over_one_with_a_dash() -> None:
    lookalikes = [("X_Real_Ip", "6.6.6.6"), ("X-Real-Ip", "1.2.3.4"), ("X_Real_Ip", "7.7.7.7")]
    fields = [
        *lookalikes,
        ("X_Token", "first"),
        ("X_Token", "second"),
        ("Content_Length", "5"),
        ("Proxy", "http://evil"),
    ]
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--underscores-in-headers") as server:
        found = http_environ(server, data=request_bytes("GET", "/environ", fields))
    assert found["HTTP_X_TOKEN"] == "first"
    assert found["HTTP_X_REAL_IP"] == "1.2.3.4"
    assert not {"CONTENT_LENGTH", "HTTP_CONTENT_LENGTH", "HTTP_PROXY"} & set(found)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/environ/../environ/x", "/environ/x"),
        ("/environ//x", "/environ//x"),
        ("/environ/%2e%2e/x", None),
        ("/environ/a%2Fb", "/environ/a/b"),
        ("/environ/+", "/environ/+"),
    ],
)
def test_path_info(server: Penstock, target: str, path: str | None) -> None:
    with Connection(server.http) as connection:
        response = connection.request("GET", target)
        if path is None:
            assert response.status in (200, 400, 404)
        else:
            assert json.loads(response.body)["PATH_INFO"] in (path, target)


def test_absolute_form(server: Penstock) -> None:
    found = http_environ(server, data=b"GET http://other.example/environ?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (found["PATH_INFO"], found["QUERY_STRING"]) == ("/environ", "x=1")
    assert found["HTTP_HOST"] == "other.example", "RFC 9112 3.2.2"


# -- the body ----------------------------------------------------------------------------------------------------------


def test_every_way_to_read(server: Penstock) -> None:
    body = b"abcdef\nsecond line\nthird\nfourth\nfifth"
    expected = {
        "read3": "abc",
        "line": "def\n",
        "line4": "seco",
        "lines": ["nd line\n"],
        "iterated": ["third\n", "fourth\n", "fifth"],
        "end": ["", "", ""],
    }
    assert json.loads(post(server.http, "/reads", body).body) == expected
    assert json.loads(uwsgi_request(server.uwsgi, "/reads", "POST", body).body) == expected


# -- the response ------------------------------------------------------------------------------------------------------


def test_write(server: Penstock) -> None:
    assert get(server.http, "/write").body == b"written before returned"


def test_start_response_with_exc_info(server: Penstock) -> None:
    response = get(server.http, "/exc-info")
    assert (response.status, response.body) == (503, b"replaced")


def test_start_response_with_exc_info_after_the_first_byte(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", "/exc-info-late"))
        data = connection.rest()
    assert data.startswith(b"HTTP/1.1 200")
    assert b"sent before" in data
    assert b"never" not in data
    assert not data.endswith(b"0\r\n\r\n")
    server.wait_log("ValueError: raised again")


def test_start_response_called_by_a_generator(server: Penstock) -> None:
    assert get(server.http, "/lazy-start").body == b"started late"


def test_no_body_at_all(server: Penstock) -> None:
    response = get(server.http, "/nothing")
    assert (response.status, response.body) == (200, b"")


def test_errors_and_print_go_to_the_log(server: Penstock) -> None:
    assert get(server.http, "/errors").status == 200
    server.wait_log("^a line for wsgi.errors$")
    server.wait_log("^two pieces$")
    server.wait_log("^a line by print$")


def closed(server: Penstock) -> list[str]:
    found: list[str] = json.loads(get(server.http, "/closed").body)
    return found


def test_close_is_called_once(server: Penstock) -> None:
    assert get(server.http, "/closing?name=whole").body == b"ab"
    assert [entry for entry in closed(server) if entry.startswith("whole:")] == ["whole:2"]


def test_close_is_called_after_an_exception(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", "/closing?name=failed&fails=1")).rest()
    assert [entry for entry in closed(server) if entry.startswith("failed:")] == ["failed:1"]


def test_close_is_called_for_head(server: Penstock) -> None:
    with Connection(server.http) as connection:
        connection.request("HEAD", "/closing?name=head")
    assert [entry.split(":")[0] for entry in closed(server)].count("head") == 1


def test_close_is_called_when_the_client_goes(server: Penstock) -> None:
    since = len(server.log)
    with Connection(server.http) as connection:
        connection.send(request_bytes("GET", "/endless?name=gone"))
        connection.read_head()
    until("close()", lambda: [entry for entry in closed(server) if entry.startswith("gone:")])
    assert "Traceback" not in server.log[since:], "a client that goes is no error of the app"


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "data.bin"
    path.write_bytes(bytes(range(256)) * 12000)  # 3 MB: several turns of sendfile
    return path


@pytest.fixture(params=["http", "uwsgi"])
def fetch(request: pytest.FixtureRequest, server: Penstock) -> Callable[[str], Response]:
    """GET over one of the protocols."""
    if request.param == "http":
        return lambda target: get(server.http, target)
    return lambda target: uwsgi_request(server.uwsgi, target)


def test_file_wrapper(fetch: Callable[[str], Response], data_file: Path) -> None:
    assert fetch(f"/file?path={data_file}").body == data_file.read_bytes()


def test_file_wrapper_starts_where_the_file_stands(fetch: Callable[[str], Response], data_file: Path) -> None:
    assert fetch(f"/file?path={data_file}&offset=1000").body == data_file.read_bytes()[1000:]


def test_file_wrapper_ends_at_content_length(fetch: Callable[[str], Response], data_file: Path) -> None:
    response = fetch(f"/file?path={data_file}&offset=1000&length=5000")
    assert response.body == data_file.read_bytes()[1000:6000]
    assert response.header("content-length") == "5000"


def test_file_wrapper_around_memory(fetch: Callable[[str], Response]) -> None:
    assert fetch("/file-like").body == b"from memory " * 1000


def test_file_wrapper_keeps_the_connection(server: Penstock, data_file: Path) -> None:
    with Connection(server.http) as connection:
        for length in (1, 100, 100000):
            body = connection.request("GET", f"/file?path={data_file}&length={length}").body
            assert body == data_file.read_bytes()[:length]
        assert connection.request("HEAD", f"/file?path={data_file}&length=100").body == b""
        assert connection.request("GET", "/hello").body == b"Hello world"


def test_a_file_does_not_stay_open(server: Penstock, data_file: Path) -> None:
    for _ in range(3):
        get(server.http, f"/file?path={data_file}")
    (worker,) = server.workers()

    def is_closed() -> bool:
        links = []
        for entry in Path(f"/proc/{worker}/fd").iterdir():
            try:
                links.append(str(entry.readlink()))
            except FileNotFoundError:
                continue
        return str(data_file) not in links

    until("the file is closed", is_closed)


# -- wsgiref.validate --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validated() -> Iterator[Penstock]:
    """apps/cases.py with wsgiref.validate around it."""
    with Penstock(
        "--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "validated.py", "--threads", "2"
    ) as instance:
        yield instance


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/hello", b""),
        ("GET", "/hello?a=b", b""),
        ("HEAD", "/hello", b""),
        ("OPTIONS", "/hello", b""),
        ("DELETE", "/hello", b""),
        ("POST", "/digest", b"a body"),
        ("PUT", "/digest", b"x" * 1_500_000),
        ("POST", "/unread", b"a body"),
        ("POST", "/hello", b""),
        ("GET", "/generator", b""),
        ("GET", "/write", b""),
        ("GET", "/nothing", b""),
        ("GET", "/exc-info", b""),
        ("GET", "/errors", b""),
        ("GET", "/headers", b""),
        ("GET", "/a%20path/that%20is/not/there", b""),
    ],
)
def test_wsgiref_validate(validated: Penstock, method: str, target: str, body: bytes) -> None:
    since = len(validated.log)
    expected = 404 if "not/there" in target else 503 if "exc-info" in target else 200
    with Connection(validated.http) as connection:
        assert connection.request(method, target, body=body).status == expected
        if body:
            request = request_bytes(method, target, {"Transfer-Encoding": "chunked"}, chunked(body))
            assert connection.send(request).read(method).status == expected
    assert uwsgi_request(validated.uwsgi, target, method, body).status == expected
    assert "AssertionError" not in validated.log[since:]
    assert "WSGIWarning" not in validated.log[since:]


def test_wsgiref_validate_finds_what_it_should(validated: Penstock) -> None:
    assert get(validated.http, "/none").status == 500
    validated.wait_log("AssertionError")


# -- the uwsgi module --------------------------------------------------------------------------------------------------


def test_version_in_environ(server: Penstock) -> None:
    assert re.search(re.escape(penstock.__version__) + r"|2\.0", http_environ(server)["uwsgi.version"])
