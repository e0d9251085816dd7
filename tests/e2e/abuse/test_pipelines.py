"""Random pipelines of valid requests, cut at random places, give exactly the expected answers in their order.

Everything that RFC 9112 leaves a sender free to choose is chosen at random: methods, targets, headers and their white
space, lengths or chunks with extensions and trailers, empty lines between requests, `Expect`, and how the bytes are
cut into packets. The same seed gives the same pipeline; a failure names its seed.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.abuse import judge
from tests.e2e.clients import Connection
from tests.e2e.harness import Penstock

APP = '''
import hashlib
import json

def application(environ, start_response):
    """Tell what came, in one of several framings of the response."""
    body = environ["wsgi.input"].read()
    found = [environ["REQUEST_METHOD"], environ["REQUEST_URI"], environ["PATH_INFO"], environ["QUERY_STRING"],
             environ.get("HTTP_X_CHECK", ""), len(body), hashlib.sha256(body).hexdigest()]
    answer = json.dumps(found).encode()
    how = len(body) % 4
    if environ["PATH_INFO"].startswith("/none"):
        start_response("204 No Content", [("X-Check", environ.get("HTTP_X_CHECK", ""))])
        return [b"never sent"]
    headers = [("X-Check", environ.get("HTTP_X_CHECK", ""))]
    if how == 0:
        start_response("200 OK", [*headers, ("Content-Length", str(len(answer)))])
        return [answer]
    if how == 1:
        start_response("200 OK", headers)
        return [answer]
    if how == 2:
        start_response("200 OK", headers)
        return iter([answer[:7], b"", answer[7:]])
    start_response("200 OK", [*headers, ("Content-Length", str(len(answer)))])(answer[:3])
    return iter([answer[3:]])
'''
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "M-SEARCH", "X!#$%&'*+.^_`|~9")
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
PATH = "abcXYZ019-._~!$&'()*+,;=:@/"
RESERVED = {"x-check", "host", "connection", "expect", "content-length", "transfer-encoding", "upgrade"}


@dataclass(frozen=True)
class Sent:
    """One request of a pipeline: its bytes, and what the app must say that it was."""

    data: bytes
    method: str
    expected: list[object]
    check: str
    # Whether the response has no body whatever the method.
    bodiless: bool


def white(choice: random.Random) -> bytes:
    """Optional white space around a field's value."""
    return bytes(choice.choices(b" \t", k=choice.choice((0, 1, 1, 1, 2, 5))))


def make_field(choice: random.Random) -> bytes:
    name = "".join(choice.choices(TOKEN, k=choice.randint(1, 20)))
    if name in RESERVED:
        name += "-"
    value = bytes(choice.choices([*range(0x21, 0x7F), *range(0x80, 0x100)], k=choice.choice((0, 1, 5, 40, 300))))
    return name.encode() + b":" + white(choice) + value + white(choice) + b"\r\n"


def make_chunks(choice: random.Random, body: bytes) -> bytes:
    data, at = b"", 0
    while at < len(body):
        size = min(choice.choice((1, 2, 7, 100, 4000, 70_000)), len(body) - at)
        digits = choice.choice((b"%x", b"%X", b"%04x")) % size
        extension = choice.choice((b"", b"", b"", b";a", b";a=b", b';a="x"', b";e=" + b"v" * 20))
        data += digits + extension + b"\r\n" + body[at : at + size] + b"\r\n"
        at += size
    data += choice.choice((b"0", b"000", b"0;last")) + b"\r\n"
    for _ in range(choice.choice((0, 0, 0, 1, 3))):
        data += make_field(choice)
    return data + b"\r\n"


