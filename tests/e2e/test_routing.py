"""Rules in a started server, over HTTP and uwsgi: what each option does, and what a hostile client can not do."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Response, get, request_bytes, uwsgi_exchange, uwsgi_packet, uwsgi_request
from tests.e2e.clients import uwsgi_variables as variables
from tests.e2e.harness import APPS, Penstock, run_penstock

ANY = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APPS / "seen.py", "--threads", "2")


def seen(response: Response) -> dict[str, str]:
    """The environ that the app got."""
    assert response.status == 200, response
    environ: dict[str, str] = json.loads(response.body)
    return environ


def site(*rules: str, options: tuple[str | Path, ...] = ()) -> Penstock:
    """A server with rules, written `option = value`."""
    words = [word for rule in rules for word in (f"--{rule.split(' = ')[0]}", rule.split(" = ", 1)[1])]
    return Penstock(*ANY, *options, *words)


SUBJECTS = {
    "route": ("^/a$", "^/b$"),
    "route-host": ("^example", "^other"),
    "route-qs": ("x=1", "y=1"),
    "route-referer": ("there", "^here"),
    "route-remote-addr": ("^127|^192", "^10[.]"),
    "route-remote-user": ("^$", "joe"),
    "route-uri": ("^/a[?]x", "^/a$"),
    "route-user-agent": ("browser", "robot"),
}


@pytest.mark.parametrize("way", ["http", "uwsgi"])
@pytest.mark.option(
    "route", "route-host", "route-qs", "route-referer",
    "route-remote-addr", "route-remote-user", "route-uri", "route-user-agent",
    "response-route", "response-route-host", "response-route-qs", "response-route-referer",
    "response-route-remote-addr", "response-route-remote-user", "response-route-uri", "response-route-user-agent",
    "final-route", "final-route-host", "final-route-qs", "final-route-referer",
    "final-route-remote-addr", "final-route-remote-user", "final-route-uri", "final-route-user-agent",
)  # fmt: skip
def test_every_subject_in_every_stage(subjects: Penstock, way: str) -> None:
    before = len(subjects.log)
    if way == "http":
        headers = {"Host": "example.org", "Referer": "there", "User-Agent": "browser"}
        response = get(subjects.http, "/a?x=1", headers)
    else:
        response = uwsgi_request(subjects.uwsgi, "/a?x=1", HTTP_REFERER="there", HTTP_USER_AGENT="browser")
    for number, name in enumerate(SUBJECTS):
        assert response.all(f"X-Request-{number}") == ["yes"], name
        assert response.all(f"X-Response-{number}") == ["yes"], name
        subjects.wait_log(f"^finished {number} yes$", since=before)
    assert "no" not in [value for _, value in response.headers]
    assert not re.search(r"^finished \d no$", subjects.log[before:], re.M)


@pytest.fixture(scope="module")
def subjects() -> Iterator[Penstock]:
    rules = []
    for number, (name, patterns) in enumerate(SUBJECTS.items()):
        for pattern, word in zip(patterns, ("yes", "no"), strict=True):
            rules += [
                f"{name} = {pattern} addheader:X-Request-{number}: {word}",
                f"response-{name} = {pattern} addheader:X-Response-{number}: {word}",
                f"final-{name} = {pattern} log:finished {number} {word}",
            ]
    with site(*rules) as instance:
        yield instance


@pytest.mark.option(
    "route-if", "route-if-not", "route-run", "route-label",
    "response-route-if", "response-route-if-not", "response-route-run", "response-route-label",
    "final-route-if", "final-route-if-not", "final-route-run", "final-route-label",
    "response-route-status", "final-route-status",
)  # fmt: skip
def test_conditions_jumps_and_the_status_in_every_stage() -> None:
    rules = []
    for prefix, what in (("", "addheader:A: {}"), ("response-", "addheader:B: {}"), ("final-", "log:final {}")):
        rules += [
            f"{prefix}route-if = equal:${{QUERY_STRING}};jump goto:end",
            f"{prefix}route-if-not = empty:${{QUERY_STRING}} {what.format('query')}",
            f"{prefix}route-run = {what.format('always')}",
            f"{prefix}route-label = end",
            f"{prefix}route-run = {what.format('end')}",
        ]
    rules += ["response-route-status = ^503 addheader:B: unwell", "final-route-status = ^503 log:final unwell"]
    with site(*rules) as instance:
        for target, expected in (
            ("/a", ["always", "end"]),
            ("/a?x", ["query", "always", "end"]),
            ("/a?jump", ["end"]),
            ("/unwell", ["always", "end", "unwell"]),
        ):
            before = len(instance.log)
            response = get(instance.http, target)
            assert response.all("A") == expected[:3] if "unwell" not in expected else ["always", "end"]
            assert response.all("B") == expected
            instance.wait_log(r"^\[pid.*", since=before)
            assert re.findall(r"^final (\w+)$", instance.log[before:], re.M) == expected


def test_answers_keep_the_connection_and_are_logged() -> None:
    with (
        site("route = ^/gone return:410", "route = ^/away redirect:/there", "route = ^/end break:403") as instance,
        Connection(instance.http) as connection,
    ):
        gone = connection.request("GET", "/gone")
        assert (gone.status, gone.body, gone.framing) == (410, b"Gone", "length")
        assert connection.request("HEAD", "/gone").body == b""
        posted = connection.request("POST", "/away", body=b"x" * 300000)
        assert (posted.status, posted.header("Location")) == (302, "/there")
        assert seen(connection.request("GET", "/app"))["PATH_INFO"] == "/app"
        # Answers of a pipeline come in order, whoever gives them.
        connection.send(b"".join(request_bytes("GET", path) for path in ("/gone", "/app", "/away", "/gone")))
        assert [connection.read().status for _ in range(4)] == [410, 200, 302, 410]
        ended = connection.request("GET", "/end")
        assert (ended.status, ended.body, ended.header("Connection")) == (403, b"", "close")
        assert connection.is_closed()
        instance.wait_log(r"GET /gone => generated 4 bytes in \d+ msecs \(HTTP/1.1 410\)")
        assert uwsgi_request(instance.uwsgi, "/gone").status == 410
        with Connection(instance.http) as once:
            old = once.send(b"GET /gone HTTP/1.0\r\nHost: a\r\n\r\n").rest()
        assert old.startswith(b"HTTP/1.1 410 Gone\r\n") and b"Connection: close" in old


def test_a_connection_can_be_ended_without_an_answer() -> None:
    with site("route = ^/drop break:") as instance:
        with Connection(instance.http) as connection:
            connection.send(request_bytes("GET", "/drop"))
            assert connection.is_closed()
        with Connection(instance.http) as connection:
            connection.send(request_bytes("GET", "/app") + request_bytes("GET", "/drop"))
            assert connection.read().status == 200
            assert connection.is_closed()
        assert uwsgi_exchange(instance.uwsgi, uwsgi_packet(variables("/drop"))) == b""
        assert get(instance.http, "/after").status == 200


@pytest.mark.parametrize("way", ["http", "uwsgi"])
def test_the_app_sees_what_rules_changed(way: str) -> None:
    with site(
        "route = ^/p/(.*) setpathinfo:/new/$1",
        "route-run = setscriptname:/mounted",
        "route-run = addvar:HTTP_X_USER=joe",
        "route-run = addvar:SEEN=${PATH_INFO}",
        "route-run = setscheme:https",
        "route-run = setuser:joe",
        "route-run = setremoteaddr:203.0.113.9",
    ) as instance:
        if way == "http":
            environ = seen(get(instance.http, "/p/%ff", {"X-User": "root"}))
            assert environ["PATH_INFO"] == "/new/\xff"
        else:
            environ = seen(uwsgi_request(instance.uwsgi, "/p/\xff", HTTP_X_USER="root", REMOTE_USER="root"))
        assert environ["PATH_INFO"] == environ["SEEN"] == "/new/\xff"
        assert (environ["SCRIPT_NAME"], environ["HTTP_X_USER"]) == ("/mounted", "joe")
        assert (environ["wsgi.url_scheme"], environ["REMOTE_USER"]) == ("https", "joe")
        assert environ["REMOTE_ADDR"] == "203.0.113.9"
        instance.wait_log(r"\(joe\) \{\d+ vars in")
        # What one request was given is not there in the next, on the same thread.
        assert "SEEN" in seen(get(instance.http, "/q"))


def test_rules_choose_among_several_applications(tmp_path: Path) -> None:
    app = "def application(environ, start_response):\n    start_response('200 OK', [])\n"
    app += "    return [f\"{NAME} {environ['SCRIPT_NAME']} {environ['PATH_INFO']}\".encode()]\n"
    for name in ("shop", "blog"):
        (tmp_path / f"{name}.py").write_text(f"NAME = {name!r}\n{app}")
    mounts = ("--mount", f"/shop={tmp_path}/shop.py", "--mount", f"/blog={tmp_path}/blog.py", "--manage-script-name")
    with site(
        "route = ^/old/(.*) setscriptname:/blog",
        "route = ^/old/(.*) setpathinfo:/$1",
        "route = ^/named setscriptname:/shop",
        options=mounts,
    ) as instance:
        assert get(instance.http, "/shop/cart").body == b"shop /shop /cart"
        assert get(instance.http, "/old/entry").body == b"blog /blog /entry"
        assert get(instance.http, "/named").body == b"shop /shop /named"
        assert uwsgi_request(instance.uwsgi, "/old/entry").body == b"blog /blog /entry"


def test_variables_are_those_that_the_app_sees() -> None:
    with site(
        "route-run = addvar:A=${HTTP_X_MANY}|${HTTP_COOKIE}|${HTTP_HOST}|${HTTP_PROXY}|${HTTP_X_UNDER}",
        "route-run = addvar:B=${REMOTE_ADDR}|${HTTPS}|${CONTENT_LENGTH}|${CONTENT_TYPE}",
        "route-run = addvar:C=${cookie[b]}|${qs[q]}|${uwsgi[wid]}",
        "route-run = addvar:D=${uwsgi[uuid]}",
    ) as instance:
        with Connection(instance.http) as connection:
            connection.send(
                b"POST http://absolute.example/x?q=%20 HTTP/1.1\r\nHost: absolute.example\r\nX-Many: 1\r\nx-many: 2\r\n"
                b"Cookie: a=1\r\nCookie: b=2\r\nProxy: p\r\nX_Under: u\r\nX-Forwarded-For: 203.0.113.7\r\n"
                b"X-Forwarded-Proto: https\r\nContent-Type: text/x\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            )
            environ = seen(connection.read("POST"))
        assert environ["A"] == "1, 2|a=1; b=2|absolute.example||"
        assert environ["A"].split("|")[:2] == [environ["HTTP_X_MANY"], environ["HTTP_COOKIE"]]
        assert environ["B"] == "203.0.113.7|on|3|text/x"
        assert environ["C"] == "2|%20|1"
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", environ["D"])
        assert seen(get(instance.http))["D"] != environ["D"]


def test_headers_of_files_and_of_errors_are_changed_too(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("body {}")
    rules = ("route-run = addheader:X-Frame-Options: DENY", "response-route-status = ^[245] addheader:X-Late: yes")
    with site(*rules, "route = ^/none return:404", options=("--static-map", f"/s={tmp_path}")) as instance:
        for target, status in (("/s/a.css", 200), ("/none", 404), ("/app", 200)):
            response = get(instance.http, target)
            assert response.status == status
            assert (response.header("X-Frame-Options"), response.header("X-Late")) == ("DENY", "yes")


def test_files_of_rules(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.css").write_text("body {}")
    (files / "big.bin").write_bytes(b"x" * 300000)
    (tmp_path / "secret").write_text("secret")
    (files / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "files-beside").mkdir()
    (tmp_path / "files-beside" / "x").write_text("secret")
    with (
        site(
            f"route = ^/f/(.*) static:{files}/$1",
            f"route = ^/pre/(.*) static:{files}/a$1",
            f"route = ^/one static:{files}/a.css",
        ) as instance,
        Connection(instance.http) as connection,
    ):
        found = connection.request("GET", "/f/a.css")
        assert (found.body, (found.header("Content-Type") or "")[:8]) == (b"body {}", "text/css")
        assert connection.request("GET", "/f/big.bin").body == b"x" * 300000
        assert connection.request("GET", "/f/a.css", {"Range": "bytes=0-3"}).body == b"body"
        tag = {"If-None-Match": found.header("ETag") or ""}
        assert connection.request("GET", "/f/a.css", tag).status == 304
        assert connection.request("GET", "/one").body == b"body {}"
        assert connection.request("GET", "/pre/.css").body == b"body {}"
        posted = connection.request("POST", "/f/a.css", body=b"x")
        assert (posted.status, posted.header("Allow")) == (405, "GET, HEAD")
        for target in (
            *("/f/none", "/f/", "/f/%2e%2e/secret", "/f/..%2fsecret", "/f/out", "/f//etc/passwd", "/f/%2fetc/passwd"),
            *("/f/..%2ffiles-beside/x", "/pre/..%2f..%2fsecret", "/pre/%2f..%2f..%2fsecret", "/f/.."),
        ):
            response = connection.request("GET", target)
            assert response.status in (404, 200) and b"secret" not in response.body and b"root:" not in response.body
            assert response.status == 404 or json.loads(response.body), target


def test_only_who_knows_the_password_is_let_in() -> None:
    def says(text: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    with site("route = ^/in basicauth:My Site,joe:secret", "route = ^/in addheader:X-In: yes") as instance:
        refused = get(instance.http, "/in")
        assert (refused.status, refused.body, refused.header("X-In")) == (401, b"Unauthorized", None)
        assert refused.header("WWW-Authenticate") == 'Basic realm="My Site", charset="UTF-8"'
        for wrong in ("joe:secre", "joe:secret2", "joe:", "joe", ":secret", "Joe:secret", "", "joe:secret\0"):
            assert get(instance.http, "/in", says(wrong)).status == 401, wrong
        assert get(instance.http, "/in", [*says("joe:secret").items(), *says("a:b").items()]).status == 401
        response = get(instance.http, "/in", says("joe:secret"))
        assert (seen(response)["REMOTE_USER"], response.header("X-In")) == ("joe", "yes")
        assert seen(get(instance.http, "/out")).get("REMOTE_USER") is None
        word = says("joe:secret")["Authorization"]
        assert seen(uwsgi_request(instance.uwsgi, "/in", HTTP_AUTHORIZATION=word))["REMOTE_USER"] == "joe"
        assert uwsgi_request(instance.uwsgi, "/in", REMOTE_USER="joe").status == 401


def test_lines_and_no_lines_in_the_log() -> None:
    with site(
        "route = ^/health donotlog:",
        "route = ^/l log:hello ${PATH_INFO}",
        "response-route = ^/r donotlog:",
        "final-route = ^/f donotlog:",
    ) as instance:
        for path in ("/health", "/r", "/f", "/l%0a[pid: 1|app: forged]", "/seen"):
            get(instance.http, path.replace(" ", "%20"))
        instance.wait_log("GET /seen ")
        assert not re.search(r"GET /(health|r|f) ", instance.log)
        assert "hello /l\\x0A[pid: 1|app: forged]\n" in instance.log
        assert not re.search(r"^\[pid: 1\|app: forged\]", instance.log, re.M)


# -- hostile clients ---------------------------------------------------------------------------------------------------


def test_no_header_comes_out_of_a_path() -> None:
    with site(
        "route = (?s)^/h/(.*) addheader:X-Path: $1",
        "route = (?s)^/r/(.*) redirect:/to/$1",
        "route = (?s)^/x(.*) redirect:$1",
        "response-route = (?s)^/h/(.*) addheader:X-Late: $1",
    ) as instance:
        for break_ in ("%0d%0a", "%0a", "%0d", "%0d%0a%20"):
            response = get(instance.http, f"/h/a{break_}Injected:%20yes")
            assert response.status == 200
            assert [response.header(name) for name in ("Injected", "X-Path", "X-Late")] == [None] * 3
            response = get(instance.http, f"/r/a{break_}Injected:%20yes")
            assert response.status == 302 and response.header("Injected") is None
            assert (response.header("Location") or "").startswith("/to/a%")
        instance.wait_log("route: the header X-Path was left out")
        instance.wait_log("response-route: the header X-Late was left out")
        for target in (
            "/x//evil.example",
            "/x///evil.example/",
            "/x/%5cevil.example",
            "/x/%09/evil.example",
            "/x%5c%5ce",
        ):
            location = get(instance.http, target).header("Location") or ""
            assert not location.startswith(("//", "/\\", "\\")), target
            assert location.startswith(("/", "%")), target


def test_what_a_client_sends_is_no_template() -> None:
    with site("route = ^/t/(.*) addheader:X-Echo: $1", "route-run = addheader:X-Agent: ${HTTP_USER_AGENT}") as instance:
        response = get(instance.http, "/t/${HTTP_AUTHORIZATION}$1", {"Authorization": "secret", "User-Agent": "${A}$0"})
        assert response.header("X-Echo") == "${HTTP_AUTHORIZATION}$1"
        assert response.header("X-Agent") == "${A}$0"


def test_a_pattern_that_takes_too_long_lets_nobody_pass() -> None:
    with site(
        "route = ^/(?:a|aa)+(?<=a)! return:403",
        "route = (.*)x\\1y return:403",
        "route = ^/long(?!er) return:403",
    ) as instance:
        assert get(instance.http, "/aaa").status == 200
        assert get(instance.http, "/aaa!").status == 403
        begun = time.monotonic()
        for target in ("/" + "a" * 4000, "/" + "x" * 30000):
            response = get(instance.http, target)
            assert (response.status, response.body) == (500, b"Internal Server Error")
        # The time of a computation is no wait: this is far above what it takes, and far below what it would take.
        assert time.monotonic() - begun < 15
        instance.wait_log(r"route: comparing its pattern took too long; the request was answered with 500")
        assert get(instance.http, "/aaa").status == 200


def test_texts_have_a_longest_length() -> None:
    doubling = [f"route-if = startswith:${{PATH_INFO}};/d addvar:V{n + 1}=${{V{n}}}${{V{n}}}" for n in range(24)]
    with site("route-run = addvar:V0=${PATH_INFO}", *doubling) as instance:
        assert get(instance.http, "/short").status == 200
        assert get(instance.http, "/d" + "x" * 1000).status == 500
        instance.wait_log("it makes a text that is too long")
        assert get(instance.http, "/short").status == 200


def test_a_wrong_rule_stops_the_start_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text(
        "[uwsgi]\nhttp = :0\nmodule = a\nroute = ^/admin basicauht:Realm,u:hunter2\nroute = ^/( return:404\n"
    )
    done = run_penstock("a.ini", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "a.ini:4: route = ^/admin basicauht:...: there is no action basicauht; did you mean basicauth?" in done.stderr
    )
    assert "hunter2" not in done.stderr + done.stdout
    assert "a.ini:5: route = ^/( return:404" in done.stderr and "Traceback" not in done.stderr


def test_rules_of_real_configurations(tmp_path: Path) -> None:
    (tmp_path / "site.ini").write_text(
        f"[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = {APPS}/seen.py\n"
        "route = ^/health/ donotlog:\nroute = ^/health/ continue:\nroute = ^/metrics donotlog:\n"
        "route-user-agent = ^ELB-HealthChecker/.* donotlog:\n"
        "route-label = tls\nroute-if = equal:${HTTP_X_FORWARDED_PROTO};http redirect-permanent:https://${HTTP_HOST}${REQUEST_URI}\n"
        "route-if-not = startswith:${PATH_INFO};/static/ addheader:Cache-Control: no-store\n"
        "route-run = addheader:Strict-Transport-Security: max-age=31536000\n"
    )
    with Penstock(tmp_path / "site.ini") as instance:
        assert seen(get(instance.http, "/health/"))["PATH_INFO"] == "/health/"
        response = get(instance.http, "/a?b", {"Host": "site.example", "X-Forwarded-Proto": "http"})
        assert (response.status, response.header("Location")) == (301, "https://site.example/a?b")
        response = get(instance.http, "/a", {"X-Forwarded-Proto": "https"})
        assert response.header("Cache-Control") == "no-store"
        assert response.header("Strict-Transport-Security") == "max-age=31536000"
        assert get(instance.http, "/static/x").header("Cache-Control") is None
        instance.wait_log("GET /static/x ")
        assert "GET /health/ " not in instance.log
