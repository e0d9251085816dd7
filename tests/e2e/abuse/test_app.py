"""An app that breaks the rules of WSGI (PEP 3333) harms its own request, and nothing else.

Each case is a request with a canary behind it on the same connection: its response has to be framed correctly or cut
visibly, the canary answered as if nothing had happened, and the worker the same process as before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.abuse import cases, judge
from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, Cut, get, request_bytes, uwsgi_request
from tests.e2e.harness import Penstock, until

OK = "200 12345"
ERROR = "500"
CUT = "cut"
# What the log says of a request that failed, however it failed.
NOTED = r"the app raised an exception on "


def plain(result: str) -> str:
    """An outcome without the text of an error page, which is the server's own."""
    return ERROR if result.startswith("500 ") else result


# -- statuses and headers ----------------------------------------------------------------------------------------------


def unescaped(text: str) -> str:
    """The escapes of the corpus: \\r, \\n, \\t, \\0 and \\xHH."""
    letters = {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}
    return re.sub(
        r"\\(?:x([0-9a-fA-F]{2})|([rnt0]))", lambda match: letters.get(match[2]) or chr(int(match[1], 16)), text
    )


def head_of(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """Status and headers of a case in tests/cases/response."""
    status, *lines = path.read_text().removesuffix("\n").split("\n")
    pairs = (line.split(" => ", 1) if " => " in line else (line.removesuffix(" =>"), "") for line in lines)
    return unescaped(status), [(unescaped(name), unescaped(value)) for name, value in pairs]


def respond(server: Penstock, status: str, headers: list[tuple[str, str]], body: str = "12345") -> str:
    said = json.dumps({"status": status, "headers": headers, "body": body}).encode()
    result = judge.outcome(server.http, "/respond", "POST", said)
    over_uwsgi = uwsgi_request(server.uwsgi, "/respond", "POST", said)
    assert over_uwsgi.status == int(result.partition(" ")[0]), "both protocols answer the same"
    return result


INVALID_HEADS = list(cases.corpus("response/invalid", ".txt"))
VALID_HEADS = list(cases.corpus("response/valid", ".txt"))


@pytest.mark.parametrize("path", INVALID_HEADS, ids=lambda path: path.stem)
def test_a_head_that_can_not_be_sent_is_a_500(unharmed: Penstock, path: Path) -> None:
    assert plain(respond(unharmed, *head_of(path))) == ERROR
    unharmed.wait_log(NOTED + "POST /respond")


@pytest.mark.parametrize("path", VALID_HEADS, ids=lambda path: path.stem)
def test_a_valid_head_is_sent(unharmed: Penstock, path: Path) -> None:
    status, headers = head_of(path)
    bodiless = status.startswith(("204", "304"))
    assert respond(unharmed, status, headers) == (status[:3] if bodiless else f"{status[:3]} 12345")


FRAMING_HEADERS = (
    ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity"), ("transfer-encoding", "gzip"),
    ("Content-Length", "+5"), ("Content-Length", "-5"), ("Content-Length", "0x5"), ("Content-Length", "5_0"),
    ("Content-Length", "5 5"), ("Content-Length", "5, 5"), ("Content-Length", ""), ("Content-Length", "five"),
    ("Content-Length", "99999999999999999999999"), ("Content-Length", "5.0"), ("Content-Length", "\xb2"),
)  # fmt: skip


@pytest.mark.parametrize("header", FRAMING_HEADERS, ids="=".join)
def test_a_header_that_would_break_the_framing_is_a_500(unharmed: Penstock, header: tuple[str, str]) -> None:
    assert plain(respond(unharmed, "200 OK", [header])) == ERROR


def test_two_lengths_of_the_app_are_a_500_unless_they_agree(unharmed: Penstock) -> None:
    assert plain(respond(unharmed, "200 OK", [("Content-Length", "5"), ("content-length", "6")])) == ERROR
    assert respond(unharmed, "200 OK", [("Content-Length", "5"), ("content-length", "5")]) == OK


@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Upgrade", "TE", "Trailer", "Proxy-Authenticate"])
@pytest.mark.parametrize("value", ["close", "keep-alive", "upgrade", "timeout=5", "x"])
def test_hop_by_hop_headers_of_the_app_do_not_confuse_the_connection(unharmed: Penstock, name: str, value: str) -> None:
    assert plain(respond(unharmed, "200 OK", [(name, value)])) in (OK, ERROR)


TYPES = (
    "status-none", "status-int", "status-bytes", "status-not-latin", "status-surrogate", "headers-none",
    "headers-tuple", "headers-dict", "headers-of-str", "headers-of-three", "headers-of-one", "name-bytes", "name-none",
    "value-bytes", "value-int", "value-none", "value-not-latin", "value-surrogate",
)  # fmt: skip


@pytest.mark.parametrize("which", TYPES)
def test_wrong_types_in_start_response_are_a_500(unharmed: Penstock, which: str) -> None:
    assert plain(judge.outcome(unharmed.http, f"/types?is={which}")) == ERROR


@pytest.mark.parametrize("target", ["/huge?mib=1", "/huge?mib=4", "/huge?mib=1&many=1", "/huge?mib=4&many=1"])
def test_a_huge_head_is_sent_whole(unharmed: Penstock, target: str) -> None:
    assert judge.outcome(unharmed.http, target) == "200 ok"


@pytest.mark.parametrize(
    ("target", "result"),
    [
        ("/twice", ERROR),
        ("/second_try", "200 second"),
        ("/replaced", "503 12345"),
        ("/replaced_twice", "502 12345"),
        ("/replaced_late", CUT),
    ],
)
def test_start_response_again(unharmed: Penstock, target: str, result: str) -> None:
    assert plain(judge.outcome(unharmed.http, target)) == result


# -- bodies and their lengths ------------------------------------------------------------------------------------------

WAYS = ("list", "tuple", "pieces", "write", "mixed")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("said", "result"), [("5", OK), ("005", OK), ("3", "200 123"), ("0", "200"), ("4", "200 1234"), ("6", CUT)]
)
def test_a_body_never_leaves_its_length(unharmed: Penstock, how: str, said: str, result: str) -> None:
    assert judge.outcome(unharmed.http, f"/length?is={said}&how={how}") == result
    # An even larger one, which no buffer holds back.
    if said == "6":
        assert judge.outcome(unharmed.http, f"/length?is=99999999&how={how}") == CUT


