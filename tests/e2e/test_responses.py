"""Options of every response: headers, the size of a head, pages for errors, files without sendfile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, uwsgi_request
from tests.e2e.harness import APPS, Penstock, until

LISTEN = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
CASES = (*LISTEN, "--wsgi-file", APPS / "cases.py")


@pytest.mark.option("add-header")
def test_every_response_has_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"file")
    options = ("--add-header", "X-Frame-Options: DENY", "--add-header", "X-Empty:", "--static-map", f"/s={tmp_path}")
    with Penstock(*CASES, *options) as instance, Connection(instance.http) as connection:
        for path in ("/hello", "/s/a.txt", "/generator", "/nothing", "/raise_before", "/not-there"):
            answer = get(instance.http, path)
            assert (answer.header("x-frame-options"), answer.header("x-empty")) == ("DENY", ""), path
        assert uwsgi_request(instance.uwsgi, "/hello").header("x-frame-options") == "DENY"
        assert connection.request("HEAD", "/hello").header("x-frame-options") == "DENY"
        connection.send(b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n")
        refused = connection.read()
        assert (refused.status, refused.header("x-frame-options")) == (400, "DENY")


APP = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    size = int(environ["QUERY_STRING"] or 0)
    headers = [("X-Powered-By", "me"), ("Server", "mine"), ("X-Kept", "yes"), ("Content-Length", "2")]
    if size:
        headers.append(("X-Big", "x" * size))
    start_response("200 OK", headers)
    return [b"ok"]
"""


@pytest.mark.option("del-header")
def test_headers_that_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "a.txt").write_bytes(b"file")
    options = ("--del-header", "x-powered-by", "--rem-header", "SERVER", "--del-header", "ETag", "--add-header",
               "Server: other", "--static-map", f"/s={tmp_path}")  # fmt: skip
    with Penstock(*LISTEN, "--wsgi-file", tmp_path / "app.py", *options) as instance:
        answer = get(instance.http, "/")
        assert (answer.header("x-powered-by"), answer.header("server")) == (None, "other")
        assert (answer.header("x-kept"), answer.body, answer.framing) == ("yes", b"ok", "length")
        file = get(instance.http, "/s/a.txt")
        assert (file.header("etag"), file.body) == (None, b"file")
    with Penstock(*LISTEN, "--wsgi-file", tmp_path / "app.py", "--del-header", "Content-Length") as instance:
        assert get(instance.http, "/").body == b"ok"
    with Penstock(*CASES, "--del-header", "Content-Type") as instance:
        assert get(instance.http, "/raise_before").header("content-type") is not None, "the server's own are its own"


@pytest.mark.option("response-headers-limit")
def test_a_head_that_is_too_large_is_the_apps_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Penstock(*LISTEN, "--wsgi-file", tmp_path / "app.py", "--response-headers-limit", "1000") as instance:
        assert get(instance.http, "/?800").status == 200
        assert get(instance.http, "/?1000").status == 500
        until("the reason is logged", lambda: "response-headers-limit (1000 bytes)" in instance.log)
    with Penstock(*LISTEN, "--wsgi-file", tmp_path / "app.py") as instance:
        assert get(instance.http, "/?30000").status == 200


@pytest.mark.option("error-page-500")
def test_a_page_for_what_fails(tmp_path: Path) -> None:
    page = tmp_path / "sorry.html"
    page.write_bytes(b"<p>sorry</p>" * 5000)
    options = ("--error-page-500", tmp_path / "none.html", "--error-page-500", page)
    with Penstock(*CASES, *options) as instance:
        answer = get(instance.http, "/raise_before")
        assert (answer.status, answer.header("content-type"), answer.body) == (500, "text/html", page.read_bytes())
        assert uwsgi_request(instance.uwsgi, "/raise_before").body == page.read_bytes()
        with Connection(instance.http) as connection:
            assert connection.request("HEAD", "/raise_before").body == b""
        page.write_bytes(b"another")
        assert get(instance.http, "/raise_before").body == b"another"
        page.unlink()
        assert get(instance.http, "/raise_before").body == b"Internal Server Error"
        assert get(instance.http, "/hello").body == b"Hello world"


