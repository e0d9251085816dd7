"""A load of clients in threads that count what went wrong, used while workers are reloaded, recycled, moved and killed.

Each client is of a kind (KINDS): how it uses its connections. Whatever it asks for, the answer must be the right one.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.e2e.clients import Connection, Cut, Response, request_bytes, uwsgi_packet, uwsgi_variables
from tests.e2e.harness import until
from tests.e2e.held import name_of

UPLOAD = b"0123456789abcdef" * 4096

REFUSED = (ConnectionRefusedError, FileNotFoundError)
"""What a client that connects is told when nobody listens any more."""

KINDS = {
    "kept": "one request after the other on one connection",
    "new": "a connection for each request",
    "idle": "one connection, idle most of the time",
    "slow": "one connection, and an app that waits",
    "upload": "one connection, and bodies that come in pieces",
    "uwsgi": "the uwsgi protocol, a connection for each request",
}


@dataclass(frozen=True)
class Failure:
    """A request that was not answered, or not as it should be."""

    kind: str
    number: int
    """Of the request on its connection, from 1."""
    error: Exception
    is_race: bool
    """It was sent on a connection that had been used before, and not a byte came back: the server may have closed it in
    the moment in which it was sent. HTTP can not avoid that; clients and proxies repeat such a request by themselves
    (RFC 9112, 9.3.1)."""
    mark: str
    """What the request bore as X-Mark; each one has another."""
    connection: str
    """The name of its connection (`held.name_of`); empty if it had none."""
    opened: float
    """When that was made, as the other times in seconds of the monotonic clock."""
    began: float
    """When the first byte of the request was sent, or before."""
    failed: float

    def __str__(self) -> str:
        return f"{self.kind}, request {self.number} of a connection: {type(self.error).__name__}: {self.error}"


class Load:
    """Clients that ask for `target` until the end of the block; without `kinds`, half of them keep their connection."""

    def __init__(
        self,
        address: str,
        target: str = "/hello",
        clients: int = 4,
        kinds: Sequence[str] = (),
        ends_when_refused: bool = False,
    ) -> None:
        """`ends_when_refused`: for an instance that is stopped; a client that can not connect is done."""
        self.address = address
        self.target = target
        self.answers: Counter[bytes] = Counter()
        self._failures: list[Failure] = []
        self._ends_when_refused = ends_when_refused
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._random = random.Random(7)
        self._marks = itertools.count(1)
        self.kinds = tuple(kinds) or tuple(("kept", "new")[number % 2] for number in range(clients))
        self._threads = [
            threading.Thread(target=self._client, args=(kind,), name=f"{kind} client {number}")
            for number, kind in enumerate(self.kinds)
        ]

    @property
    def count(self) -> int:
        """Requests that were answered with 200."""
        with self._lock:
            return self.answers.total()

    @property
    def failures(self) -> list[str]:
        """What went wrong, in words, however it may be excused."""
        with self._lock:
            return [str(one) for one in self._failures]

    @property
    def lost(self) -> list[str]:
        """What went wrong and is no race of a client that reuses a connection."""
        with self._lock:
            return [str(one) for one in self._failures if not one.is_race]

    @property
    def races(self) -> int:
        """How often a client used a connection again in the moment in which it was closed."""
        with self._lock:
            return sum(one.is_race for one in self._failures)

    @property
    def failed(self) -> list[Failure]:
        """Every request that was not answered as it should be."""
        with self._lock:
            return list(self._failures)

    def _client(self, kind: str) -> None:
        connection: Connection | None = None
        served = 0
        opened = 0.0
        while not self._stop.is_set():
            mark = f"{kind}-{next(self._marks)}"
            began = time.monotonic()
            name = ""
            try:
                if connection is None:
                    opened = began
                    connection, served = Connection(self.address), 0
                name = name_of(connection.sock)
                response = self._exchange(kind, connection, mark)
                if response.status == 502 and self._ends_when_refused:
                    # A proxy was refused; its log says whether that was all.
                    break
                served += 1
                if kind in ("new", "uwsgi") or (response.header("connection") or "").lower() == "close":
                    connection.close()
                    connection = None
            except (OSError, Cut, AssertionError) as error:
                if connection is None and self._ends_when_refused and isinstance(error, REFUSED):
                    return
                is_reset = isinstance(error, ConnectionError) or (isinstance(error, Cut) and not error.data)
                is_race = connection is not None and served > 0 and is_reset
                number = served + 1 if connection is not None else 1
                failure = Failure(kind, number, error, is_race, mark, name, opened, began, time.monotonic())
                with self._lock:
                    self._failures.append(failure)
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _exchange(self, kind: str, connection: Connection, mark: str) -> Response:
        """Ask for something, and see that the answer is the right one."""
        headers = {"X-Mark": mark}
        if kind == "uwsgi":
            connection.send(uwsgi_packet(uwsgi_variables(self.target, HTTP_X_MARK=mark)))
            version, status, reason, fields = connection.read_head()
            response = Response(version, status, reason, fields, connection.rest(), "close")
        elif kind == "upload":
            response = self._upload(connection, headers)
        elif kind == "slow":
            response = connection.request("GET", "/rest?ms=30", headers)
        else:
            more = {"Connection": "close"} if kind == "new" else {}
            response = connection.request("GET", self.target, headers | more)
        if response.status == 502 and self._ends_when_refused:
            return response
        if response.status != 200:
            raise AssertionError(f"status {response.status}: {response.body[:200]!r}")
        with self._lock:
            self.answers[response.body if kind != "upload" else b"upload"] += 1
        if kind == "idle":
            self._stop.wait(self._random.uniform(0.005, 0.3))
        return response

    def _upload(self, connection: Connection, headers: dict[str, str]) -> Response:
        data = request_bytes("POST", "/echo", headers, UPLOAD)
        cut = self._random.randrange(1, len(data))
        connection.send(data[:cut])
        self._stop.wait(self._random.uniform(0.0, 0.05))
        response = connection.send(data[cut:]).read("POST")
        assert response.status != 200 or response.body == UPLOAD, (
            f"{len(response.body)} bytes of {len(UPLOAD)} came back"
        )
        return response

    def more(self, count: int, deadline_s: float = 30.0) -> None:
        """Wait until `count` more requests were answered."""
        goal = self.count + count
        until(f"{count} more answers ({self.failures[-3:]})", lambda: self.count >= goal, deadline_s)

    def join(self, deadline_s: float = 30.0) -> None:
        """Wait until every client is done (`ends_when_refused`)."""
        until("every client is done", lambda: not any(thread.is_alive() for thread in self._threads), deadline_s)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Let every client end with the request that it is at."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