@pytest.mark.parametrize("how", ["list", "pieces", "write"])
@pytest.mark.parametrize("code", [200, 201, 204, 205, 206, 302, 304, 404, 500, 599])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("length", ["", "&length=1"])
def test_a_body_where_there_must_be_none(unharmed: Penstock, method: str, code: int, how: str, length: str) -> None:
    found = judge.outcome(unharmed.http, f"/status?is={code}&how={how}{length}", method)
    assert found == (f"{code}" if method == "HEAD" or code in (204, 304) else f"{code} 12345")


@pytest.mark.parametrize("code", [100, 101, 102, 103, 199])
def test_an_app_can_not_send_an_interim_response(unharmed: Penstock, code: int) -> None:
    assert plain(judge.outcome(unharmed.http, f"/status?is={code}")) == ERROR


RESULTS = {
    "none": ERROR, "number": ERROR, "text": ERROR, "bytes": OK, "dict": OK, "strings": ERROR, "numbers": ERROR,
    "nested": ERROR, "nones": ERROR, "bytearray": ERROR, "string-later": CUT, "string-first": ERROR,
    "none-first": ERROR, "none-later": CUT, "empty": "200", "empties": "200", "no-pieces": "200",
    "empty-pieces": "200", "not-started": ERROR, "class": ERROR, "lying-length": OK, "iter-fails": ERROR,
    "close-fails": OK, "close-exits": OK, "close-not-callable": OK, "close-none": OK, "million": "200 " + "x" * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("which", RESULTS)
def test_results_that_are_none(unharmed: Penstock, which: str) -> None:
    assert plain(judge.outcome(unharmed.http, f"/returns?is={which}")) == RESULTS[which]


@pytest.mark.parametrize("which", ["text", "none", "number", "list"])
def test_write_takes_only_bytes(unharmed: Penstock, which: str) -> None:
    assert plain(judge.outcome(unharmed.http, f"/writes?is={which}")) == ERROR
    assert plain(judge.outcome(unharmed.http, f"/writes?is={which}&late=1")) == CUT


def test_reading_at_and_beyond_the_end_of_the_body(unharmed: Penstock) -> None:
    expected = ["", "lin", "", "e one\n", "line two\n", "rest", "", "", "", "", "", "", ""]
    found = judge.outcome(unharmed.http, "/inputs?none=1", "POST", b"line one\nline two\nrest")
    assert json.loads(found.removeprefix("200 ")) == expected


# -- exceptions --------------------------------------------------------------------------------------------------------

EXCEPTIONS = (
    "error", "exit-0", "exit-3", "exit-text", "exit-none", "exit-object", "interrupt", "generator-exit",
    "stop-iteration", "stop-async-iteration", "rude", "memory", "out-of-memory", "recursion", "unprintable",
    "surrogate", "line-ends", "long", "chained", "group", "connection-reset", "broken-pipe", "timeout",
)  # fmt: skip
MOMENTS = {"call": ERROR, "started": ERROR, "first": ERROR, "written": CUT, "later": CUT, "close": "200 sent"}


@pytest.mark.parametrize("at", MOMENTS)
@pytest.mark.parametrize("which", EXCEPTIONS)
def test_an_exception_ends_its_request_only(unharmed: Penstock, which: str, at: str) -> None:
    since = len(unharmed.log)
    assert plain(judge.outcome(unharmed.http, f"/raises?is={which}&at={at}")) == MOMENTS[at]
    if at != "close":
        unharmed.wait_log(rf"{NOTED}GET /raises\?is={which}&at={at}", since=since)


def test_what_an_exception_says_can_not_forge_a_line_of_the_log(unharmed: Penstock) -> None:
    since = len(unharmed.log)
    forged = quote("\r\n[INFO] forged line\x1b[31m")
    for target in (f"/raises?is=error&at=call&x={forged}", f"/{forged}", f"/raises/{forged}?is=error&at=call"):
        get(unharmed.http, target)
        path, _, query = target.partition("?")
        info = path.replace("%0D%0A", "\r\n").replace("%1B", "\x1b")
        uwsgi_request(unharmed.uwsgi, target, QUERY_STRING=query, PATH_INFO=info)
    unharmed.wait_log(NOTED, since=since)
    lines = unharmed.log[since:].splitlines()
    assert not [line for line in lines if line.startswith("[INFO] forged") or "\x1b" in line]


# -- what the process shares -------------------------------------------------------------------------------------------

SPOILT = {
    "environ": OK, "environ-keys": OK, "stderr-none": ERROR, "stderr-back": OK, "stderr-broken": ERROR,
    "excepthook": ERROR, "excepthook-back": OK, "stdout-closed": OK, "garbage": OK, "chdir": OK, "signals": OK,
    "recursion-limit": OK, "start-response": OK, "old-start-response": "200 ValueError",
}  # fmt: skip


def test_damage_to_what_the_process_shares() -> None:
    """One instance of its own, because some of it lasts."""
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APP, "--master") as server:
        pid = judge.ask(server.http).pid
        for which, result in SPOILT.items():
            found = plain(judge.outcome(server.http, f"/spoils?is={which}"))
            assert found == result.replace("12345", "spoilt"), which
            assert judge.ask(server.http).pid == pid, which


