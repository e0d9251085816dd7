"""Sends a case to a live server, and says what was wrong with what came of it.

A judge needs an address that serves `app.py` with one process and one thread, and nothing of Penstock. What it finds is
a text; an empty one means that nothing is wrong. Requests that follow a case on its connection are canaries: whether
one is served, and as what, shows how the server read the case.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.clients import Connection, Cut, get, request_bytes

# The last request of its connection, so that the server ends it.
CANARY = request_bytes("GET", "/canary", {"Connection": "close"})


@dataclass(frozen=True)
class Request:
    """A request as a strict reader of the bytes sees it, and as the app must."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True)
class Case:
    """Bytes for one connection; `expected` is what a strict reader finds in them before it refuses the rest."""

    name: str
    data: bytes
    expected: tuple[Request, ...] = ()
    # The status that refuses what `expected` leaves over; 0 for any, or for none where everything is expected.
    status: int = 0
    # Environ keys that must not be there, and none may have this value.
    forbidden: tuple[str, ...] = ()
    # The server may end the connection before the last request, as it does after a failure of the app.
    may_end: bool = False


@dataclass
class Answers:
    """What came back on a connection: complete responses, and what followed them."""

    responses: list[tuple[int, bytes]] = field(default_factory=list)
    # Bytes of a response that never became complete.
    cut: bytes = b""
    # Something that is no response at all.
    fault: str = ""
    open: bool = False


def collect(connection: Connection, methods: Iterable[str]) -> Answers:
    """Read one response for each of `methods`, strictly, until the server closes or sends nothing more."""
    answers = Answers()
    for method in methods:
        try:
            response = connection.read(method)
            while response.status == 100:
                # The body was asked for, because it came later than its head.
                response = connection.read(method)
        except Cut as cut:
            answers.cut = cut.data
            return answers
        except ConnectionResetError:
            answers.cut = connection.buffer
            return answers
        except TimeoutError:
            answers.cut, answers.open = connection.buffer, True
            return answers
        except (AssertionError, ValueError) as error:
            answers.fault = str(error) or "not a response"
            return answers
        answers.responses.append((response.status, response.body))
        if response.framing == "close":
            return answers
    try:
        answers.open = not connection.is_closed()
    except AssertionError as error:
        answers.fault = str(error)
    return answers


@dataclass
class Witness:
    """What the app saw since it was last asked, through its own `/seen`."""

    pid: int
    seen: list[dict[str, Any]]
    cwd: str
    path: list[str]
    prefix: str
    environment: dict[str, str]


def ask(address: str) -> Witness:
    """Ask the app over a connection of its own; it forgets what it tells."""
    return Witness(**json.loads(get(address, "/seen").body))


def send(connection: Connection, data: bytes, cuts: Sequence[int] = ()) -> None:
    """Send `data` in pieces that end at `cuts`; a server that has refused and closed already is no error here."""
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError):
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            connection.send(data[start:end])


def judge(address: str, case: Case, cuts: Sequence[int] = (), timeout_s: float = 10.0, strict: bool = True) -> str:
    """Send the case with a canary behind it. Not `strict`: refusing what is valid is safe as well."""
    with Connection(address, timeout_s) as connection:
        send(connection, case.data + CANARY, cuts)
        methods = [request.method for request in case.expected]
        # One more for the refusal, or for a canary that must not be there.
        answers = collect(connection, [*methods, "GET", "GET"])
    witness = ask(address)
    return judge_answers(case, answers, strict) or judge_seen(case, witness.seen, strict)


def judge_answers(case: Case, answers: Answers, strict: bool) -> str:
    statuses = [status for status, _ in answers.responses]
    if answers.fault:
        return f"not HTTP came back: {answers.fault}"
    if answers.cut:
        return f"half a response came back: {answers.cut[:100]!r}"
    if answers.open and case.status:
        return f"it was neither refused nor closed; {statuses} came"
    beyond = statuses[len(case.expected) :]
    if case.status and any(status < 400 for status in beyond):
        return f"{beyond} came for what has to be refused"
    if len(beyond) > 1:
        return f"{len(beyond)} responses came for one refusal: {beyond}"
    if strict and case.status and beyond != [case.status]:
        return f"{beyond} came instead of {case.status}"
    if strict and not case.status and beyond:
        return f"{beyond} came for requests that were not sent"
    return ""


def judge_seen(case: Case, seen: list[dict[str, Any]], strict: bool) -> str:
    found = [Request(entry["method"], entry["path"], entry["body"].encode("latin-1")) for entry in seen]
    expected = list(case.expected)
    if case.may_end and found == expected[:-1]:
        expected = found
    if found != (expected if strict else expected[: len(found)]):
        return f"the app saw {found} instead of {expected}"
    for entry in seen:
        for name, value in entry["headers"].items():
            if name in case.forbidden or value in case.forbidden:
                return f"the app got {name}={value!r}"
    return ""


def outcome(address: str, target: str, method: str = "GET", body: bytes = b"", timeout_s: float = 20.0) -> str:
    """One request with a canary behind it: "STATUS BODY", "cut" (incomplete, and visibly so) or "fault: TEXT"."""
    with Connection(address, timeout_s) as connection:
        send(connection, request_bytes(method, target, (), body) + CANARY)
        answers = collect(connection, [method, "GET"])
    if answers.fault:
        return f"fault: {answers.fault}"
    if not answers.responses:
        return "fault: neither an answer nor an end" if answers.open else "cut"
    if answers.cut or answers.open or answers.responses[1:] not in ([], [(200, b"GET 0")]):
        return f"fault: {answers.responses[1:]} {answers.cut!r} came behind the response"
    status, content = answers.responses[0]
    return f"{status} {content.decode('latin-1')}".strip()
