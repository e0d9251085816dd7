"""Addresses as users write them, read into family, host and port. Pure."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

from penstock.plan.types import Family

LONGEST_UNIX_PATH_BYTES = 107
"""`sun_path` of unix(7) has 108 bytes, the last of which is zero."""


class AddressError(ValueError):
    """An address can not be understood: why, and what to write instead."""

    def __init__(self, message: str, cure: str) -> None:
        self.cure = cure
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect."""

    family: Family
    host: str
    """Empty for every address of the family; a path or name for unix sockets."""
    port: int


def parse_address(text: str, directory: str) -> Address:
    """Read `HOST:PORT`, `:PORT`, `*:PORT`, `[V6]:PORT`, `/path`, `path` (in `directory`), `@name` or `\\0name`.

    Raises AddressError.
    """
    text = text.strip()
    if text.startswith(("@", "\\0")):
        return _abstract(text.removeprefix("@").removeprefix("\\0"))
    if text.startswith("/"):
        return _unix(text)
    if "://" in text:
        raise AddressError("this is a URL", f"write {_without_scheme(text)}")
    if text.startswith("unix:"):
        raise AddressError("paths are written without unix:", f"write {text.removeprefix('unix:')}")
    if text.startswith("="):
        raise AddressError("shared sockets are not supported yet", "write the address here")
    if ":" in text:
        return _tcp(text)
    if not text:
        raise AddressError("it is empty", "write for example :8000 or /run/app.sock")
    if text.isdigit():
        raise AddressError(
            "a port alone is not an address", f"write :{text}, or 127.0.0.1:{text} for this machine only"
        )
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", text):
        raise AddressError("it has no port", f"write {text}:8000")
    return _unix(os.path.join(directory, text))


def _abstract(name: str) -> Address:
    if not name or len(os.fsencode(name)) > LONGEST_UNIX_PATH_BYTES:
        raise AddressError("the name of an abstract socket has 1 to 107 bytes", "choose another name")
    return Address("abstract", name, 0)


def _unix(path: str) -> Address:
    length = len(os.fsencode(path))
    if length > LONGEST_UNIX_PATH_BYTES:
        raise AddressError(
            f"the path has {length} bytes, and a unix socket takes {LONGEST_UNIX_PATH_BYTES} at most",
            "use a shorter path",
        )
    return Address("unix", path, 0)


def _tcp(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise AddressError(f"{port!r} is no port", "end it in a number from 0 to 65535; 0 lets the system choose")
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1].partition("%")[0])
        except ValueError:
            raise AddressError(f"{host} is no IPv6 address", "write for example [::1]:8000") from None
        return Address("inet6", host[1:-1], int(port))
    if ":" in host:
        raise AddressError("an IPv6 address needs brackets", f"write [{host}]:{port}")
    if host == "*":
        host = ""
    if "*" in host:
        raise AddressError("patterns of addresses are not supported yet", f"write the address, or :{port} for all")
    if not re.fullmatch(r"[A-Za-z0-9._-]*", host):
        raise AddressError(f"{host!r} is no host", "write a host name or an address before the colon")
    return Address("inet", host, int(port))


def _without_scheme(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
