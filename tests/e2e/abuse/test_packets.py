"""The uwsgi protocol from a peer that lies: sizes, modifiers, damage of every kind, and variables that name code.

Workers survive as the same processes, their memory stays, and valid packets in between are served.
"""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.abuse import judge, packets
from tests.e2e.clients import connect, get, uwsgi_packet, uwsgi_request, uwsgi_variables
from tests.e2e.harness import Penstock, rss_bytes

MIB = 1 << 20


def exchange(address: str, data: bytes, *, end: bool = True) -> bytes:
    """Send `data` and, with `end`, the end of the stream; everything that came until the server closed."""
    with connect(address, 10.0) as sock:
        pieces = []
        # Whoever is refused early may find the connection closed while it still sends.
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                pieces.append(piece)
    return b"".join(pieces)


def status_of(answer: bytes) -> int:
    """The status of an answer, 0 for none, 100 for that to a ping; AssertionError for anything else."""
    if not answer or answer == b"\x64\x00\x00\x01":
        return len(answer) * 25
    match = re.match(rb"HTTP/1\.[01] ([2-5]\d\d) [\x20-\x7e]*\r\n(?:[A-Za-z-]+: [^\r\n\0]*\r\n)*\r\n", answer)
    assert match, f"this is no response: {answer[:200]!r}"
    return int(match[1])


@pytest.mark.parametrize(("status", "data"), [
    pytest.param(status, data, id=name) for name, status, data in packets.invalid()
])  # fmt: skip
def test_a_packet_that_must_be_refused(unharmed: Penstock, status: int, data: bytes) -> None:
    canary = uwsgi_packet(uwsgi_variables("/canary"))
    assert status_of(exchange(unharmed.uwsgi, data + canary, end=False)) in (0, status)
    assert judge.ask(unharmed.http).seen == []


@pytest.mark.parametrize(("said", "data"), [
    pytest.param(said, data, id=name) for name, said, data in packets.valid()
])  # fmt: skip
def test_a_packet_that_must_be_understood(unharmed: Penstock, said: dict[str, object], data: bytes) -> None:
    """With a second packet behind it, which is nobody's: a connection carries one request."""
    canary = uwsgi_packet(uwsgi_variables("/canary"))
    variables = dict(said["vars"])  # type: ignore[call-overload]
    status = status_of(exchange(unharmed.uwsgi, data + canary))
    seen = judge.ask(unharmed.http).seen
    if not variables.get("REQUEST_METHOD") or said["modifier1"] not in (0, 30):
        # 100 is the answer to a ping.
        assert status in (0, 100, 400)
        assert seen == []
        return
    assert len(seen) == 1
    assert seen[0]["method"] == variables["REQUEST_METHOD"]
    assert len(seen[0]["body"]) == said["content_length"]
    assert status == 200


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in packets.lying()])
def test_a_packet_that_lies(unharmed: Penstock, data: bytes) -> None:
    status_of(exchange(unharmed.uwsgi, data))
    assert judge.ask(unharmed.http).seen == []


def damage(server: Penstock, seed: int, count: int) -> dict[int, int]:
    """Send `count` mutations with valid neighbours in between; how often each status came."""
    (worker,) = server.workers()
    found: dict[int, int] = {}
    memory = 0
    for number, data in enumerate(packets.mutations(seed, count)):
        try:
            status = status_of(exchange(server.uwsgi, data))
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"mutation {number} of seed {seed}: {data!r}: {error}") from error
        found[status] = found.get(status, 0) + 1
        if number % 50 == 0:
            assert uwsgi_request(server.uwsgi, "/neighbour").body == b"GET 0"
            assert get(server.http, "/neighbour").body == b"GET 0"
            judge.ask(server.http)
        if number == count // 10:
            # Buffers have their usual sizes by now.
            memory = rss_bytes(worker)
    assert server.workers() == [worker]
    assert rss_bytes(worker) - memory < 8 * MIB
    return found


def test_a_thousand_mutations(unharmed: Penstock) -> None:
    found = damage(unharmed, 1, 1000)
    # Otherwise the mutations would be of one kind only.
    assert found[400] > 100
    assert found.get(200, 0) > 20


@pytest.mark.stress
@pytest.mark.parametrize("seed", [2, 3])
def test_stress_ten_thousand_mutations(unharmed: Penstock, seed: int) -> None:
    damage(unharmed, seed, 10_000)


@pytest.mark.parametrize("modifier", [0, 30])
def test_no_variable_of_the_wire_chooses_code(unharmed: Penstock, tmp_path: Path, modifier: int) -> None:
    """Each alone and all together: nothing is loaded, and nothing of the process changes."""
    module, mark = packets.planted(tmp_path)
    before = judge.ask(unharmed.http)
    variables = packets.magic(module)
    for chosen in (*({name: value} for name, value in variables.items()), variables):
        response = uwsgi_request(unharmed.uwsgi, "/magic", modifier1=modifier, SCRIPT_NAME="", **chosen)
        assert (response.status, response.body) == (200, b"GET 0"), chosen
    headers = {name.replace("_", "-"): value for name, value in variables.items() if name.isupper()}
    assert get(unharmed.http, "/magic", headers).body == b"GET 0"
    after = judge.ask(unharmed.http)
    assert not mark.exists()
    unchanged = ("pid", "cwd", "path", "prefix", "environment")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]


def test_the_app_s_own_objects_are_not_replaced_by_the_wire(unharmed: Penstock) -> None:
    assert uwsgi_request(unharmed.uwsgi, "/inputs", "POST", b"line one\nline two\nrest", **{
        "wsgi.input": "evil", "wsgi.errors": "evil", "wsgi.version": "evil", "wsgi.multithread": "",
    }).status == 200  # fmt: skip
