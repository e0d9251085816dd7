"""Sentry's and OpenTelemetry's own packages in an app that is imported once and forked: every worker reports."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.both import ask_both
from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, until

WARNING = "the import has left behind what the workers can not share"


class Sink:
    """An HTTP server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                sink.bodies.append(gzip.decompress(data) if is_packed else data)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def spans(self) -> list[dict[str, Any]]:
        """What apps/traced.py has sent."""
        return [span for body in self.bodies for span in json.loads(body)]

    def events(self) -> list[dict[str, Any]]:
        """The events in Sentry's envelopes: lines of JSON, of which some are heads."""
        lines = [json.loads(line) for body in self.bodies for line in body.splitlines() if line.startswith(b"{")]
        return [line for line in lines if "event_id" in line and "level" in line]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


def start(app: str, sink_address: str, *options: str, **env: str) -> Penstock:
    arguments = ("--http-socket", "127.0.0.1:0", "--processes", "2", "--wsgi-file", APPS / app, *options)
    return Penstock(*arguments, env={"SINK": sink_address, **env})


@pytest.mark.parametrize("options", [(), ("--lazy-apps",)], ids=["preloaded", "lazy"])
def test_opentelemetry_gets_the_spans_of_every_worker(sink: Sink, short_dir: Path, options: tuple[str, ...]) -> None:
    with start("traced.py", f"http://127.0.0.1:{sink.port}/", *options) as instance:
        workers = {int(response.text) for response in ask_both(instance.http, "/", short_dir)}
        until("spans of both", lambda: {span["pid"] for span in sink.spans()} >= workers)
        # Each is sent by the worker that made it: the thread that sends them lives in each.
        assert all(span["pid"] == span["sent_by"] for span in sink.spans())
        assert WARNING not in instance.log
    assert len(sink.spans()) == 2


def test_spans_that_are_waiting_at_the_end_are_sent(sink: Sink) -> None:
    environment = {"DELAY_MS": "60000"}
    with start("traced.py", f"http://127.0.0.1:{sink.port}/", "--threads", "2", **environment) as instance:
        for _ in range(5):
            assert get(instance.http).status == 200
    assert len(sink.spans()) == 5


@pytest.mark.option("trace-context")
def test_a_trace_that_is_made_here_is_that_of_the_span_and_of_the_log(sink: Sink) -> None:
    options = ("--trace-context", "--log-format", "TRACE %(traceid)")
    with start("traced.py", f"http://127.0.0.1:{sink.port}/", *options) as instance:
        assert get(instance.http).status == 200
        span = until("the span", sink.spans)[0]
        instance.wait_log(f"^TRACE {span['trace']}$")


@pytest.mark.parametrize("options", [(), ("--lazy-apps",)], ids=["preloaded", "lazy"])
def test_sentry_gets_the_exceptions_of_every_worker(sink: Sink, short_dir: Path, options: tuple[str, ...]) -> None:
    with start("reported.py", f"http://public@127.0.0.1:{sink.port}/1", *options) as instance:
        assert [response.status for response in ask_both(instance.http, "/raise", short_dir)] == [500, 500]
        workers = {*instance.workers()}

        def raised() -> list[dict[str, Any]]:
            return [event for event in sink.events() if "exception" in event]

        until("events of both", lambda: {int(event["tags"]["pid"]) for event in raised()} == workers)
        assert {event["exception"]["values"][-1]["value"] for event in raised()} == {"a reason"}
        assert WARNING not in instance.log
