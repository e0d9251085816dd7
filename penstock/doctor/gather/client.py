"""One request to a server, over HTTP or over the uwsgi protocol, and the beginning of its response.

A client for looking, not for work: it closes after one exchange, follows nothing, checks no certificate, and takes as
many bytes as show what answered.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import time
from collections.abc import Mapping

from penstock.doctor.facts import Response
from penstock.doctor.gather.sockets import reach

PATIENCE_S = 15.0
AGENT = "penstock-doctor"
MOST_BYTES = 256 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})(?:\r\n|$)", re.IGNORECASE)
_STATUS = re.compile(rb"(?:HTTP/\d\.\d|Status:) (\d{3})")


def http(address: str, path: str, headers: Mapping[str, str], *, is_tls: bool = False, name: str = "") -> Response:
    """Ask over HTTP: `address` is a path or HOST:PORT."""
    lines = [f"GET {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    lines += [f"User-Agent: {AGENT}", "Accept: */*", "Connection: close", "", ""]
    return _exchange(address, "\r\n".join(lines).encode("utf-8", "surrogateescape"), is_tls, name)


def uwsgi(address: str, path: str, headers: Mapping[str, str], *, is_https: bool = False) -> Response:
    """Ask over the uwsgi protocol, with the parameters that nginx's uwsgi_params send."""
    plain, _, query = path.partition("?")
    host = headers.get("Host", "localhost")
    variables = {
        "QUERY_STRING": query,
        "REQUEST_METHOD": "GET",
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "",
        "REQUEST_URI": path,
        "PATH_INFO": plain,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "https" if is_https else "http",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "0",
        "SERVER_PORT": "443" if is_https else "80",
        "SERVER_NAME": host.partition(":")[0],
        "HTTP_USER_AGENT": AGENT,
        **({"HTTPS": "on"} if is_https else {}),
        **{f"HTTP_{key.upper().replace('-', '_')}": value for key, value in headers.items()},
    }
    block = b"".join(_sized(key) + _sized(value) for key, value in variables.items())
    return _exchange(address, struct.pack("<BHB", 0, len(block), 0) + block, False, "")


def _sized(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack("<H", len(data)) + data


def _exchange(address: str, request: bytes, is_tls: bool, name: str) -> Response:
    began = time.monotonic()
    try:
        connection: socket.socket = reach(address, PATIENCE_S)
    except OSError as error:
        return Response(error=error.strerror or str(error), is_connected=False)
    try:
        if is_tls:
            # Whether the certificate is right is not the question here, and its name may be another one.
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = context.wrap_socket(connection, server_hostname=name or None)
        connection.sendall(request)
        data = b""
        while not _is_enough(data) and (piece := connection.recv(65536)):
            data += piece
    except TimeoutError:
        return Response(error=f"no answer within {PATIENCE_S:g} seconds", seconds=time.monotonic() - began)
    except OSError as error:
        return Response(error=error.strerror or str(error), seconds=time.monotonic() - began)
    finally:
        connection.close()
    return read(data, time.monotonic() - began)


def _is_enough(data: bytes) -> bool:
    """Whether more would tell nothing: the whole body is there, as its length says, or as much as is looked at."""
    head, end, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head) if end else None
    return len(data) >= MOST_BYTES or (length is not None and len(body) >= int(length[1]))


def read(data: bytes, seconds: float = 0.0) -> Response:
    """Read the beginning of a response."""
    head, _, body = data.partition(b"\r\n\r\n")
    match = _STATUS.match(head)
    if match is None:
        what = "closed without an answer" if not data else f"this is no HTTP: {data[:24]!r}"
        return Response(error=what, seconds=seconds)
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.decode("latin-1").partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    return Response(
        status=int(match[1]),
        server=fields.get("server", ""),
        location=fields.get("location", ""),
        body=body[:4096],
        seconds=seconds,
    )
