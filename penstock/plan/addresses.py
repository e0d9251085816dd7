"""Addresses as users write them, read into family, host and port. Pure."""

from __future__ import annotations

import ipaddress
import os
import re

from penstock.plan.types import Family
from penstock.values import dataclass

LONGEST_UNIX_PATH_BYTES = 107
"""`sun_path` of unix(7) has 108 bytes, the last of which is zero."""
_USUAL_PORTS = {"http": 80, "https": 443}
_HOST = r"[A-Za-z0-9._-]*"


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
        raise AddressError("only http, http-socket and socket may name a shared socket", "write the address here")
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


def is_bare_word(text: str) -> bool:
    """Whether this is read as a path although it may as well be a host: no slash, no colon, no `.sock` at its end."""
    text = text.strip()
    looks_like_a_host = re.fullmatch(_HOST, text) is not None and not text.replace(".", "").isdigit()
    return bool(text) and looks_like_a_host and not text.endswith((".sock", ".socket"))


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
    plain = text.strip("[]")
    if _is_ipv6(plain) and (text.endswith("]") or not _is_ipv6(host.strip("[]"))):
        raise AddressError("it has no port", f"write [{plain}]:8000")
    if not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise AddressError(f"{port!r} is no port", "end it in a number from 0 to 65535; 0 lets the system choose")
    if host.startswith("[") and host.endswith("]"):
        if not _is_ipv6(host[1:-1]):
            raise AddressError(f"{host} is no IPv6 address", "write for example [::1]:8000")
        return Address("inet6", host[1:-1], int(port))
    if ":" in host and not _is_ipv6(host.strip("[]")):
        raise AddressError("there is a colon too many", f"write for example :{port}, or [::1]:{port}")
    if ":" in host:
        raise AddressError("an IPv6 address needs brackets", f"write [{host.strip('[]')}]:{port}")
    if host == "*":
        host = ""
    if "*" in host:
        raise AddressError("patterns of addresses are not supported yet", f"write the address, or :{port} for all")
    if not re.fullmatch(_HOST, host):
        raise AddressError(f"{host!r} is no host", "write a host name or an address before the colon")
    return Address("inet", host, int(port))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _without_scheme(url: str) -> str:
    """Write a URL as the address it means: a path, or host and port."""
    scheme, _, rest = url.partition("://")
    if scheme == "unix" or rest.startswith("/"):
        return rest
    host = rest.partition("/")[0]
    has_port = host.rpartition(":")[2].isdigit() and not host.endswith("]")
    return host if has_port else f"{host}:{_USUAL_PORTS.get(scheme, 8000)}"