def make_request(choice: random.Random, number: int) -> Sent:
    method = choice.choice(METHODS)
    none = choice.random() < 0.1
    path = ("/none/" if none else "/") + "".join(choice.choices(PATH, k=choice.choice((0, 1, 8, 60)))).lstrip("/")
    escaped = "".join(quote(letter, safe="") if choice.random() < 0.2 else letter for letter in path[1:])
    raw_target = path[0] + (escaped if not none else path[1:])
    query = "".join(choices) if (choices := choice.choices(PATH + "?%", k=choice.choice((0, 0, 3, 30)))) else ""
    target = raw_target + (f"?{query}" if query or choice.random() < 0.1 else "")
    check = f"{number}-{choice.random()}"
    body = choice.randbytes(choice.choice((0, 0, 0, 1, 2, 3, 50, 1000, 20_000, 300_000 if number % 7 == 0 else 5)))
    fields = [make_field(choice) for _ in range(choice.choice((0, 1, 3, 20)))]
    fields += [b"Host:" + white(choice) + b"localhost" + white(choice) + b"\r\n", f"x-ChecK: {check}\r\n".encode()]
    if choice.random() < 0.2:
        fields.append(b"Connection:" + choice.choice((b" keep-alive", b"", b" x-own, keep-alive ,")) + b"\r\n")
    content = body
    if choice.random() < 0.4:
        fields.append(choice.choice((b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:\tChunked \r\n")))
        content = make_chunks(choice, body)
    elif body or choice.random() < 0.3:
        fields.append(b"Content-Length: " + choice.choice((b"%d", b"%09d")) % len(body) + b"\r\n")
    if body and choice.random() < 0.1:
        fields.append(b"Expect: 100-continue\r\n")
    choice.shuffle(fields)
    line = f"{method} {target} HTTP/1.1\r\n".encode()
    data = b"\r\n" * choice.choice((0, 0, 0, 1, 2)) + line + b"".join(fields) + b"\r\n" + content
    expected: list[object] = [method, target, path, query, check, len(body), hashlib.sha256(body).hexdigest()]
    return Sent(data, method, expected, check, none)


def pipeline(server: Penstock, seed: int) -> None:
    """Send the pipeline of `seed` while its answers are read, and compare each."""
    choice = random.Random(seed)
    requests = [make_request(choice, number) for number in range(choice.choice((1, 2, 5, 30)))]
    data = b"".join(request.data for request in requests)
    cuts = sorted(choice.sample(range(1, len(data)), min(choice.choice((0, 1, 3, 40)), len(data) - 1)))
    with Connection(server.http) as connection:
        sender = threading.Thread(target=judge.send, args=(connection, data, cuts))
        sender.start()
        try:
            for number, request in enumerate(requests):
                # A HEAD and a request for nothing have no body; that of a 204 is known by its status.
                response = connection.read(request.method)
                while response.status == 100:
                    response = connection.read(request.method)
                where = f"request {number} of seed {seed}"
                assert response.status == (204 if request.bodiless else 200), where
                assert response.header("x-check") == request.check, where
                if request.bodiless or request.method == "HEAD":
                    assert response.body == b"", where
                else:
                    assert json.loads(response.body) == request.expected, where
                assert (response.header("connection") or "") != "close", where
        finally:
            if sender.is_alive() and connection.sock:
                connection.sock.settimeout(5)
            sender.join(20)
        connection.send(judge.CANARY)
        assert connection.read().status == 200
        assert connection.is_closed()


@pytest.fixture(scope="module", params=[1, 3], ids=["one-thread", "three-threads"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    path: Path = tmp_path_factory.mktemp("pipelines") / "app.py"
    path.write_text(APP)
    threads = ("--threads", str(request.param))
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", path, "--master", "--disable-logging", *threads) as instance:
        yield instance


def test_random_pipelines(server: Penstock) -> None:
    workers = server.workers()
    for seed in range(60):
        pipeline(server, seed)
    assert server.workers() == workers


@pytest.mark.stress
def test_stress_random_pipelines(server: Penstock) -> None:
    workers = server.workers()
    for seed in range(1000, 5000):
        pipeline(server, seed)
    assert server.workers() == workers
