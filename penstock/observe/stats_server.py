"""The statistics socket: connect, read one JSON document to its end, done. With `stats-http`, after an HTTP request.

(uWSGI serves one client at a time, and its master stands still meanwhile.)
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from penstock.observe.small_server import Client, SmallServer

LONGEST_REQUEST_BYTES = 16384
"""Of HTTP; what it asks for has no meaning, so that its beginning is as good as all of it."""

HTTP_HEAD = (
    b"HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\r\n"
)
"""As uWSGI has it: pages of other origins may show the numbers."""


class StatsServer(SmallServer):
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
        self._make = make
        super().__init__(listener, selector, clock)

    def arrived(self, client: Client) -> None:
        """Give the document at once, or read a request first."""
        if self.speaks_http:
            self.hear(client)
        else:
            self.answer(client, self._make().encode())

    def heard(self, client: Client) -> None:
        """Answer at the end of the request's head."""
        head = client.request.replace(b"\r", b"")
        if b"\n\n" in head or len(head) > LONGEST_REQUEST_BYTES:
            self.answer(client, HTTP_HEAD + self._make().encode())
