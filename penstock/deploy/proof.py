"""The proof at the end: real requests through nginx to the application, and what their answers say.

A page is asked for through nginx and from the application's own socket: when both answer alike, the chain stands. Then
one of the gathered static files. What goes wrong has a sentence with its usual cause.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from pathlib import Path

from penstock.deploy.services import open_plain
from penstock.deploy.steps import Failed
from penstock.values import dataclass

TIME_LIMIT_S = 60
_LARGEST_BYTES = 1 << 20
_OF_NGINX = b"<center>nginx"
"""In the pages that nginx writes itself."""
_TAIL_BYTES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What requests go through."""

    host: str
    port: int
    has_tls: bool
    socket: str
    """The application's own, which speaks HTTP."""
    path: str
    """A page that has to answer."""
    static_url: str = ""
    static_root: str = ""
    logs: tuple[str, ...] = ()
    """Files whose ends are shown where something fails."""

    @property
    def url(self) -> str:
        """The address of the page."""
        usual = 443 if self.has_tls else 80
        port = "" if self.port == usual else f":{self.port}"
        return f"{'https' if self.has_tls else 'http'}://{self.host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    location: str
    body: bytes
    length: int

    @property
    def is_of_nginx(self) -> bool:
        """Whether nginx wrote it itself."""
        return _OF_NGINX in self.body and self.status >= 300


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIME_LIMIT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the unix socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIME_LIMIT_S)
        self.sock.connect(self._path)


def prove(chain: Chain) -> list[str]:
    """Ask, and say what was seen.

    Raises:
        Failed: the chain does not stand: where it is broken, as far as that can be seen.
    """
    host = chain.host if chain.port in (80, 443) else f"{chain.host}:{chain.port}"
    headers = {"Host": host, "User-Agent": "penstock-deploy", "Connection": "close"}
    try:
        own = _get(_UnixConnection(chain.socket), chain.path, headers | _forwarded(chain))
    except OSError as error:
        raise Failed(f"the application does not answer on {chain.socket}: {_said(error)}", _tails(chain)) from error
    if own.status >= 500:
        raise Failed(f"the application answers {own.status} to {chain.path}", _tails(chain), "its log has the reason")
    if own.status == 400:
        raise Failed(
            f"the application answers 400 to {chain.path} for the host {chain.host}: not in ALLOWED_HOSTS?",
            _tails(chain),
        )
    try:
        seen = _get(_outer(chain), chain.path, headers)
    except OSError as error:
        where = f"127.0.0.1:{chain.port}"
        raise Failed(
            f"nginx does not answer on {where}: {_said(error)}", _tails(chain), "nginx -t; is it running?"
        ) from error
    if seen.is_of_nginx or seen.status != own.status:
        raise Failed(
            f"nginx answers {seen.status} to {chain.url}, and the application itself {own.status}{_cause(seen)}",
            _tails(chain),
        )
    lines = [f"{chain.url}: {seen.status}{f' to {seen.location}' if seen.location else ''}, {seen.length} bytes"]
    sample = _sample(chain)
    if sample is not None:
        name, size = sample
        path = f"{chain.static_url.rstrip('/')}/{name}"
        found = _get(_outer(chain), path, headers)
        if found.status != 200 or found.length != size:
            raise Failed(
                f"nginx answers {found.status} with {found.length} bytes to {path}, which is {chain.static_root}/{name}"
                f" of {size} bytes",
                _tails(chain),
            )
        lines.append(f"{path}: 200, {size} bytes")
    return lines


def _forwarded(chain: Chain) -> dict[str, str]:
    """What nginx says of the client, so that the application answers as it will."""
    return {"X-Forwarded-Proto": "https" if chain.has_tls else "http", "X-Forwarded-For": "127.0.0.1"}


def _outer(chain: Chain) -> http.client.HTTPConnection:
    if not chain.has_tls:
        return http.client.HTTPConnection("127.0.0.1", chain.port, timeout=TIME_LIMIT_S)
    # The certificate is the clients' business: it may be for a name that does not lead here yet.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", chain.port, timeout=TIME_LIMIT_S, context=context)
    raw = socket.create_connection(("127.0.0.1", chain.port), TIME_LIMIT_S)
    connection.sock = context.wrap_socket(raw, server_hostname=chain.host)
    return connection


def _get(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> Answer:
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read(_LARGEST_BYTES)
        length = len(body)
        while piece := answer.read(_LARGEST_BYTES):
            length += len(piece)
        return Answer(answer.status, answer.getheader("Location", ""), body, length)
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP came back: {error}") from error
    finally:
        connection.close()


def _sample(chain: Chain) -> tuple[str, int] | None:
    """One of the static files, a style sheet if there is one, and its size."""
    if not chain.static_url.startswith("/") or not chain.static_root:
        return None
    first = None
    for folder, folders, names in os.walk(chain.static_root):
        folders.sort()
        for name in sorted(names):
            if name.startswith(".") or not name.isascii() or " " in name:
                continue
            path = Path(folder, name)
            found = str(path.relative_to(chain.static_root)), path.stat().st_size
            if name.endswith(".css"):
                return found
            first = first or found
    return first


def _cause(seen: Answer) -> str:
    causes = {
        502: ": it can not reach the socket, or may not",
        503: ": it has no room",
        504: ": the application takes too long",
        404: ": another server block answers, or a location before the application's",
        403: ": it may not read what it should serve",
        301: ": another server block answers",
    }
    return causes.get(seen.status, "")


def _tails(chain: Chain) -> str:
    parts = []
    for path in chain.logs:
        try:
            with open_plain(path) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "backslashreplace").splitlines()[-8:]
        except OSError:
            continue
        if lines:
            parts.append("\n".join([f"{path} ends with:", *(f"  {line}" for line in lines)]))
    return "\n".join(parts)


def _said(error: OSError) -> str:
    return error.strerror or str(error)
