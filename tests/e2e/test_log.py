"""What a person finds in the log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.clients import get, post, uwsgi_request
from tests.e2e.harness import APPS, Penstock, until

REQUEST_LINE = (
    r"^\[pid: (?P<pid>\d+)\|app: (?P<app>-?\d+)\|req: (?P<req>-?\d+)/(?P<total>\d+)\] "
    r"(?P<addr>\S+) \((?P<user>[^)]*)\) "
    r"\{(?P<vars>\d+) vars in (?P<size>\d+) bytes\} \[(?P<time>\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4})\] "
    r"(?P<method>\S+) (?P<uri>\S+) => generated (?P<body>\d+) bytes in (?P<ms>\d+) msecs(?P<via>.*?) "
    r"\((?P<proto>\S+) (?P<status>\d+)\) (?P<headers>\d+) headers in (?P<hbytes>\d+) bytes "
    r"\((?P<switches>\d+) switches on core (?P<core>\d+)\)$"
)


def line_of(server: Penstock, since: int, uri: str) -> re.Match[str]:
    def probe() -> re.Match[str] | None:
        return next((m for m in re.finditer(REQUEST_LINE, server.log[since:], re.M) if m["uri"] == uri), None)

    return until(f"the line of {uri}\n{server.log[since:]}", probe)


def test_a_request_line_as_uwsgi_writes_it(server: Penstock) -> None:
    since = len(server.log)
    get(server.http, "/hello?in=the-log")
    line = line_of(server, since, "/hello?in=the-log")
    assert (line["method"], line["status"], line["body"], line["proto"]) == ("GET", "200", "11", "HTTP/1.1")
    assert line["addr"] == "127.0.0.1"
    assert int(line["pid"]) in server.workers()
    assert int(line["hbytes"]) > 20


def test_a_line_for_each_kind_of_answer(server: Penstock) -> None:
    since = len(server.log)
    post(server.http, "/echo?n=1", b"x" * 100)
    uwsgi_request(server.uwsgi, "/hello?n=2")
    get(server.http, "/raise-before?n=3")
    get(server.http, f"/file?path={APPS}/cases.py&n=4")
    assert line_of(server, since, "/echo?n=1")["body"] == "100"
    assert line_of(server, since, "/hello?n=2")["addr"] == "192.0.2.7"
    assert line_of(server, since, "/raise-before?n=3")["status"] == "500"
    line = line_of(server, since, f"/file?path={APPS}/cases.py&n=4")
    assert line["body"] == str((APPS / "cases.py").stat().st_size)
    assert "via sendfile()" in line["via"]


def test_a_client_can_not_write_lines_of_its_own(server: Penstock) -> None:
    since = len(server.log)
    uwsgi_request(server.uwsgi, "/hello?x", REQUEST_URI="/hello?forged\n[pid: 1|app: 0|req: 1/1] forged")
    get(server.http, "/hello?after")
    line_of(server, since, "/hello?after")
    assert not re.search(r"^\[pid: 1\|app: 0\|req: 1/1\] forged", server.log[since:], re.M)


@pytest.mark.option("disable-logging")
def test_disable_logging() -> None:
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--disable-logging") as instance:
        get(instance.http, "/hello")
        get(instance.http, "/raise-before")
        text = instance.stop()
        assert "GET /hello" not in text
        assert "raised before start_response" in text, "tracebacks are always printed"


@pytest.mark.option("logto")
def test_logto(short_dir: Path) -> None:
    log = short_dir / "app.log"
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--logto", log) as instance:
        address = re.search(r"bound to TCP address (\S+)", log.read_text() + instance.log)
        assert address
        get(address[1], "/hello")
        get(address[1], "/errors")
        until("all of it is in the file", lambda: re.search(r"GET /hello[^$]*a line by print", log.read_text()))
        assert "GET /hello" not in instance.log
