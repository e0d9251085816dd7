"""A load generator for what wrk can not do; `python -m benchmarks.generator MODE ...` prints one line of JSON.

- `closed`: each of N connections asks again as soon as it is answered; at the end every request is answered before
  anything is counted. wrk stops in the middle, and with slow answers what is under way then is a large share.
- `open`: requests leave at planned times, evenly spaced, each Kth of them to a slow path. A latency counts from the
  planned time, so that a server that stalls can not make the generator stop asking while it does (coordinated
  omission). A request goes to the connection that was idle for the longest time; if none is idle it waits, and that
  counts. The fast requests' figures stand apart from the slow ones'.
- `idle`: opens N connections, has one request answered on each, and keeps them open until standard input ends.

Why not a tool from Debian or PyPI: wrk, h2load, hey and siege have no plan of send times, and wrk2 is in neither. Those
with a plan (vegeta, k6, locust) take latency from the moment of sending or mix all requests into one figure, and none
spreads them over a fixed set of connections. A Python program on a core of its own sends thousands of requests a
second, and these cases need hundreds.

It knows the responses that the benchmark's apps give: HTTP/1.x with a Content-Length. Anything else is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import selectors
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchmarks.figures import percentile

GIVE_UP_S = 30.0
"""How long answers are waited for after the last request."""
WAITED_MS = 50.0
"""A fast request that took longer waited behind somebody: no fast path takes a tenth of it."""
EARLY_S = 0.0003
"""From here on a planned time is waited for by looking at the clock: a timer may be that late."""


class BadResponse(Exception):
    """What came is not an answer that the apps give."""


class ResponseReader:
    """Finds the end of one response after the other in the bytes of a connection."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left: int | None = None
        """Bytes of the body that are to come, None while the head is read."""
        self.status = 0
        self.closes = False
        """Whether the server closes the connection after this response."""

    def feed(self, data: bytes) -> bool:
        """Take `data`; whether the response is complete with it. Raises BadResponse."""
        if self._left is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._left = self._read_head(bytes(self._head[:end])) - (len(self._head) - end - 4)
            self._head.clear()
        else:
            self._left -= len(data)
        if self._left < 0:
            raise BadResponse(f"{-self._left} bytes more than Content-Length says")
        if self._left:
            return False
        self._left = None
        return True

    def _read_head(self, head: bytes) -> int:
        line, _, rest = head.partition(b"\r\n")
        found = re.match(rb"HTTP/1\.([01]) (\d{3})(?: |$)", line)
        if not found:
            raise BadResponse(f"not a status line: {line[:80]!r}")
        fields = {
            name.strip().lower(): value.strip().lower()
            for name, _, value in (entry.partition(b":") for entry in rest.split(b"\r\n"))
        }
        self.status = int(found[2])
        connection = fields.get(b"connection", b"")
        self.closes = connection == b"close" or (found[1] == b"0" and connection != b"keep-alive")
        try:
            return int(fields[b"content-length"])
        except (KeyError, ValueError):
            raise BadResponse("no Content-Length") from None


@dataclass(frozen=True, slots=True)
class Request:
    """One request that is to be sent, or was."""

    planned_s: float
    """On the event loop's clock."""
    slow: bool = False