@pytest.mark.option("error-page-403", "error-page-404", "error-page-500", "route", "mount")
def test_pages_for_what_the_server_itself_refuses(tmp_path: Path) -> None:
    for status in (403, 404, 500):
        (tmp_path / f"{status}.html").write_text(f"<p>page {status}</p>")
    pages = [word for code in (403, 404, 500) for word in (f"--error-page-{code}", tmp_path / f"{code}.html")]
    rules = [f"^/r{status} return:{status}" for status in (401, 403, 404, 500)]
    rules += ["^/b403 break:403 Go away", f"^/file static:{tmp_path}/$1"]
    options = [*pages, "--add-header", "X-Added: yes", *(word for rule in rules for word in ("--route", rule))]
    with Penstock(*CASES, *options) as instance:
        for path, status in {"/r404": 404, "/r403": 403, "/b403": 403, "/r500": 500, "/file": 404}.items():
            for answer in (get(instance.http, path), uwsgi_request(instance.uwsgi, path)):
                assert (answer.status, answer.text) == (status, f"<p>page {status}</p>"), path
                assert (answer.header("content-type"), answer.header("x-added")) == ("text/html", "yes"), path
        with Connection(instance.http) as connection:
            assert connection.request("HEAD", "/r404").body == b""
            assert connection.request("GET", "/r404").text == "<p>page 404</p>"
        assert get(instance.http, "/r401").text == "Unauthorized"
        large = "<p>page 404</p>" * 5000
        (tmp_path / "404.html").write_text(large)
        assert get(instance.http, "/r404").text == uwsgi_request(instance.uwsgi, "/r404").text == large
        (tmp_path / "404.html").unlink()
        assert get(instance.http, "/r404").text == "Not Found"
        assert get(instance.http, "/hello").text == "Hello world"
    (tmp_path / "404.html").write_text("<p>page 404</p>")
    mounted = (*LISTEN, "--mount", f"/app={APPS}/cases.py", "--manage-script-name")
    with Penstock(*mounted, *options) as instance, Connection(instance.http) as connection:
        answer = connection.request("GET", "/nowhere")
        assert (answer.status, answer.text, answer.header("content-type")) == (404, "<p>page 404</p>", "text/html")
        assert answer.header("x-added") == "yes"
        assert connection.request("GET", "/app/hello").text == "Hello world", "and the connection goes on"
        assert uwsgi_request(instance.uwsgi, "/nowhere").text == "<p>page 404</p>"
    with Penstock(*mounted) as instance:
        assert get(instance.http, "/nowhere").text == "Not Found\n"


@pytest.mark.option("error-page-500")
def test_a_page_that_would_wait_for_a_writer_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "page.html")
    with Penstock(*CASES, "--error-page-500", tmp_path / "page.html") as instance:
        assert get(instance.http, "/raise_before").body == b"Internal Server Error"
        assert get(instance.http, "/hello").body == b"Hello world"


@pytest.mark.option("disable-sendfile")
def test_files_are_read_and_sent(tmp_path: Path) -> None:
    contents = bytes(range(256)) * 40960  # 10 MiB: more than the kernel takes at once
    (tmp_path / "big.bin").write_bytes(contents)
    with Penstock(*CASES, "--static-map", f"/s={tmp_path}", "--disable-sendfile") as instance:
        answer = get(instance.http, "/s/big.bin")
        assert answer.body == contents
        part = get(instance.http, "/s/big.bin", {"Range": "bytes=1000000-3000000"})
        assert (part.status, part.body) == (206, contents[1000000:3000001])
        assert uwsgi_request(instance.uwsgi, "/s/big.bin").body == contents


@pytest.mark.option("chunked-input-timeout")
def test_a_body_that_stops_coming() -> None:
    with Penstock(*CASES, "--chunked-input-timeout", "1") as instance, Connection(instance.http) as connection:
        connection.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        answer = connection.read()
        assert answer.status == 408
