"""The statistics socket: connect, read one JSON document to its end, done. With `stats-http`, after an HTTP request.

It lives in the master's loop and never waits: a client that does not read is dropped after a while, and there are
never more than a few. (uWSGI serves one client at a time and stands still meanwhile.)
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

MOST_CLIENTS = 64
PATIENCE_S = 5.0
"""How long a client may take to read the document."""

LINGER_S = 1.0
"""How long to wait for the client's own end of file; closing with unread bytes would cut what it has not read yet."""


LONGEST_REQUEST_BYTES = 16384
"""Of HTTP; what it asks for has no meaning, so that its beginning is as good as all of it."""

HTTP_HEAD = (
    b"HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\r\n"
)
"""As uWSGI has it: pages of other origins may show the numbers."""


class StatsServer:
    """Hands a document to everybody who connects."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        make: Callable[[], str],
        clock: Callable[[], float],
        speaks_http: bool = False,
    ) -> None:
        """Serve on `listener`, which listens already and does not block; `make` writes the document."""
        self.speaks_http = speaks_http
        """Whether a client has to send an HTTP request first; may change for clients to come."""
        self._listener = listener
        self._selector = selector
        self._make = make
        self._clock = clock
        self._clients: dict[socket.socket, _Client] = {}
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def next_deadline(self) -> float | None:
        """Tell when `expire` should be called next."""
        return min((client.deadline for client in self._clients.values()), default=None)

    def expire(self) -> None:
        """Drop the clients whose time is over."""
        now = self._clock()
        for client in [one for one in self._clients.values() if one.deadline <= now]:
            self._drop(client)

    def close(self) -> None:
        """Stop serving."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        if len(self._clients) >= MOST_CLIENTS:
            self._drop(min(self._clients.values(), key=lambda one: one.deadline))
        client = _Client(connection, self._clock() + PATIENCE_S)
        self._clients[connection] = client
        if self.speaks_http:
            self._selector.register(connection, selectors.EVENT_READ, lambda events: self._hear(client))
            self._hear(client)
        else:
            self._selector.register(connection, selectors.EVENT_WRITE, lambda events: self._proceed(client))
            client.rest = self._make().encode()
            self._proceed(client)

    def _hear(self, client: _Client) -> None:
        """Read a request to the end of its head."""
        try:
            data = client.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        client.request += data
        head = client.request.replace(b"\r", b"")
        if not data:
            self._drop(client)
        elif b"\n\n" in head or len(head) > LONGEST_REQUEST_BYTES:
            self._selector.modify(client.connection, selectors.EVENT_WRITE, lambda events: self._proceed(client))
            client.rest = HTTP_HEAD + self._make().encode()
            self._proceed(client)

    def _proceed(self, client: _Client) -> None:
        try:
            if client.rest:
                sent = client.connection.send(client.rest)
                client.rest = client.rest[sent:]
                if client.rest:
                    return
                client.connection.shutdown(socket.SHUT_WR)
                client.deadline = self._clock() + LINGER_S
                self._selector.modify(client.connection, selectors.EVENT_READ, lambda events: self._proceed(client))
            elif not client.connection.recv(65536):
                self._drop(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection, None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()


class _Client:
    """Somebody who connected."""

    __slots__ = ("connection", "deadline", "request", "rest")

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.request = b""
        self.rest = b""
        """What is still to be sent; empty when only the client's end of file is waited for."""
        self.deadline = deadline
