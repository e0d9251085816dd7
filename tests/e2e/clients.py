"""Raw clients: HTTP/1.1 and the uwsgi protocol written out byte by byte, and a small browser for Django.

They are strict where a browser is lenient: a response that is framed wrongly fails the test that reads it. They share
no code with the server on purpose.
"""

from __future__ import annotations

import html
import re
import socket
import struct
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlencode, urljoin, urlsplit

TIMEOUT_S = 20.0


def connect(address: str, timeout_s: float = TIMEOUT_S, receive_bytes: int = 0, source: str = "") -> socket.socket:
    """Connect to `host:port`, `[v6]:port`, a unix socket's path, or `@abstract`.

    `receive_bytes` is about what the kernel takes on a TCP connection while nobody reads; 0 is its own choice. `source`
    is the client's own address over TCP, if it is to be another than usual.
    """
    if address.startswith(("/", "@")):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout_s)
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
        except BaseException:
            sock.close()
            raise
        return sock
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    # An address for every interface is one to listen on.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    if not receive_bytes:
        return socket.create_connection((host, int(port)), timeout_s, (source, 0) if source else None)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # What is said after the connection is made leaves it with a window that never grows again.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(timeout_s)
        sock.connect((host, int(port)))
    except BaseException:
        sock.close()
        raise
    return sock


@dataclass(frozen=True)
class Response:
    """One response as it came over the wire."""

    version: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    framing: Literal["none", "length", "chunked", "close"]

    def header(self, name: str) -> str | None:
        """The one value of header `name`, or None; an AssertionError if it came twice."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Every value of header `name`."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode()


class Cut(Exception):
    """The connection ended before the response was complete; `data` is what came."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"the connection ended after {data[-200:]!r}")
        self.data = data


class Connection:
    """A raw HTTP/1.1 connection: bytes out, checked responses in."""

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S, receive_bytes: int = 0) -> None:
        self.address = address
        self.sock = connect(address, timeout_s, receive_bytes)
        self.buffer = b""

    def send(self, data: bytes) -> Self:
        """Write all of `data`."""
        self.sock.sendall(data)
        return self

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """Send one request with `Host` (unless given) and, with a body, `Content-Length`; read its response."""
        self.send(request_bytes(method, target, headers, body))
        return self.read(method)

    def _more(self) -> bool:
        data = self.sock.recv(262144)
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self._more():
                raise Cut(self.buffer)
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _exactly(self, count: int) -> bytes:
        pieces = [self.buffer[:count]]
        self.buffer = self.buffer[count:]
        missing = count - len(pieces[0])
        while missing:
            piece = self.sock.recv(min(missing, 1 << 20))
            if not piece:
                raise Cut(b"".join(pieces))
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def rest(self) -> bytes:
        """Everything until the server closes."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def is_closed(self) -> bool:
        """Whether the server has closed, waited for up to the timeout; AssertionError if it sends more."""
        try:
            data = self.buffer or self.sock.recv(1)
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        assert not data, f"more came: {data!r}"
        return True

    def read_head(self) -> tuple[str, int, str, tuple[tuple[str, str], ...]]:
        """Read a status line and header section: version, status, reason, headers."""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head.split("\r\n")
        match = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) ([^\r\n]*)", status_line)
        assert match, f"not a status line: {status_line!r}"
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"not a header: {line!r}"
            headers.append((name, value.strip()))
        return match[1], int(match[2]), match[3], tuple(headers)

    def read(self, method: str = "GET") -> Response:
        """Read the response to a `method` request, skipping nothing: an interim response is a response."""
        version, status, reason, headers = self.read_head()
        fields = {name.lower(): value for name, value in headers}
        length, coding = fields.get("content-length"), fields.get("transfer-encoding")
        assert not (length and coding), "both Content-Length and Transfer-Encoding"
        framing: Literal["none", "length", "chunked", "close"]
        if method == "HEAD" or status < 200 or status in (204, 304):
            framing, body = "none", b""
            assert not (coding and status < 300 and method != "HEAD"), f"Transfer-Encoding with status {status}"
        elif coding:
            assert coding.lower() == "chunked" and version == "HTTP/1.1"
            framing, body = "chunked", self._chunks()
        elif length is not None:
            assert length.isdigit()
            framing, body = "length", self._exactly(int(length))
        else:
            framing, body = "close", self.rest()
        return Response(version, status, reason, headers, body, framing)

    def _chunks(self) -> bytes:
        pieces: list[bytes] = []
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if not size:
                assert self._until(b"\r\n") == b"", "trailers were not asked for"
                return b"".join(pieces)
            pieces.append(self._exactly(size))
            assert self._exactly(2) == b"\r\n"

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def request_bytes(
    method: str, target: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """One HTTP/1.1 request as bytes, with `Host` and `Content-Length` where they are needed and not given."""
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    given = {name.lower() for name, _ in fields}
    if "host" not in given:
        fields.insert(0, ("Host", "localhost"))
    if body and not given & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def get(address: str, target: str = "/", headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Response:
    """GET over a connection of its own."""
    with Connection(address) as connection:
        return connection.request("GET", target, headers)


def post(
    address: str, target: str, body: bytes, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
) -> Response:
    """POST over a connection of its own."""
    with Connection(address) as connection:
        return connection.request("POST", target, headers, body)


def chunked(*pieces: bytes) -> bytes:
    """`pieces` in the chunked transfer coding (RFC 9112, 7.1)."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


