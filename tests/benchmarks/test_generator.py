"""The load generator: where a response ends, what is planned, and that a slow server can not hide its slowness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.generator import BadResponse, Plan, ResponseReader, closed_loop, open_loop

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("cut", range(1, len(RESPONSE)))
def test_a_response_ends_where_it_ends_however_it_is_cut(cut: int) -> None:
    reader = ResponseReader()
    assert not reader.feed(RESPONSE[:cut])
    assert reader.feed(RESPONSE[cut:])
    assert (reader.status, reader.closes) == (200, False)
    assert reader.feed(RESPONSE)


def test_a_response_without_a_body_is_complete_with_its_head() -> None:
    assert ResponseReader().feed(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"HTTP/1.1 200 OK", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close", True),
        (b"HTTP/1.1 200\r\nconnection: Close", True),
        (b"HTTP/1.0 200 OK", True),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", False),
    ],
)
def test_who_closes_is_known_from_the_head(head: bytes, closes: bool) -> None:
    reader = ResponseReader()
    assert reader.feed(head + b"\r\nContent-Length: 1\r\n\r\nx")
    assert reader.closes is closes


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/2 200\r\nContent-Length: 1\r\n\r\nx",
        b"Hello\r\n\r\n",
        RESPONSE + b"more",
    ],
)
def test_what_the_apps_do_not_answer_is_an_error(data: bytes) -> None:
    with pytest.raises(BadResponse):
        ResponseReader().feed(data)


def test_requests_are_evenly_spaced_and_so_are_the_slow_ones() -> None:
    requests = Plan(rate=100, seconds=2, every=50).requests(10.0)
    assert len(requests) == 200
    assert requests[1].planned_s - requests[0].planned_s == pytest.approx(0.01)
    assert requests[-1].planned_s == pytest.approx(11.99)
    assert [number for number, request in enumerate(requests) if request.slow] == [25, 75, 125, 175]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[int]:
    """A server on a free port; its connections have ended when it does."""
    under_way: set[asyncio.Task[None]] = set()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        await serve(reader, writer)
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*under_way)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def test_every_request_of_a_closed_loop_is_counted_to_its_end() -> None:
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        while await read_head(reader):
            answered += 1
            writer.write(RESPONSE)

    async def run() -> dict[str, object]:
        async with served(serve) as port:
            return await closed_loop("127.0.0.1", port, "/", 4, 0.1)

    result = asyncio.run(run())
    assert result["errors"] == 0
    assert result["completed"] == answered > 4


def test_a_server_that_stalls_is_charged_for_every_request_that_was_planned_meanwhile() -> None:
    """Coordinated omission: with one connection a sleeper stops all others, which a loop that waits would not send."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await read_head(reader):
            if head.startswith(b"GET /slow "):
                await asyncio.sleep(0.3)
            writer.write(RESPONSE)

    async def run() -> dict[str, object]:
        async with served(serve) as port:
            return await open_loop("127.0.0.1", port, ("/", "/slow"), 1, Plan(rate=100, seconds=0.5, every=50))

    result = asyncio.run(run())
    assert result["completed"] == 50
    # The slow one is the 26th; the 24 after it were planned in the next 240 ms, and all but the last few waited.
    assert int(str(result["waited"])) >= 15
    fast, slow = result["fast"], result["slow"]
    assert isinstance(fast, dict) and isinstance(slow, dict)
    assert (fast["count"], slow["count"]) == (49, 1)
    assert fast["max_ms"] >= 200


def test_a_connection_that_the_server_closes_is_opened_again() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await read_head(reader):
            writer.write(RESPONSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))

    async def run() -> dict[str, object]:
        async with served(serve) as port:
            return await open_loop("127.0.0.1", port, ("/", "/"), 2, Plan(rate=200, seconds=0.2, every=50))

    result = asyncio.run(run())
    assert (result["completed"], result["errors"]) == (40, 0)


def test_an_answer_that_breaks_off_is_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await read_head(reader):
            writer.write(RESPONSE[:-5])

    async def run() -> dict[str, object]:
        async with served(serve) as port:
            return await open_loop("127.0.0.1", port, ("/", "/"), 1, Plan(rate=100, seconds=0.05, every=50))

    result = asyncio.run(run())
    assert result["completed"] == 0
    assert int(str(result["errors"])) >= 5
    assert result["first_error"] == "closed before the answer was complete"
