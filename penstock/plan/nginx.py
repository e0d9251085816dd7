"""Where nginx on this machine passes requests on to, as far as its files tell without running it. Only reads."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from typing import Literal

from penstock.plan.addresses import Address
from penstock.plan.modules import read_source
from penstock.values import dataclass

_PLACES = ("nginx.conf", "conf.d/*.conf", "sites-enabled/*")
"""Of Debian, Red Hat and nginx.org."""
_PASS = re.compile(r"\b(uwsgi_pass|proxy_pass)\s+([^;{}\s]+)\s*;")
_UPSTREAM = re.compile(r"\bupstream\s+([^\s{]+)\s*\{([^}]*)\}")
_SERVER = re.compile(r"\bserver\s+([^\s;]+)")
_COMMENT = re.compile(r"#[^\n]*")
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "[::1]"})
_ANY = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Pass:
    """One directive that passes requests on."""

    protocol: Literal["http", "uwsgi"]
    target: str
    """The path of a unix socket, or HOST:PORT."""
    place: str
    """File and line."""

    def reaches(self, address: Address) -> bool:
        """Whether this leads to an address that is listened on."""
        if address.family == "unix":
            return self.target.startswith("/") and os.path.realpath(self.target) == os.path.realpath(address.host)
        host, _, port = self.target.rpartition(":")
        if address.family == "abstract" or not port.isdigit() or int(port[:6]) != address.port or not address.port:
            return False
        here = {address.host, f"[{address.host}]"}
        return host in here or (host in _THIS_MACHINE and (address.host in _ANY or bool(here & _THIS_MACHINE)))


def passes(directory: str) -> Iterator[Pass]:
    """Find every directive in the files that nginx reads by default."""
    texts: dict[str, str] = {}
    for pattern in _PLACES:
        for path in sorted(glob.glob(os.path.join(directory, pattern))):
            data = read_source(path)
            if data is not None:
                texts[path] = _COMMENT.sub("", data.decode("utf-8", "replace"))
    upstreams = {name: _SERVER.findall(body) for text in texts.values() for name, body in _UPSTREAM.findall(text)}
    for path, text in texts.items():
        for match in _PASS.finditer(text):
            scheme, _, rest = match[2].rpartition("://")
            place = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            name = rest if rest.startswith("unix:") else rest.partition("/")[0]
            for server in upstreams.get(name, [name]):
                target = _target(server, default_port="80" if scheme == "http" else "")
                if target and "$" not in target:
                    yield Pass("http" if match[1] == "proxy_pass" else "uwsgi", target, place)


def _target(server: str, default_port: str) -> str:
    """Read one address as nginx writes it."""
    if server.startswith("unix:"):
        return server.removeprefix("unix:").partition(":")[0]
    has_port = server.rpartition(":")[2].isdigit()
    return server if has_port or not default_port else f"{server}:{default_port}"
