"""A load of clients in threads, which count what went wrong; used while workers are reloaded, recycled and killed."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from tests.e2e.clients import Connection, Cut
from tests.e2e.harness import until


class Load:
    """Clients that ask for `target` without pause: half of them on one connection, half on new ones."""

    def __init__(self, address: str, target: str = "/hello", clients: int = 4) -> None:
        self.address = address
        self.target = target
        self.failures: list[str] = []
        self.answers: Counter[bytes] = Counter()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._client, args=(number % 2 == 0,), name=f"client {number}")
            for number in range(clients)
        ]

    @property
    def count(self) -> int:
        """Requests that were answered with 200."""
        with self._lock:
            return self.answers.total()

    def _client(self, keep: bool) -> None:
        connection: Connection | None = None
        served = 0
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection, served = Connection(self.address), 0
                response = connection.request("GET", self.target, {} if keep else {"Connection": "close"})
                served += 1
                if response.status != 200:
                    raise AssertionError(f"status {response.status}: {response.body[:200]!r}")
                with self._lock:
                    self.answers[response.body] += 1
                if not keep or (response.header("connection") or "").lower() == "close":
                    connection.close()
                    connection = None
            except (OSError, Cut, AssertionError) as error:
                with self._lock:
                    self.failures.append(f"request {served + 1} of a connection: {type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def more(self, count: int, deadline_s: float = 30.0) -> None:
        """Wait until `count` more requests were answered."""
        goal = self.count + count
        until(f"{count} more answers ({self.failures[-3:]})", lambda: self.count >= goal, deadline_s)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