@dataclass
class Tally:
    """What became of the requests."""

    fast_ms: list[float] = field(default_factory=list)
    slow_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """By how much the generator itself missed a planned time, where a connection was idle: its own error."""
    errors: int = 0
    first_error: str = ""
    in_window: int = 0

    def error(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what

    def summary(self, window_s: float) -> dict[str, object]:
        """What is printed."""
        return {
            "completed": len(self.fast_ms) + len(self.slow_ms),
            "rate": self.in_window / window_s,
            "errors": self.errors,
            "first_error": self.first_error,
            "fast": latencies(self.fast_ms),
            "slow": latencies(self.slow_ms),
            "late_p99_ms": percentile(self.late_ms, 0.99) if self.late_ms else 0.0,
            "waited": sum(each > WAITED_MS for each in self.fast_ms),
        }


def latencies(values_ms: Sequence[float]) -> dict[str, float]:
    """Count and percentiles; only the count if there is nothing."""
    if not values_ms:
        return {"count": 0}
    return {
        "count": len(values_ms),
        "p50_ms": percentile(values_ms, 0.5),
        "p99_ms": percentile(values_ms, 0.99),
        "max_ms": max(values_ms),
    }


class Connection(asyncio.Protocol):
    """One connection of the pool, opened again whenever the server closes it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.reader = ResponseReader()
        self.transport: asyncio.Transport | None = None
        self.request: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pool.connections.add(self)
        self.pool.became_idle(self)

    def send(self, request: Request) -> None:
        """Send `request` now."""
        assert self.transport is not None and self.request is None
        self.request = request
        self.transport.write(self.pool.bytes_of(slow=request.slow))

    def data_received(self, data: bytes) -> None:
        if self.request is None:
            return self.broken("an answer that nobody asked for")
        try:
            if not self.reader.feed(data):
                return
        except BadResponse as error:
            return self.broken(str(error))
        request, self.request = self.request, None
        if self.reader.status != 200:
            self.pool.tally.error(f"status {self.reader.status}")
        self.pool.answered(request)
        if self.reader.closes:
            assert self.transport is not None
            self.transport.abort()
        else:
            self.pool.became_idle(self)

    def broken(self, what: str) -> None:
        """Give the connection up."""
        assert self.transport is not None
        if self.request is not None:
            self.request = None
            self.pool.failed(what)
        else:
            self.pool.tally.error(what)
        self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        if self.request is not None:
            self.request = None
            self.pool.failed("closed before the answer was complete")
        self.pool.lost(self)


class Pool:
    """The connections, which of them are idle, and the requests that wait for one."""

    def __init__(self, host: str, port: int, paths: tuple[str, str], then: Callable[[Connection], bool]) -> None:
        """`then` is asked what an idle connection does next; False leaves it idle."""
        self.host, self.port, self.then = host, port, then
        self._bytes = tuple(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() for path in paths)
        self.tally = Tally()
        self.idle: deque[Connection] = deque()
        self.waiting: deque[Request] = deque()
        self.connections: set[Connection] = set()
        self.under_way = 0
        self.reopens = True
        """Whether a connection that the server closes is opened again."""
        self.window_ends_s = float("inf")
        self.quiet = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._reopening: set[asyncio.Task[None]] = set()

    def bytes_of(self, *, slow: bool) -> bytes:
        return self._bytes[slow]

    async def connect(self, count: int) -> None:
        """Open `count` connections, some at a time, so that no backlog overflows. Raises OSError."""
        while count > 0:
            some = min(count, 100)
            await asyncio.gather(*(self._open() for _ in range(some)))
            count -= some

    async def _open(self) -> None:
        await self._loop.create_connection(lambda: Connection(self), self.host, self.port)

    async def _reopen(self) -> None:
        try:
            await self._open()
        except OSError as error:
            self.tally.error(f"connecting again: {error}")

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.reopens:
            task = self._loop.create_task(self._reopen())
            self._reopening.add(task)
            task.add_done_callback(self._reopening.discard)

    def became_idle(self, connection: Connection) -> None:
        if self.waiting:
            connection.send(self.waiting.popleft())
        elif not self.then(connection):
            self.idle.append(connection)

    def submit(self, request: Request) -> None:
        """Send `request` on the connection that was idle for longest, or as soon as one is."""
        self.began()
        if self.idle:
            self.tally.late_ms.append((self._loop.time() - request.planned_s) * 1000)
            self.idle.popleft().send(request)
        else:
            self.waiting.append(request)

    def began(self) -> None:
        self.under_way += 1
        self.quiet.clear()

    def answered(self, request: Request) -> None:
        now = self._loop.time()
        self.tally.in_window += now <= self.window_ends_s
        (self.tally.slow_ms if request.slow else self.tally.fast_ms).append((now - request.planned_s) * 1000)
        self._ended()

    def failed(self, what: str) -> None:
        self.tally.error(what)
        self._ended()

    def _ended(self) -> None:
        self.under_way -= 1
        if self.under_way == 0:
            self.quiet.set()

    async def drain(self) -> None:
        """Wait for the answers that are missing; those that do not come are errors."""
        if self.under_way:
            try:
                await asyncio.wait_for(self.quiet.wait(), GIVE_UP_S)
            except TimeoutError:
                self.tally.errors += self.under_way
                self.tally.first_error = self.tally.first_error or f"{self.under_way} requests were never answered"
        self.reopens = False

    async def close(self) -> None:
        """Close all connections."""
        self.reopens = False
        for task in list(self._reopening):
            await task
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
        while self.connections:
            await asyncio.sleep(0)


async def closed_loop(host: str, port: int, path: str, connections: int, seconds: float) -> dict[str, object]:
    """Load with `connections` that ask again at once."""
    loop = asyncio.get_running_loop()
    ends_s = 0.0

    def then(connection: Connection) -> bool:
        now = loop.time()
        if now >= ends_s:
            return False
        pool.began()
        connection.send(Request(now))
        return True

    pool = Pool(host, port, (path, path), then)
    await pool.connect(connections)
    starts_s = loop.time()
    ends_s = pool.window_ends_s = starts_s + seconds
    while pool.idle:
        then(pool.idle.popleft())
    await asyncio.sleep(seconds)
    await pool.drain()
    await pool.close()
    return pool.tally.summary(seconds)


async def until(when_s: float) -> None:
    """Wait until `when_s` on the event loop's clock, exactly."""
    loop = asyncio.get_running_loop()
    left = when_s - loop.time()
    if left > EARLY_S:
        await asyncio.sleep(left - EARLY_S)
    while loop.time() < when_s:
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Plan:
    """What an open loop sends: `rate` requests a second, evenly spaced; each `every`th, from the middle on, is slow."""

    rate: float
    seconds: float
    every: int

    def requests(self, start_s: float) -> list[Request]:
        """Every request with its time."""
        middle = self.every // 2
        return [
            Request(start_s + number / self.rate, slow=number % self.every == middle)
            for number in range(int(self.rate * self.seconds))
        ]


async def open_loop(host: str, port: int, paths: tuple[str, str], connections: int, plan: Plan) -> dict[str, object]:
    """Send what `plan` says over `connections`; `paths` are the fast and the slow one."""
    loop = asyncio.get_running_loop()
    pool = Pool(host, port, paths, lambda _: False)
    await pool.connect(connections)
    start_s = loop.time() + 0.05
    pool.window_ends_s = start_s + plan.seconds
    for request in plan.requests(start_s):
        await until(request.planned_s)
        pool.submit(request)
    await pool.drain()
    await pool.close()
    return pool.tally.summary(plan.seconds)


async def idle_flood(host: str, port: int, path: str, connections: int) -> dict[str, object]:
    """Open the connections, have a request answered on each, say so, and keep them until standard input ends."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asked: set[Connection] = set()

    def then(connection: Connection) -> bool:
        if connection in asked:
            return False
        asked.add(connection)
        pool.began()
        connection.send(Request(asyncio.get_running_loop().time()))
        return True

    pool = Pool(host, port, (path, path), then)
    pool.reopens = False
    await pool.connect(connections)
    await pool.drain()
    print(
        json.dumps({"open": len(pool.connections), "errors": pool.tally.errors, "first_error": pool.tally.first_error}),
        flush=True,
    )
    await asyncio.to_thread(sys.stdin.read)
    left = len(pool.connections)
    await pool.close()
    return {"open": left}


def main(arguments: Sequence[str]) -> int:
    """Generate one load; 1 if the server can not even be connected to."""
    parser = argparse.ArgumentParser(prog="benchmarks.generator", description="load that wrk can not generate")
    parser.add_argument("mode", choices=("closed", "open", "idle"))
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--path", default="/")
    parser.add_argument("--slow-path", default="/")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second (open)")
    parser.add_argument("--every", type=int, default=50, help="each how manieth request is a slow one (open)")
    wanted = parser.parse_args(arguments)
    host, _, port = wanted.address.rpartition(":")
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if wanted.mode == "closed":
        work = closed_loop(host, int(port), wanted.path, wanted.connections, wanted.seconds)
    elif wanted.mode == "open":
        plan = Plan(wanted.rate, wanted.seconds, wanted.every)
        # epoll's timeouts are whole milliseconds, select's are not; its 1,024 descriptors are enough here.
        factory = partial(asyncio.SelectorEventLoop, selectors.SelectSelector())
        work = open_loop(host, int(port), (wanted.path, wanted.slow_path), wanted.connections, plan)
    else:
        work = idle_flood(host, int(port), wanted.path, wanted.connections)
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            print(json.dumps(runner.run(work)), flush=True)
    except OSError as error:
        print(f"{wanted.address}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
