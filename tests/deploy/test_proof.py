"""The request at the end: what it says when nginx, the application, or what is between them answers otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from penstock.deploy.proof import Chain, prove
from penstock.deploy.steps import Failed
from tests.e2e.harness import free_port

OF_NGINX = b"<html><center>nginx/1.22.1</center></html>"
Pages = Mapping[str, tuple[int, bytes]]


class _UnixServer(UnixStreamServer):
    def get_request(self) -> tuple[object, tuple[str, int]]:  # type: ignore[override]
        """Accept a connection, from an address as the handler wants it."""
        return super().get_request()[0], ("local", 0)


@contextmanager
def serving(where: str | int, pages: Pages) -> Iterator[None]:
    """Serve pages on a unix socket or a port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer as the table says."""
            status, body = pages.get(self.path, (404, b"none"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", where), Handler) if isinstance(where, int) else _UnixServer(where, Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def proof_of(folder: Path, app: Pages | None, nginx: Pages | None) -> list[str]:
    """Prove a chain of an application and what stands in front; None where nothing listens."""
    (folder / "static").mkdir()
    (folder / "static/a.css").write_text("body {}")
    (folder / "log").write_text("first\nthe reason\n")
    chain = Chain(
        host="shop.example.org",
        port=free_port(),
        has_tls=False,
        socket=str(folder / "app.sock"),
        path="/up",
        static_url="/static/",
        static_root=str(folder / "static"),
        logs=(str(folder / "log"), str(folder / "none")),
    )
    with ExitStack() as stack:
        if app is not None:
            stack.enter_context(serving(chain.socket, app))
        if nginx is not None:
            stack.enter_context(serving(chain.port, nginx))
        return prove(chain)


CSS = {"/static/a.css": (200, b"body {}")}


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_where_both_answer_alike_the_chain_stands(short_dir: Path, status: int) -> None:
    pages = {"/up": (status, b"hello")}
    page, css = proof_of(short_dir, pages, pages | CSS)
    assert f"/up: {status}, 5 bytes" in page and css == "/static/a.css: 200, 7 bytes"


@pytest.mark.parametrize(
    ("app", "nginx", "says"),
    [
        (None, {}, "the application does not answer"),
        ({"/up": (500, b"")}, {}, "the application answers 500"),
        ({"/up": (400, b"")}, {}, "not in ALLOWED_HOSTS"),
        ({"/up": (200, b"")}, None, "nginx does not answer"),
        ({"/up": (200, b"")}, {"/up": (502, OF_NGINX)}, "it can not reach the socket"),
        ({"/up": (404, b"")}, {"/up": (404, OF_NGINX)}, "another server block"),
        ({"/up": (200, b"")}, {"/up": (301, OF_NGINX)}, "another server block"),
        ({"/up": (200, b"")}, {"/up": (200, b"")}, "nginx answers 404 with 4 bytes to /static/a.css"),
    ],
)
def test_where_it_is_broken_is_said_with_the_end_of_the_logs(
    short_dir: Path, app: Pages | None, nginx: Pages | None, says: str
) -> None:
    with pytest.raises(Failed, match=says) as failed:
        proof_of(short_dir, app, nginx)
    assert "the reason" in failed.value.output