# -- uwsgi -------------------------------------------------------------------------------------------------------------


def uwsgi_packet(
    variables: Iterable[tuple[str, str]], body: bytes = b"", modifier1: int = 0, modifier2: int = 0
) -> bytes:
    """A uwsgi request: header, block of variables, body."""
    block = b""
    for name, value in variables:
        key, content = name.encode("latin-1"), value.encode("latin-1")
        block += struct.pack("<H", len(key)) + key + struct.pack("<H", len(content)) + content
    return struct.pack("<BHB", modifier1, len(block), modifier2) + block + body


def uwsgi_variables(target: str = "/", method: str = "GET", body: bytes = b"", **more: str) -> list[tuple[str, str]]:
    """The variables that nginx's uwsgi_params send for such a request, then `more`."""
    path, _, query = target.partition("?")
    variables = {
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "REQUEST_URI": target,
        "PATH_INFO": path,
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "40000",
        "SERVER_PORT": "80",
        "SERVER_NAME": "example.org",
        "HTTP_HOST": "example.org",
    }
    return [*(variables | more).items()]


def uwsgi_exchange(address: str, data: bytes) -> bytes:
    """Send `data`, and return everything until the server closes."""
    with connect(address) as sock:
        sock.sendall(data)
        pieces = []
        while piece := sock.recv(262144):
            pieces.append(piece)
    return b"".join(pieces)


def uwsgi_request(
    address: str, target: str = "/", method: str = "GET", body: bytes = b"", modifier1: int = 0, **more: str
) -> Response:
    """One request over the uwsgi protocol, and its response, which ends where the server closes."""
    packet = uwsgi_packet(uwsgi_variables(target, method, body, **more), body, modifier1)
    with Connection(address) as connection:
        connection.send(packet)
        version, status, reason, headers = connection.read_head()
        return Response(version, status, reason, headers, connection.rest(), "close")


# -- a browser ---------------------------------------------------------------------------------------------------------


@dataclass
class Browser:
    """Enough of a browser for Django: cookies, redirects, forms with their CSRF token, file uploads."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)
    host: str = "localhost"

    def _exchange(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Response:
        sent = {"Host": self.host, "Connection": "close", **headers}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        with Connection(self.address) as connection:
            response = connection.request(method, target, sent, body)
        for line in response.all("set-cookie"):
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        return response

    def get(self, target: str, *, follow: bool = True) -> Response:
        """GET `target`, following redirects."""
        response = self._exchange("GET", target, {})
        while follow and response.status in (301, 302, 303):
            target = self._location(target, response)
            response = self._exchange("GET", target, {})
        return response

    def post(
        self,
        target: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes]] | None = None,
        *,
        follow: bool = True,
    ) -> Response:
        """Send a form with the CSRF token of the cookie; with `files` as multipart/form-data. Follows a redirect."""
        token = self.cookies.get("csrftoken", "")
        data = {"csrfmiddlewaretoken": token, **fields}
        headers = {"Origin": f"http://{self.host}"}
        if files:
            boundary = uuid.uuid4().hex
            body = b"".join(
                b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
                % (boundary.encode(), name.encode(), value.encode())
                for name, value in data.items()
            ) + b"".join(
                b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n'
                b"Content-Type: application/octet-stream\r\n\r\n%s\r\n"
                % (boundary.encode(), name.encode(), filename.encode(), content)
                for name, (filename, content) in files.items()
            )
            body += b"--%s--\r\n" % boundary.encode()
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        else:
            body = urlencode(data).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        response = self._exchange("POST", target, headers, body)
        if follow and response.status in (301, 302, 303):
            return self.get(self._location(target, response))
        return response

    def _location(self, target: str, response: Response) -> str:
        location = response.header("location")
        assert location is not None
        parts = urlsplit(urljoin(target, location))
        return parts.path + (f"?{parts.query}" if parts.query else "")


def fields_of(page: str) -> dict[str, str]:
    """The names and values of the `input` elements of a page."""
    found = {}
    for element in re.findall(r"<input\b[^>]*>", page):
        attributes = {name: html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', element)}
        if "name" in attributes:
            found[attributes["name"]] = attributes.get("value", "")
    return found
