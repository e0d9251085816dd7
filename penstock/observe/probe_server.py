"""The admin listener: a small HTTP server whose pages are made by the master, for probes and load balancers.

Strict, and read by the engine's own parser of HTTP. GET and HEAD only, one request for each connection; the answers
are JSON, hold nothing but what the pages say, and must not be kept by anybody.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

from penstock.observe.small_server import Client, SmallServer
from penstock.values import dataclass

LONGEST_HEAD_BYTES = 8192

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
"""Status -> reason phrase, of the statuses that are given here (RFC 9110, 15)."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: its status, and what it says."""

    status: int
    content: Mapping[str, Any]


class ProbeServer(SmallServer):
    """Answers HTTP requests for a few pages."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        pages: Mapping[str, Callable[[], Page]],
        clock: Callable[[], float],
    ) -> None:
        """Serve on `listener`, which listens already and does not block: path -> what makes its page."""
        self._pages = pages
        super().__init__(listener, selector, clock)

    def arrived(self, client: Client) -> None:
        """Read a request."""
        self.hear(client)

    def heard(self, client: Client) -> None:
        """Answer as soon as the head is complete, or wrong."""
        made = self._respond(client.request)
        if made is not None:
            self.answer(client, made)

    def _respond(self, data: bytes) -> bytes | None:
        """Make the response to a request; None where more of it has to come."""
        # Only who has such a listener needs the engine here.
        from penstock._engine import inspect

        found = inspect("http", data, {"head_bytes": LONGEST_HEAD_BYTES})
        if found["step"] == "need-more":
            return None
        if found["step"] == "error":
            return response(Page(found["status"], {"error": found["code"]}))
        method, path = found["method"], found["path"].decode("latin-1")
        make = self._pages.get(path)
        if make is None:
            return response(Page(404, {"error": "no such page", "pages": list(self._pages)}), method)
        if method not in (b"GET", b"HEAD"):
            return response(Page(405, {"error": "GET and HEAD only"}), method, "Allow: GET, HEAD\r\n")
        return response(make(), method)


def response(page: Page, method: bytes = b"GET", more: str = "") -> bytes:
    """Write a response; that to HEAD has no body."""
    body = json.dumps(page.content).encode() + b"\n"
    head = (
        f"HTTP/1.1 {page.status} {REASONS.get(page.status, 'Unknown')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        f"Connection: close\r\n{more}\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)
