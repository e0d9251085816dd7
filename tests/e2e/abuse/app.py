"""A WSGI app that remembers what reached it, and misbehaves on request in every way that its paths name.

`/seen` tells, as JSON, what came since it was last asked, and forgets it: the side channel that shows whether a request
hidden inside another one was served. Every other path is remembered first, and then does what its function below does.
It runs on any WSGI server with one process and one thread.
"""

import gc
import json
import os
import signal
import sys
from urllib.parse import parse_qs

SEEN = []
STARTED = []
TEXT = [("Content-Type", "text/plain")]


def application(environ, start_response):
    path = environ.get("PATH_INFO", "")
    if path == "/seen":
        found = {"pid": os.getpid(), "seen": SEEN[:], "cwd": os.getcwd(), "path": sys.path, "prefix": sys.prefix}
        found["environment"] = dict(os.environ)
        SEEN.clear()
        return say(start_response, json.dumps(found).encode())
    query = {key: values[-1] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    case = CASES.get(path.strip("/").split("/")[0])
    body = b"" if case in (unread, inputs) else environ["wsgi.input"].read()
    SEEN.append(
        {
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "query": environ.get("QUERY_STRING", ""),
            "body": body.decode("latin-1"),
            "headers": {key: value for key, value in environ.items() if key.startswith(("HTTP_", "CONTENT_"))},
        }
    )
    if case is None:
        return say(start_response, f"{environ['REQUEST_METHOD']} {len(body)}".encode())
    return case(environ, start_response, query, body)


def say(start_response, body, status="200 OK"):
    start_response(status, [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


class Pieces:
    """An iterable of `pieces` with further attributes; an exception among the pieces is raised."""

    def __init__(self, *pieces, **attributes):
        self.pieces = iter(pieces)
        self.__dict__.update(attributes)

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        if isinstance(piece, BaseException):
            raise piece
        return piece


def fail(error):
    raise error


# -- what is not read, and what is read in every way -------------------------------------------------------------------


def unread(environ, start_response, query, body):
    return say(start_response, b"unread")


def inputs(environ, start_response, query, body):
    """wsgi.input at and beyond its end, for the body `line one\\nline two\\nrest`."""
    stream = environ["wsgi.input"]
    found = [stream.read(0), stream.readline(3), stream.readline(0), stream.readline(), stream.readline(10**9)]
    found += [stream.read(10**15), stream.read(), stream.read(1), stream.readline(), b"".join(stream.readlines())]
    found += [b"".join(stream), stream.read(-1), stream.read(None) if "none" in query else b""]
    return say(start_response, json.dumps([piece.decode() for piece in found]).encode())


# -- heads -------------------------------------------------------------------------------------------------------------


def respond(environ, start_response, query, body):
    """The status and the headers that the body names in JSON; the response's body is the third."""
    said = json.loads(body)
    start_response(said["status"], [tuple(header) for header in said["headers"]])
    return [said.get("body", "").encode()]


def types(environ, start_response, query, body):
    """start_response with values of the wrong type."""
    status, headers = {
        "status-none": (None, TEXT),
        "status-int": (200, TEXT),
        "status-bytes": (b"200 OK", TEXT),
        "status-not-latin": ("200 \u20ac", TEXT),
        "status-surrogate": ("200 \udcff", TEXT),
        "headers-none": ("200 OK", None),
        "headers-tuple": ("200 OK", tuple(TEXT)),
        "headers-dict": ("200 OK", dict(TEXT)),
        "headers-of-str": ("200 OK", ["X: y"]),
        "headers-of-three": ("200 OK", [("X", "y", "z")]),
        "headers-of-one": ("200 OK", [("X",)]),
        "name-bytes": ("200 OK", [(b"X", "y")]),
        "name-none": ("200 OK", [(None, "y")]),
        "value-bytes": ("200 OK", [("X", b"y")]),
        "value-int": ("200 OK", [("Content-Length", 5)]),
        "value-none": ("200 OK", [("X", None)]),
        "value-not-latin": ("200 OK", [("X", "\u20ac")]),
        "value-surrogate": ("200 OK", [("X", "\ud800")]),
    }[query["is"]]
    start_response(status, headers)
    return [b"12345"]


def length(environ, start_response, query, body):
    """Content-Length as the query says, and a body of five bytes in the way that it says."""
    writer = start_response("200 OK", [*TEXT, ("Content-Length", query.get("is", ""))])
    how = query.get("how", "list")
    if how == "write":
        writer(b"123")
        writer(b"45")
        return []
    if how == "mixed":
        writer(b"123")
        return [b"45"]
    if how == "pieces":
        return Pieces(b"12", b"3", b"", b"45")
    if how == "tuple":
        return (b"12", b"345")
    return [b"12345"]


def huge(environ, start_response, query, body):
    """A head of `mib` MiB, in one header or in many."""
    size = int(query["mib"]) << 20
    many = [(f"X-{number}", "v" * 1000) for number in range(size >> 10)]
    start_response("200 OK", [*TEXT, *(many if "many" in query else [("X-Huge", "v" * size)]), ("Content-Length", "2")])
    return [b"ok"]


def twice(environ, start_response, query, body):
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return [b"never"]


def second_try(environ, start_response, query, body):
    """A refused head does not spoil the next one."""
    try:
        start_response("200 OK", [("X", "a\r\nb: c")])
    except Exception:
        return say(start_response, b"second")
    return [b"never"]


def replaced(environ, start_response, query, body):
    start_response("200 OK", [*TEXT, ("Content-Length", "1000"), ("X-First", "1")])
    try:
        fail(ValueError("replaced"))
    except ValueError:
        start_response("503 Oops", [*TEXT, ("Content-Length", "5")], sys.exc_info())
    return [b"12345"]


def replaced_twice(environ, start_response, query, body):
    for number in range(3):
        try:
            fail(ValueError("replaced"))
        except ValueError:
            start_response(f"50{number} Oops", [*TEXT, ("Content-Length", "5")], sys.exc_info())
    return [b"12345"]


def replaced_late(environ, start_response, query, body):
    """exc_info when the head has left: start_response has to raise it again (PEP 3333)."""
    writer = start_response("200 OK", TEXT)
    writer(b"sent")
    try:
        fail(ValueError("raised again"))
    except ValueError:
        start_response("500 Oops", TEXT, sys.exc_info())
    return [b"never"]


def status(environ, start_response, query, body):
    """A status with a body that it may not have, by `how`."""
    headers = [*TEXT, ("Content-Length", "5")] if "length" in query else TEXT
    writer = start_response(f"{query['is']} Some Reason", headers)
    if query.get("how") == "write":
        writer(b"12345")
        return []
    return Pieces(b"12345") if query.get("how") == "pieces" else [b"12345"]


# -- results that are no results ---------------------------------------------------------------------------------------


def returns(environ, start_response, query, body):
    if query["is"] != "not-started":
        start_response("200 OK", TEXT)
    results = {
        "none": None,
        "number": 7,
        "text": "text",
        "bytes": b"12345",
        "dict": {b"12345": 1},
        "strings": ["12345"],
        "numbers": [1, 2],
        "nested": [[b"12345"]],
        "nones": [None],
        "bytearray": [bytearray(b"12345")],
        "string-later": Pieces(b"12345", "text"),
        "string-first": Pieces("text", b"12345"),
        "none-first": Pieces(None),
        "none-later": Pieces(b"12345", None),
        "empty": [],
        "empties": [b"", b"", b""],
        "no-pieces": Pieces(),
        "empty-pieces": Pieces(b"", b""),
        "not-started": [b"12345"],
        "class": Pieces,
        "lying-length": Lying([b"12", b"345"]),
        "iter-fails": IterFails(),
        "close-fails": Pieces(b"12345", close=lambda: fail(RuntimeError("raised in close"))),
        "close-exits": Pieces(b"12345", close=lambda: sys.exit(3)),
        "close-not-callable": Pieces(b"12345", close=7),
        "close-none": Pieces(b"12345", close=None),
        "million": (b"x" for _ in range(20_000)),
    }
    return results[query["is"]]


class Lying(list):
    """A list that says a wrong length."""

    def __len__(self):
        return 1


class IterFails:
    def __iter__(self):
        raise RuntimeError("raised in __iter__")


def writes(environ, start_response, query, body):
    """write() with something that is not bytes, before or after a piece."""
    writer = start_response("200 OK", TEXT)
    if "late" in query:
        writer(b"sent")
    writer({"text": "text", "none": None, "number": 5, "list": [b"x"]}[query["is"]])
    return [b"never"]


# -- exceptions --------------------------------------------------------------------------------------------------------


class Rude(BaseException):
    """No Exception, like SystemExit and KeyboardInterrupt."""


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("raised in __str__")

    __repr__ = __str__


def recurse(depth=0):
    return recurse(depth + 1) + 1


def chained():
    error = ValueError("first")
    for number in range(500):
        following = ValueError(f"number {number}")
        following.__cause__ = error
        error = following
    raise error


RAISE = {
    "error": lambda: fail(RuntimeError("raised")),
    "exit-0": lambda: sys.exit(0),
    "exit-3": lambda: sys.exit(3),
    "exit-text": lambda: sys.exit("a last word"),
    "exit-none": lambda: sys.exit(),
    "exit-object": lambda: sys.exit(Unprintable()),
    "interrupt": lambda: fail(KeyboardInterrupt()),
    "generator-exit": lambda: fail(GeneratorExit()),
    "stop-iteration": lambda: fail(StopIteration("value")),
    "stop-async-iteration": lambda: fail(StopAsyncIteration()),
    "rude": lambda: fail(Rude("rude")),
    "memory": lambda: fail(MemoryError()),
    "out-of-memory": lambda: bytes(1 << 60),
    "recursion": recurse,
    "unprintable": lambda: fail(Unprintable()),
    "surrogate": lambda: fail(ValueError("\udcff\ud800 \u20ac")),
    "line-ends": lambda: fail(ValueError("one\r\ntwo\x1b[31m\0")),
    "long": lambda: fail(ValueError("x" * (1 << 16))),
    "chained": chained,
    "group": lambda: fail(ExceptionGroup("group", [ValueError(1), TypeError(2)])),
    "connection-reset": lambda: fail(ConnectionResetError(104, "reset")),
    "broken-pipe": lambda: fail(BrokenPipeError(32, "pipe")),
    "timeout": lambda: fail(TimeoutError("timed out")),
}


def raises(environ, start_response, query, body):
    """Raise `is` at the moment `at`."""
    action, at = RAISE[query["is"]], query["at"]
    if at == "call":
        action()
    writer = start_response("200 OK", TEXT)
    if at == "started":
        action()
    if at == "written":
        writer(b"sent")
        action()

    def pieces():
        if at == "later":
            yield b"sent"
        try:
            action()
        except StopIteration as error:
            # A generator may not raise it; an iterator's end is not what is tried here.
            raise RuntimeError("StopIteration") from error
        yield b"never"

    if at == "close":
        return Pieces(b"sent", close=action)
    return pieces()


# -- the process -------------------------------------------------------------------------------------------------------


def spoils(environ, start_response, query, body):
    """Damage something that the process shares, and answer as if nothing had happened."""
    what = query["is"]
    if what == "environ":
        environ.clear()
        environ[5] = environ
    elif what == "environ-keys":
        for key in list(environ):
            environ[key] = None
    elif what == "stderr-none":
        sys.stderr = None
        start_response("200 OK", TEXT)
        raise RuntimeError("raised without stderr")
    elif what == "stderr-broken":
        sys.stderr = Pieces(write=lambda text: fail(OSError("no stderr")), flush=lambda: fail(OSError("no flush")))
        start_response("200 OK", TEXT)
        raise RuntimeError("raised with a broken stderr")
    elif what == "stderr-back":
        sys.stderr = sys.__stderr__
    elif what == "excepthook":
        sys.excepthook = lambda *error: fail(RuntimeError("raised in excepthook"))
        raise RuntimeError("raised with a broken hook")
    elif what == "excepthook-back":
        sys.excepthook = sys.__excepthook__
    elif what == "stdout-closed":
        sys.stdout.close()
    elif what == "garbage":
        cycle = []
        cycle.append(cycle)
        gc.collect()
    elif what == "chdir":
        os.chdir("/")
    elif what == "signals":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    elif what == "recursion-limit":
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(120)
        try:
            recurse()
        except RecursionError:
            sys.setrecursionlimit(limit)
    elif what == "start-response":
        STARTED.append(start_response)
    elif what == "old-start-response":
        for old in STARTED:
            try:
                old("500 Late", [])
            except Exception as error:
                return say(start_response, type(error).__name__.encode())
    return say(start_response, b"spoilt")


def forks(environ, start_response, query, body):
    """A child that goes on as if it were the worker; the parent answers with its status."""
    child = os.fork()
    if not child:
        if query["is"] == "exit":
            sys.exit(3)
        if query["is"] == "raise":
            raise RuntimeError("raised in the child")
        if query["is"] == "gone":
            os._exit(4)
        return say(start_response, b"from the child")
    return say(start_response, str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def dies(environ, start_response, query, body):
    """End the whole process, before anything is sent or after."""
    if "sent" in query:
        start_response("200 OK", TEXT)(b"sent")
    if query["is"] == "exit":
        os._exit(7)
    if query["is"] == "abort":
        os.abort()
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), {"kill": signal.SIGKILL, "segv": signal.SIGSEGV, "term": signal.SIGTERM}[query["is"]])
    return say(start_response, b"survived")


# -- for slow clients --------------------------------------------------------------------------------------------------


def large(environ, start_response, query, body):
    """`kib` KiB in one piece or, with `pieces`, of 16 KiB each."""
    size = int(query["kib"]) << 10
    if "pieces" in query:
        start_response("200 OK", TEXT)
        return (b"x" * 16384 for _ in range(size >> 14))
    return say(start_response, b"x" * size)


def endless(environ, start_response, query, body):
    """Pieces until the client goes, by yield or, with `write`, by write()."""
    writer = start_response("200 OK", TEXT)
    if "write" in query:
        while True:
            writer(b"x" * 65536)

    def pieces():
        try:
            while True:
                yield b"x" * 65536
        finally:
            SEEN.append("closed")

    return pieces()


def waits(environ, start_response, query, body):
    """Say on FIFO `started` that the request is here, and wait for a byte on FIFO `go`; then answer in `how`'s way."""
    with open(query["started"], "wb") as started:
        started.write(f"{os.getpid()}\n".encode())
    with open(query["go"], "rb", buffering=0) as go:
        go.read(1)
    return say(start_response, b"waited")


CASES = {
    function.__name__: function
    for function in (
        *(unread, inputs, respond, types, length, huge, twice, second_try, replaced, replaced_twice, replaced_late),
        *(status, returns, writes, raises, spoils, forks, dies, large, endless, waits),
    )
}
