"""One WSGI app with a path for each thing that an app may do, right or wrong (PEP 3333).

The first segment of the path names a function below. An app that has to wait for the test opens a FIFO, so that the
test decides when it goes on; only `rest` waits for a time, for the clients of a load.
"""

import hashlib
import json
import os
import sys
import threading
import time
from urllib.parse import parse_qs

CLOSED = []
TEXT = [("Content-Type", "text/plain")]


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0] or "hello"
    query = {key: values[-1] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    case = CASES.get(name.replace("-", "_"))
    if case is None:
        start_response("404 Not Found", [*TEXT, ("Content-Length", "9")])
        return [b"not found"]
    return case(environ, start_response, query)


def answer(start_response, body, headers=(), status="200 OK"):
    start_response(status, [*TEXT, ("Content-Length", str(len(body))), *headers])
    return [body]


def hello(environ, start_response, query):
    return answer(start_response, b"Hello world")


def pid(environ, start_response, query):
    return answer(start_response, f"{os.getpid()} {threading.current_thread().name}".encode())


def environ(environ, start_response, query):
    """Every key of the environ, as JSON; what is not a string, by its representation and type."""
    shown = {
        key: value if isinstance(value, (str, int, bool, tuple)) else f"{type(value).__name__}:{value!r}"
        for key, value in environ.items()
    }
    return answer(start_response, json.dumps(shown).encode())


def echo(environ, start_response, query):
    return answer(start_response, environ["wsgi.input"].read())


def digest(environ, start_response, query):
    """Length and SHA-256 of the body, read in pieces of 64 KiB."""
    sha, count = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        sha.update(piece)
        count += len(piece)
    return answer(start_response, f"{count} {sha.hexdigest()}".encode())


def unread(environ, start_response, query):
    return answer(start_response, b"did not look at the body")


def reads(environ, start_response, query):
    """The body by every method of wsgi.input in turn."""
    body = environ["wsgi.input"]
    found = {
        "read3": body.read(3).decode(),
        "line": body.readline().decode(),
        "line4": body.readline(4).decode(),
        "lines": [line.decode() for line in body.readlines(1)],
        "iterated": [line.decode() for line in body],
        "end": [body.read().decode(), body.read(1).decode(), body.readline().decode()],
    }
    return answer(start_response, json.dumps(found).encode())


def generator(environ, start_response, query):
    start_response("200 OK", TEXT)
    return (f"piece {number}\n".encode() for number in range(int(query.get("n", "3"))))


def empty_pieces(environ, start_response, query):
    start_response("200 OK", TEXT)
    return iter([b"", b"a", b"", b"b", b""])


def nothing(environ, start_response, query):
    start_response("200 OK", TEXT)
    return []


def write(environ, start_response, query):
    writer = start_response("200 OK", TEXT)
    writer(b"written ")
    writer(b"before ")
    return [b"returned"]


def large(environ, start_response, query):
    """`size` bytes in pieces of 64 KiB; with `length` the Content-Length is said."""
    size = int(query["size"])
    start_response("200 OK", TEXT + ([("Content-Length", str(size))] if "length" in query else []))
    piece = bytes(range(256)) * 256
    return (piece[: min(65536, size - sent)] for sent in range(0, size, 65536))


def status(environ, start_response, query):
    """Status `code` with a body, which 204 and 304 must not have."""
    start_response(f"{query['code']} Anything", TEXT)
    return [b"a body that may have to go"]


def short(environ, start_response, query):
    start_response("200 OK", [*TEXT, ("Content-Length", "10")])
    return [b"12345"]


def long(environ, start_response, query):
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"1234", b"567890"]


