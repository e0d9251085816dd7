"""`penstock ping ADDRESS`: ask a uwsgi socket whether workers answer, with the protocol's own ping.

An instance of uWSGI answers it too, and one that is busy answers when a worker is free.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence

from penstock.commands.connect_and_read import reach
from penstock.plan.addresses import AddressError

SUMMARY = "ask the uwsgi socket at an address whether workers answer; 1: nobody does, 2: with a warning"
USAGE = "[--timeout SECONDS] ADDRESS"
TIMEOUT_S = 3

PING = bytes((100, 0, 0, 0))
"""A packet of modifier 100 without a block."""
ANSWERED_WITH_WARNING = 2


def run(arguments: Sequence[str]) -> int:
    """Ask, and tell how long the answer took. The exit status is uWSGI's: 0, 1 for no answer, 2 for a warning."""
    timeout_s, rest = _options(arguments)
    if timeout_s is None or len(rest) != 1:
        return _fail(f"usage: penstock ping {USAGE}")
    name = rest[0]
    began = time.monotonic()
    try:
        with reach(name, timeout_s) as connection:
            connection.sendall(PING)
            head = _receive(connection, 4)
            warning = _receive(connection, int.from_bytes(head[1:3], "little")) if len(head) == 4 else b""
    except AddressError as error:
        return _fail(f"{name}: {error}; {error.cure}")
    except FileNotFoundError:
        return _fail(f"{name}: there is no such socket; is the instance running?")
    except ConnectionRefusedError:
        return _fail(f"{name}: nobody is listening there; is the instance running?")
    except TimeoutError:
        return _fail(f"{name}: no answer within {timeout_s} seconds; every worker is busy, or it is no uwsgi socket")
    except OSError as error:
        return _fail(f"{name}: {error.strerror or error}")
    if head[:1] != PING[:1]:
        return _fail(f"{name}: this is no answer to a ping; is it a uwsgi socket (socket =, not http =)?")
    if warning:
        _fail(f"{name}: {warning.decode('utf-8', 'replace')}")
        return ANSWERED_WITH_WARNING
    print(f"{name} answered in {(time.monotonic() - began) * 1000:.0f} ms")
    return 0


def _options(arguments: Sequence[str]) -> tuple[int | None, list[str]]:
    """Take the seconds out; None for what is no number of them."""
    rest = list(arguments)
    if "--timeout" not in rest:
        return TIMEOUT_S, rest
    place = rest.index("--timeout")
    text = "".join(rest[place + 1 : place + 2])
    del rest[place : place + 2]
    is_fine = text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0
    return (int(text) if is_fine else None), rest


def _receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data


def _fail(message: str) -> int:
    print(f"[penstock] {message}", file=sys.stderr)
    return 1
