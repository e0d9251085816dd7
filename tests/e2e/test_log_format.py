"""Which requests are logged, and how their lines look: beside uWSGI where it writes the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.options.log_variables import VARIABLES
from tests.e2e.clients import connect, get, uwsgi_request
from tests.e2e.harness import APPS, Penstock, until
from tests.e2e.original import Original

APP = APPS / "logged.py"
SNOWMAN = "☃".encode().decode("latin-1")


def start(*options: str | Path) -> Penstock:
    return Penstock("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", APP, *options)


def lines_of(log: str, mark: str) -> list[str]:
    """The lines that begin with `mark`, without it."""
    return [line.removeprefix(mark) for line in log.splitlines() if line.startswith(mark)]


def logged(instance: Penstock, *targets: str, mark: str = "LINE ") -> list[str]:
    """Ask for each target, end the instance, and return the lines."""
    for target in targets:
        get(instance.http, target)
    return lines_of(instance.stop(), mark)


@pytest.mark.option("log-format")
def test_a_format_with_all_that_the_app_and_the_client_say() -> None:
    form = "LINE %(method) %(uri) %(status) %(rsize) [%(who)] %(var.HTTP_X_THING) %(var.QUERY_STRING) %(nothing) %d %%"
    with start("--log-format", form) as instance:
        get(instance.http, "/var/ann?a=1", {"X-Thing": "it is"})
        get(instance.http, "/var/a%22b")
        uwsgi_request(instance.uwsgi, "/plain", HTTP_X_THING="thing")
        assert logged(instance) == [
            "GET /var/ann?a=1 200 3 [ann] it is a=1 - %d %%",
            r"GET /var/a%22b 200 3 [a\x22b] - - - %d %%",
            "GET /plain 200 11 [-] thing - - %d %%",
        ]


@pytest.mark.option("log-format")
def test_nobody_writes_lines_or_fields_of_his_own() -> None:
    form = 'LINE "%(uri)" "%(uagent)" "%(referer)" "%(user)" "%(who)" end'
    with start("--log-format", form) as instance:
        # Line ends are refused before anything is logged; what the app says may have them.
        evil = 'a "b" \\ \x1b[2J \x7f'
        told = dict.fromkeys(("REQUEST_URI", "HTTP_USER_AGENT", "HTTP_REFERER", "REMOTE_USER"), evil)
        assert uwsgi_request(instance.uwsgi, "/x", **told).status == 200
        get(instance.http, "/var/a%0D%0ALINE%20forged")
        get(instance.http, "/raw", {"User-Agent": "caf\xe9 \xff"})
        lines = logged(instance)
    assert len(lines) == 3
    assert all(re.fullmatch(r'("[^"]*" ){5}end', line) and line.isascii() and line.isprintable() for line in lines)
    assert lines[0].startswith(r'"a\x20\x22b\x22\x20\x5C\x20\x1B[2J\x20\x7F" "a \x22b\x22 \x5C \x1B[2J \x7F" "a ')
    assert lines[1].endswith(r' "a\x0D\x0ALINE forged" end')


EVIL = (
    *('"', "\\", "\t", "\x01\x1f\x7f", "\xc3\xa9\xff\xfe", SNOWMAN, "{}", "a" * 6000, '"\\' * 3000, SNOWMAN * 2000),
    "\x01" * 6000,
)


@pytest.mark.option("log-format")
@pytest.mark.parametrize("form", ["json", '{"uri":"%(uri)","ua":"%(uagent)","s":%(status),"who":"%(who)"}'])
def test_json_is_always_json(form: str, short_dir: Path) -> None:
    with start("--log-format", form, "--req-logger", f"file:{short_dir}/requests.log") as instance:
        for evil in EVIL:
            headers = ("HTTP_USER_AGENT", "HTTP_REFERER", "HTTP_HOST", "HTTP_X_REQUEST_ID")
            others = ("REQUEST_URI", "REMOTE_USER", "SERVER_PROTOCOL", "REMOTE_ADDR")
            assert uwsgi_request(instance.uwsgi, "/x", **dict.fromkeys((*headers, *others), evil)).status == 200
        get(instance.http, "/var/%0D%0A%22", {"User-Agent": "caf\xe9 \xff"})
        instance.stop()
        lines = (short_dir / "requests.log").read_bytes().splitlines()
    assert len(lines) == len(EVIL) + 1
    values = [json.loads(line) for line in lines]
    assert all(len(line) < 4096 for line in lines)
    assert [values[0]["uri"], values[1]["uri"], values[2]["uri"], values[5]["uri"]] == ['"', "\\", "\t", "☃"]
    assert values[4]["uri"] == "é\xff\xfe"
    assert values[-1].get("who", '\r\n"') == '\r\n"'


def test_json_tells_request_id_queue_time_and_app_time() -> None:
    with start("--log-format", "json", "--threads", "1") as instance:
        get(instance.http, "/slow", {"X-Request-ID": "abc-1", "X-Request-Start": "t=1.5"})
        lines = logged(instance, "/hello", mark="")
    slow, fast = (json.loads(line) for line in lines if line.startswith("{"))
    assert slow["request_id"] == "abc-1" and re.fullmatch("[0-9a-f]{32}", fast["request_id"])
    assert 40_000 <= slow["app_micros"] <= slow["micros"] and slow["queue_micros"] < slow["micros"]
    assert slow["uri"] == "/slow" and slow["status"] == 200 and slow["body_bytes"] == 11


def test_combined_is_what_log_analysers_read() -> None:
    with start("--log-format", "combined") as instance:
        get(instance.http, "/a?b", {"User-Agent": "me (1.0)", "Referer": "http://x/"})
        (line,) = [line for line in logged(instance, mark="") if "GET" in line]
    form = r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /a\?b HTTP/1\.1" 200 11 "http://x/" '
    assert re.fullmatch(form + r'"me \(1\.0\)"', line)


@pytest.mark.option("log-format-strftime", "log-date")
def test_ftime_follows_log_date_and_lines_of_the_server_begin_with_it() -> None:
    with start("--log-format", "LINE %(ftime)", "--log-format-strftime", "--log-date=<%Y> day %j") as instance:
        get(instance.http, "/x")
        text = instance.stop()
        (line,) = lines_of(text, "LINE ")
        assert re.fullmatch(r"<\d{4}> day \d{3}", line)
        dated = r"^<\d{4}> day \d{3} - "
        for said in ("spawned worker 1", "penstock .* is ready", "WSGI app 0"):
            assert re.search(dated + said, text, re.M), said
    with start("--log-date") as instance:
        get(instance.http, "/print/?printed")
        get(instance.http, "/raise")
        text = instance.stop()
        ctime = r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} - "
        assert re.search(ctime + "goodbye", text, re.M)
        assert re.search(ctime + r"the app raised an exception on GET /raise$", text, re.M)
        assert re.search(r"^printed$", text, re.M), "what the app prints is left as it is"
        assert re.search(r"^\[pid: ", text, re.M)


@pytest.mark.option("log-micros", "memory-report")
def test_the_default_line_with_microseconds_and_memory() -> None:
    with start("--log-micros", "--memory-report") as instance:
        (line,) = logged(instance, "/slow", mark="{address space usage: ")
    match = re.match(r"(\d+) bytes/(\d+)MB\} \{rss usage: (\d+) bytes/(\d+)MB\} \[pid: .* in (\d+) micros \(HTTP", line)
    assert match
    space, space_m, rss, rss_m, micros = map(int, match.groups())
    assert space > rss > 1 << 20 and (space_m, rss_m) == (space >> 20, rss >> 20)
    assert micros >= 40_000


@pytest.mark.option("log-x-forwarded-for")
def test_the_address_that_a_proxy_tells() -> None:
    told = {"X-Forwarded-For": "192.0.2.1, 198.51.100.2"}
    with start("--log-x-forwarded-for", "--log-format", "LINE %(addr)") as instance:
        get(instance.http, "/", told)
        uwsgi_request(instance.uwsgi, "/", HTTP_X_FORWARDED_FOR="192.0.2.9")
        assert logged(instance, "/none") == ["192.0.2.1, 198.51.100.2", "192.0.2.9", "127.0.0.1"]
    with start("--log-x-forwarded-for", "--trusted-proxies", "none") as instance:
        get(instance.http, "/", told)
        assert "] 127.0.0.1 () {" in logged(instance, mark="[pid: ")[0]


TARGETS = ("/plain", "/status/404", "/status/503", "/empty", "/slow", "/big", "/file", "/this")


@pytest.mark.option("disable-logging", "log-4xx", "log-5xx", "log-zero", "log-slow", "log-big", "log-sendfile")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), []),
        (("--log-4xx",), ["/status/404"]),
        (("--log-5xx",), ["/status/503"]),
        (("--log-zero",), ["/empty"]),
        (("--log-slow", "40"), ["/slow"]),
        (("--log-big", "10000"), ["/big"]),
        (("--log-sendfile", "true"), ["/file"]),
        (("--log-sendfile", "false"), []),
        (("--log-4xx", "--log-5xx", "--log-zero"), ["/status/404", "/status/503", "/empty"]),
    ],
    ids=" ".join,
)
def test_what_is_logged_although_requests_are_not(options: tuple[str, ...], expected: list[str]) -> None:
    with start("--disable-logging", "--log-format", "LINE %(uri)", *options) as instance:
        # What the app itself asks for is always logged.
        assert logged(instance, *TARGETS) == [*expected, "/this"]


@pytest.mark.option("log-ioerror")
def test_a_client_that_left_is_logged() -> None:
    options = ("--disable-logging", "--log-ioerror", "1", "--response-buffer", "65536", "--response-spool", "0")
    with start(*options, "--log-format", "LINE %(uri) %(status) %(werr) %(rerr) %(ioerr)") as instance:
        with connect(instance.http) as client:
            client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)
        until("the line is there", lambda: lines_of(instance.log, "LINE "))
        assert logged(instance, "/plain") == ["/stream 499 1 0 1"]


# -- beside uWSGI


@pytest.fixture
def beside_uwsgi(short_dir: Path) -> Iterator[Callable[..., tuple[list[str], list[str]]]]:
    """Do the same requests with both; lines of uWSGI and of Penstock."""
    running: list[Original] = []

    def compare(ask: Callable[[str], int], *options: str) -> tuple[list[str], list[str]]:
        original = Original(short_dir / "uwsgi.log", APP, *options)
        running.append(original)
        requests = ask(original.address)
        # It logs after it has answered, and does not wait for that when it is stopped.
        until("uWSGI has logged them", lambda: original.log.read_text().count("|LINE|") == requests)
        log = original.stop()
        with Penstock("--http-socket", "127.0.0.1:0", "--wsgi-file", APP, *options) as instance:
            ask(instance.http)
            ours = instance.stop()
        return lines_of(log, "|LINE|"), lines_of(ours, "|LINE|")

    yield compare
    for original in running:
        original.process.kill()
        original.process.wait()


SAME = (
    *(
        "uri",
        "method",
        "user",
        "addr",
        "host",
        "proto",
        "uagent",
        "referer",
        "status",
        "rsize",
        "cl",
        "wid",
        "core",
        "switches",
    ),
    *("modifier1", "modifier2", "werr", "rerr", "ioerr", "var.HTTP_REFERER", "var.PATH_INFO", "var.NOTHING", "who"),
)
"""Variables with the same value in both; those of time, memory and sizes of heads are compared by their form."""
FORMS = {
    "hsize": r"\d+",
    "size": r"\d+",
    "pktsize": r"\d+",
    "micros": r"\d+",
    "msecs": r"\d+",
    "secs": r"\d+\.\d{6}",
    "epoch": r"\d{10}",
    "time": r"\d{10}",
    "tmsecs": r"\d{13}",
    "tmicros": r"\d{16}",
    "ctime": r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}",
    "ltime": r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "ftime": r"\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "pid": r"\d+",
    "vars": r"\d+",
    "headers": r"\d+",
    "rss": r"\d+",
    "vsz": r"\d+",
    "rssM": r"\d+",
    "vszM": r"\d+",
}
OURS = {"appmicros", "isotime", "qmicros", "reqid", "traceid"}


def test_every_variable_is_compared_with_uwsgi() -> None:
    assert {*SAME, *FORMS, *OURS} >= VARIABLES.keys()


def ask_for_everything(address: str) -> int:
    """Do some requests; return how many."""
    get(address, "/plain?q=1", {"User-Agent": "me (1.0)", "Referer": "http://x/", "Connection": "close"})
    for target in ("/status/404", "/empty", "/big", "/var/ann"):
        get(address, target, {"Connection": "close"})
    return 5


def test_variables_have_uwsgi_s_values(beside_uwsgi: Callable[..., tuple[list[str], list[str]]]) -> None:
    form = "|LINE|" + "|".join(f"%({name})" for name in SAME) + "|%d|%%|"
    theirs, ours = beside_uwsgi(ask_for_everything, "--log-format", form)
    assert len(theirs) == 5
    assert ours == theirs


def test_variables_of_time_and_size_have_uwsgi_s_form(beside_uwsgi: Callable[..., tuple[list[str], list[str]]]) -> None:
    form = "|LINE|" + "|".join(f"{name}=%({name})" for name in FORMS)
    theirs, ours = beside_uwsgi(ask_for_everything, "--log-format", form)
    assert len(theirs) == len(ours) == 5
    expected = r"\|".join(f"{name}={pattern}" for name, pattern in FORMS.items())
    for line in (*theirs, *ours):
        assert re.fullmatch(expected, line), line
