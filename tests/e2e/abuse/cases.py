"""What is sent to a live server: the corpus of `tests/cases` as connections, and cases of several requests of our own.

The number before a group's name is that of the class of weakness it belongs to: 1 conflicting framing, 2 lenient
numbers, 3 chunks, 4 line ends and NUL, 5 white space, 6 names that alias, 8 leftovers of a request read as the next
one, 9 what has no end. A case says what a strict reader sees in its bytes (RFC 9110, RFC 9112); where that is less
than everything, the rest is refused with the status of the error that the corpus names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from penstock import _engine
from tests.e2e.abuse.judge import CANARY, Case, Request
from tests.e2e.clients import chunked, request_bytes

CORPUS = Path(__file__).parent.parent.parent / "cases"
STATUS = {code: status for code, (status, _, _) in _engine.catalogue()["errors"].items()}
# What the server has to be started with, so that the corpus meets the limits that it was written for.
LIMITS = ("--header-limit", "2048", "--limit-post", "1000000")
# These limits can not be lowered: `unbounded` has cases of their real size.
NOT_ADJUSTABLE = (
    "too-many-headers--",
    "chunk-extension-too-long--",
    "chunk-overhead--",
    "trailer-too-large--",
    "uwsgi-too-many-variables--85",
    "uwsgi-too-many-variables--empty-values",
    "uwsgi-too-many-variables--modifier-30",
)
LAST = Request("GET", "/canary")
CHUNKED = b"POST /chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def corpus(folder: str, suffix: str) -> Iterator[Path]:
    paths = sorted((CORPUS / folder).glob(f"*{suffix}"))
    assert paths, f"no cases in {CORPUS / folder}"
    return (path for path in paths if not path.name.startswith(NOT_ADJUSTABLE))


def code_of(path: Path) -> str:
    """The code of the error that an invalid case must give."""
    return path.stem.partition("--")[0]


def invalid_http() -> Iterator[Case]:
    for path in corpus("http1/invalid", ".http"):
        # What is recognised as another protocol is told so, instead of which rule of HTTP/1.1 it breaks first.
        status = 400 if "--http2-preface" in path.stem else STATUS[code_of(path)]
        yield Case(path.stem, path.read_bytes(), status=status)


def valid_http() -> Iterator[Case]:
    """Each valid head with a body of our own; what follows is the next request, unless the connection ends."""
    for path in corpus("http1/valid", ".http"):
        said = json.loads(path.with_suffix(".json").read_text())
        data = path.read_bytes()[: said["head_bytes"]]
        body = b""
        if said["framing"] == "chunked":
            body = b"hello"
            data += b"5\r\nhello\r\n0\r\n\r\n"
        elif said["framing"].startswith("length:"):
            body = b"x" * int(said["framing"].removeprefix("length:"))
            data += body
        request = Request(said["method"], said["path"], body)
        yield Case(path.stem, data, (request, LAST) if said["keep_alive"] else (request,))


def invalid_chunked() -> Iterator[Case]:
    for path in corpus("chunked/invalid", ".bin"):
        yield Case(path.stem, CHUNKED + path.read_bytes(), status=STATUS[code_of(path)])


def valid_chunked() -> Iterator[Case]:
    for path in corpus("chunked/valid", ".bin"):
        said = json.loads(path.with_suffix(".json").read_text())
        body = Request("POST", "/chunked", said["data"].encode("latin-1"))
        yield Case(path.stem, CHUNKED + path.read_bytes()[: said["used"]], (body, LAST))


def post(target: str, body: bytes, *fields: tuple[str, str]) -> bytes:
    return request_bytes("POST", target, [("Host", "localhost"), *fields], body)


def raw(text: str) -> bytes:
    """Bytes from a text whose line ends are CRLF."""
    return text.replace("\n", "\r\n").encode("latin-1")


def conflicts() -> Iterator[Case]:
    """(1) A body that one reader ends before the canary and another behind it."""
    head = "POST /first HTTP/1.1\nHost: localhost\n"
    inner = CANARY.decode()
    for name, fields in {
        "length-then-chunked": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding: chunked\n",
        "chunked-then-length": f"Transfer-Encoding: chunked\nContent-Length: {len(inner) + 5}\n",
        "length-0-then-chunked": "Content-Length: 0\nTransfer-Encoding: chunked\n",
        "two-lengths": f"Content-Length: 5\nContent-Length: {len(inner) + 5}\n",
        "two-lengths-in-one": f"Content-Length: 5, {len(inner) + 5}\n",
        "length-and-odd-coding": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding: xchunked\n",
        "length-and-coding-with-space": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding : chunked\n",
        "length-and-folded-coding": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding:\n chunked\n",
        "length-and-tab-coding": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding:\tchunked\n",
        "length-and-vertical-tab-coding": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding: \x0bchunked\n",
        "length-and-quoted-coding": f'Content-Length: {len(inner) + 5}\nTransfer-Encoding: "chunked"\n',
        "length-and-empty-coding": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding:\n",
        "length-and-identity": f"Content-Length: {len(inner) + 5}\nTransfer-Encoding: identity\n",
        "coding-twice": "Transfer-Encoding: chunked\nTransfer-Encoding: identity\n",
        "coding-list": "Transfer-Encoding: chunked, identity\n",
        "coding-behind-a-bare-lf": f"X: y\x85\nContent-Length: {len(inner) + 5}\nX-A: b\rTransfer-Encoding: chunked\n",
    }.items():
        yield Case(f"conflict--{name}", raw(head + fields + "\n0\n\n") + CANARY, status=-1)
    old = f"POST /first HTTP/1.0\nHost: localhost\nConnection: keep-alive\nTransfer-Encoding: chunked\n\n0\n\n{inner}"
    yield Case("conflict--coding-in-http-1.0", raw(old), status=-1)


def leftovers() -> Iterator[Case]:
    """(8) Bytes of a body, and what comes behind a request that ends its connection, are not the next request."""
    inner = CANARY
    for method in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        data = request_bytes(method, "/body", [("Host", "localhost"), ("Content-Length", str(len(inner)))]) + inner
        yield Case(f"body-of-{method.lower()}", data, (Request(method, "/body", inner), LAST))
        coded = request_bytes(method, "/body", [("Host", "localhost"), ("Transfer-Encoding", "chunked")])
        yield Case(f"chunks-of-{method.lower()}", coded + chunked(inner), (Request(method, "/body", inner), LAST))
    for target in ("/unread", "/raises?is=error&at=call", "/raises?is=error&at=started", "/returns?is=none"):
        path = target.partition("?")[0]
        body = b"" if target == "/unread" else inner
        name = target.strip("/").replace("?", "-").replace("&", "-")
        yield Case(f"left-by-the-app--{name}", post(target, inner), (Request("POST", path, body), LAST), may_end=True)
        coded = post(target, chunked(inner), ("Transfer-Encoding", "chunked"))
        yield Case(f"chunks-left-by-the-app--{name}", coded, (Request("POST", path, body), LAST), may_end=True)
    large = inner + b"x" * 300_000
    yield Case("large-body-left", post("/unread", large), (Request("POST", "/unread"), LAST))
    over = b"POST /first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000001\r\n\r\n" + inner
    yield Case("body-beyond-the-limit", over, status=413)
    expecting = ("Expect", "100-continue")
    yield Case("continue-with-its-body", post("/body", inner, expecting), (Request("POST", "/body", inner), LAST))
    over = over.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1)
    yield Case("continue-beyond-the-limit", over, status=413)
    yield Case("other-expectation", post("/body", inner, ("Expect", "200-ok")), status=417)
    yield Case("connect", b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n" + inner, status=501)
    for protocol in ("websocket", "h2c", "TLS/1.2", "other/9"):
        fields = [
            ("Connection", "Upgrade"),
            ("Upgrade", protocol),
            ("Sec-WebSocket-Key", "eA=="),
            ("HTTP2-Settings", ""),
        ]
        data = request_bytes("GET", "/up", fields)
        yield Case(f"upgrade--{protocol.split('/')[0].lower()}", data, (Request("GET", "/up"), LAST))
        data = request_bytes("POST", "/up", fields, inner)
        name = f"upgrade-with-body--{protocol.split('/')[0].lower()}"
        yield Case(name, data, (Request("POST", "/up", inner), LAST))
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    data = request_bytes("GET", "/up", {"Connection": "Upgrade", "Upgrade": "h2c"}) + preface
    yield Case("upgrade-then-http2", data, (Request("GET", "/up"),), status=-1)
    for name, fields in {
        "close": "Connection: close\n",
        "close-in-a-list": "Connection: keep-alive, x, close\n",
        "close-on-a-second-line": "Connection: keep-alive\nConnection: Close\n",
        "close-with-tabs": "Connection:\t keep-alive\t,\tCLOSE \t\n",
    }.items():
        yield Case(f"behind-{name}", raw(f"GET /last HTTP/1.1\nHost: a\n{fields}\n"), (Request("GET", "/last"),))
    yield Case("behind-http-1.0", b"GET /last HTTP/1.0\r\n\r\n", (Request("GET", "/last"),))
    yield Case("behind-http-1.0-with-body", b"POST /last HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", (
        Request("POST", "/last", b"abc"),
    ))  # fmt: skip
    good = request_bytes("GET", "/one")
    one = Request("GET", "/one")
    yield Case("behind-a-good-one--bad-line", good + b"GET\t/two HTTP/1.1\r\nHost: a\r\n\r\n", (one,), 400)
    yield Case("behind-a-good-one--conflict", good * 2 + b"POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
               b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (one, one), 400)  # fmt: skip
    yield Case("behind-a-good-one--no-host", good + b"GET /two HTTP/1.1\r\n\r\n", (one,), 400)
    yield Case("behind-a-good-one--bad-chunk", good + CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", (one,), 400)
    yield Case("surplus-of-a-body", post("/body", b"abc") + b"xyz\r\n", (Request("POST", "/body", b"abc"),), status=-1)
    yield Case("line-ends-between", good + b"\r\n\r\n" + good, (one, one, LAST))
    # The canary's first line becomes the value of a header whose line has not ended, and its Host is a second one.
    yield Case("open-header", good + b"GET /two HTTP/1.1\r\nHost: localhost\r\nX: ", (one,), 400)


def aliases() -> Iterator[Case]:
    """(6) A header that becomes a name of CGI's must not stand for another one that a proxy has checked."""
    for name, field, forbidden in (
        ("content-length", "Content_Length: 100", "100"),
        ("content-length-of-cgi", "HTTP_CONTENT_LENGTH: 100", "100"),
        ("transfer-encoding", "Transfer_Encoding: chunked", "chunked"),
        ("host", "H_ost: evil.example", "evil.example"),
        ("proxy", "Proxy: http://evil.example", "HTTP_PROXY"),
        ("proxy-in-capitals", "PROXY: http://evil.example", "HTTP_PROXY"),
        ("forwarded-for", "X_Forwarded_For: 192.0.2.66", "192.0.2.66"),
        ("forwarded-for-mixed", "X-Forwarded_For: 192.0.2.66", "192.0.2.66"),
        ("forwarded-proto", "X_Forwarded-Proto: evil", "evil"),
        ("remote-user", "Remote_User: evil", "evil"),
        ("content-type", "Content_Type: evil", "evil"),
    ):
        data = raw(f"GET /alias HTTP/1.1\nHost: localhost\n{field}\n\n")
        yield Case(f"alias--{name}", data, (Request("GET", "/alias"), LAST), forbidden=(forbidden,))
    both = "X-Forwarded-For: 192.0.2.1\nX_Forwarded_For: 192.0.2.66\n"
    data = raw(f"GET /alias HTTP/1.1\nHost: localhost\n{both}\n")
    forbidden = ("192.0.2.66", "192.0.2.1,192.0.2.66", "192.0.2.1, 192.0.2.66")
    yield Case("alias--beside-the-real-one", data, (Request("GET", "/alias"), LAST), forbidden=forbidden)


