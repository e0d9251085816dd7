"""`penstock connect-and-read ADDRESS`: print what an address sends until it closes, for instance statistics."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from penstock.plan.addresses import AddressError, parse_address

SUMMARY = "print what an address sends, for instance statistics"
USAGE = "ADDRESS"
TIMEOUT_S = 30


def run(arguments: Sequence[str]) -> int:
    """Copy everything to standard output; 1 when the address can not be reached."""
    if len(arguments) != 1:
        return _fail("usage: penstock connect-and-read ADDRESS")
    name = arguments[0]
    try:
        with reach(name, TIMEOUT_S) as connection:
            _copy(connection)
    except AddressError as error:
        return _fail(f"{name}: {error}; {error.cure}")
    except FileNotFoundError:
        return _fail(f"{name}: there is no such socket; is the instance running?")
    except ConnectionRefusedError:
        return _fail(f"{name}: nobody is listening there; is the instance running?")
    except TimeoutError:
        return _fail(f"{name}: nothing came for {TIMEOUT_S} seconds")
    except OSError as error:
        return _fail(f"{name}: {error.strerror or error}")
    return 0


def reach(name: str, timeout_s: float) -> socket.socket:
    """Connect to an address as configurations write it. Raises AddressError or OSError."""
    address = parse_address(name, os.getcwd())
    if address.family in ("inet", "inet6"):
        return socket.create_connection((address.host or "localhost", address.port), timeout=timeout_s)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        connection.connect(address.host if address.family == "unix" else "\0" + address.host)
    except OSError:
        connection.close()
        raise
    return connection


def _copy(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _fail(message: str) -> int:
    print(f"[penstock] {message}", file=sys.stderr)
    return 1