@pytest.mark.parametrize(("which", "status"), [("exit", 3), ("raise", 1), ("gone", 4), ("return", 0)])
def test_a_fork_in_a_request(unharmed: Penstock, which: str, status: int) -> None:
    assert judge.outcome(unharmed.http, f"/forks?is={which}") == f"200 {status}"


# -- the end of a worker -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Penstock]:
    """Two workers of one thread each, and a request log that is not needed."""
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    with Penstock(*listen, "--wsgi-file", APP, "--processes", "2", "--disable-logging") as instance:
        yield instance


def both(server: Penstock, but: Sequence[int] = ()) -> list[int]:
    """The two workers, once there are two, and not the same two as `but`."""
    found = server.workers()
    return found if len(found) == 2 and found != but else []


@pytest.mark.parametrize("sent", ["", "&sent=1"])
@pytest.mark.parametrize("how", ["exit", "abort", "kill", "segv"])
def test_a_worker_that_dies_takes_one_request_with_it(two_workers: Penstock, how: str, sent: str) -> None:
    server = two_workers
    before = until("two workers", lambda: both(server))
    with Connection(server.http) as connection, pytest.raises((Cut, ConnectionResetError)):
        connection.request("GET", f"/dies?is={how}{sent}")
    # Not one of these waits for the replacement, or fails.
    for _ in range(20):
        assert get(server.http, "/neighbour").body == b"GET 0"
    after = until("a replacement", lambda: both(server, before))
    assert len(set(before) & set(after)) == 1, "the other worker is the same as before"


def test_a_worker_is_no_victim_of_sigterm_that_the_app_sends(two_workers: Penstock) -> None:
    """The master controls it through its pipe: SIGTERM of somebody else is ignored."""
    before = until("two workers", lambda: both(two_workers))
    assert get(two_workers.http, "/dies?is=term").body == b"survived"
    assert two_workers.workers() == before


def test_what_is_pipelined_behind_a_fatal_request_is_not_served(two_workers: Penstock) -> None:
    """A request behind the fatal one is never served by anybody, because nobody can know whether it was.

    The answer to the one before may be lost with it: answers of one read leave together.
    """
    until("two workers", lambda: len(two_workers.workers()) == 2)
    with Connection(two_workers.http) as connection:
        connection.send(request_bytes("GET", "/before") + request_bytes("GET", "/dies?is=exit") + judge.CANARY)
        answers = judge.collect(connection, ["GET", "GET", "GET"])
    assert answers.responses in ([], [(200, b"GET 0")])
    assert not answers.fault
    until("two workers", lambda: len(two_workers.workers()) == 2)