def unbounded() -> Iterator[Case]:
    """(9) What a client can make longer has an end, at the limits that the server really has."""
    many = "".join(f"X-{number}: v\n" for number in range(129))
    yield Case("headers-129", raw(f"GET / HTTP/1.1\nHost: a\n{many}\n"), status=431)
    yield Case("head-without-end", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000, status=431)
    yield Case("target-without-end", b"GET /" + b"x" * 100_000, status=414)
    yield Case("method-without-end", b"M" * 100_000, status=501)
    yield Case("empty-lines-without-end", b"\r\n" * 5000, status=400)
    yield Case("extension-of-16385", CHUNKED + b"1;" + b"e" * 16385 + b"\r\na\r\n0\r\n\r\n", status=400)
    extended = b"".join(b"1;" + b"e" * 1000 + b"\r\na\r\n" for _ in range(17))
    yield Case("extensions-of-17000", CHUNKED + extended + b"0\r\n\r\n", status=400)
    yield Case("extension-without-end", CHUNKED + b"1;" + b"e" * 200_000, status=400)
    yield Case("extensions-without-end", CHUNKED + (b"1;" + b"e" * 1000 + b"\r\na\r\n") * 200, status=400)
    yield Case("size-without-end", CHUNKED + b"0" * 100_000, status=400)
    yield Case("padded-sizes-without-end", CHUNKED + b"000000000000001\r\na\r\n" * 20_000, status=400)
    yield Case("trailer-without-end", CHUNKED + b"0\r\nX: " + b"x" * 100_000, status=431)
    yield Case("trailers-129", CHUNKED + b"0\r\n" + b"X: y\r\n" * 129 + b"\r\n", status=431)
    yield Case("trailers-without-end", CHUNKED + b"0\r\n" + b"X: y\r\n" * 20_000, status=431)
    data = b"".join(b"1\r\n%c\r\n" % (97 + number % 26) for number in range(50_000))
    body = bytes(97 + number % 26 for number in range(50_000))
    yield Case("one-byte-chunks", CHUNKED + data + b"0\r\n\r\n", (Request("POST", "/chunked", body), LAST))
    yield Case("chunks-beyond-the-limit", CHUNKED + b"10000\r\n" + (b"x" * 65536 + b"\r\n10000\r\n") * 20, status=413)
    yield Case("one-chunk-beyond-the-limit", CHUNKED + b"7fffffffffffffff\r\n", status=413)


HTTP = {
    "http heads, refused": invalid_http,
    "http heads, accepted": valid_http,
    "chunks, refused": invalid_chunked,
    "chunks, accepted": valid_chunked,
    "1 conflicting framing": conflicts,
    "6 aliasing names": aliases,
    "8 leftovers": leftovers,
    "9 without end": unbounded,
}