def headers(environ, start_response, query):
    return answer(start_response, b"ok", [("X-One", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])


def bad_header(environ, start_response, query):
    return answer(start_response, b"ok", [("X-Bad", "one\r\nX-Injected: two")])


def own_close(environ, start_response, query):
    return answer(start_response, b"ok", [("X-Own", "1")])


def raise_before(environ, start_response, query):
    raise RuntimeError("raised before start_response")


def raise_started(environ, start_response, query):
    start_response("200 OK", TEXT)
    raise RuntimeError("raised after start_response")


def raise_first(environ, start_response, query):
    start_response("200 OK", TEXT)

    def body():
        raise RuntimeError("raised at the first piece")
        yield b""

    return body()


def raise_later(environ, start_response, query):
    start_response("200 OK", TEXT + ([("Content-Length", "100")] if "length" in query else []))

    def body():
        yield b"sent before"
        raise RuntimeError("raised after the first piece")

    return body()


def exc_info(environ, start_response, query):
    """An error page in the place of what was started, as PEP 3333 has it."""
    try:
        start_response("200 OK", TEXT)
        raise ValueError("replaced")
    except ValueError:
        start_response("503 Service Unavailable", [*TEXT, ("Content-Length", "8")], sys.exc_info())
    return [b"replaced"]


def exc_info_late(environ, start_response, query):
    """`exc_info` after something was sent: start_response has to raise it again."""
    writer = start_response("200 OK", TEXT)
    writer(b"sent before")
    try:
        raise ValueError("raised again")
    except ValueError:
        start_response("500 Oops", TEXT, sys.exc_info())
    return [b"never"]


def twice(environ, start_response, query):
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return [b"never"]


def not_started(environ, start_response, query):
    return [b"start_response was not called"]


def lazy_start(environ, start_response, query):
    """start_response is called by the generator, before its first piece."""
    start_response("200 OK", TEXT)
    yield b"started late"


def text(environ, start_response, query):
    start_response("200 OK", TEXT)
    return ["not bytes"]


def none(environ, start_response, query):
    start_response("200 OK", TEXT)


class Closing:
    """An iterable that remembers that it was closed, and how far it was iterated."""

    def __init__(self, name, pieces, *, fails=False):
        self.name, self.pieces, self.fails, self.given = name, iter(pieces), fails, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.fails and self.given:
            raise RuntimeError("raised while iterated")
        piece = next(self.pieces)
        self.given += 1
        return piece

    def close(self):
        CLOSED.append(f"{self.name}:{self.given}")


def closing(environ, start_response, query):
    start_response("200 OK", TEXT)
    return Closing(query["name"], [b"a", b"b"], fails="fails" in query)


def endless(environ, start_response, query):
    """Pieces for ever: ends when the client goes."""
    start_response("200 OK", TEXT)

    def pieces():
        while True:
            yield b"x" * 65536

    return Closing(query["name"], pieces())


def closed(environ, start_response, query):
    """What was closed so far in this process, in order."""
    return answer(start_response, json.dumps(CLOSED).encode())


def file(environ, start_response, query):
    """`path` by wsgi.file_wrapper from `offset` on, with a Content-Length if `length` says so."""
    opened = open(query["path"], "rb")  # noqa: SIM115  # the wrapper closes it
    opened.seek(int(query.get("offset", "0")))
    start_response("200 OK", TEXT + ([("Content-Length", query["length"])] if "length" in query else []))
    return environ["wsgi.file_wrapper"](opened, 8192)


def file_like(environ, start_response, query):
    """wsgi.file_wrapper around something that has no descriptor."""
    import io

    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"from memory " * 1000), 100)


def errors(environ, start_response, query):
    environ["wsgi.errors"].write("a line for wsgi.errors\n")
    environ["wsgi.errors"].writelines(["two ", "pieces\n"])
    environ["wsgi.errors"].flush()
    print("a line by print")
    return answer(start_response, b"ok")


def wait(environ, start_response, query):
    """Say on FIFO `started` that the request is here, and wait for a byte on FIFO `go`."""
    with open(query["started"], "wb") as started:
        started.write(f"{os.getpid()}\n".encode())
    with open(query["go"], "rb", buffering=0) as go:
        go.read(1)
    return answer(start_response, b"waited")


def stream(environ, start_response, query):
    """One piece at once, the second after a byte on FIFO `go`."""
    start_response("200 OK", TEXT)

    def pieces():
        yield b"first\n"
        with open(query["go"], "rb", buffering=0) as go:
            go.read(1)
        yield b"second\n"

    return pieces()


def busy(environ, start_response, query):
    """Work for `ms` milliseconds without ever waiting."""
    end = time.monotonic() + int(query.get("ms", "5")) / 1000
    while time.monotonic() < end:
        pass
    return answer(start_response, b"worked")


def rest(environ, start_response, query):
    """Wait for `ms` milliseconds, as for a database."""
    threading.Event().wait(int(query.get("ms", "5")) / 1000)
    return answer(start_response, b"rested")


def hard_exit(environ, start_response, query):
    os._exit(7)


def system_exit(environ, start_response, query):
    sys.exit(3)


CASES = {name: value for name, value in list(globals().items()) if callable(value) and not name[0].isupper()}
del CASES["application"], CASES["answer"], CASES["parse_qs"]
