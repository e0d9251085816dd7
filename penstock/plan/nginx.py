"""Where nginx on this machine passes requests on to, as far as its files tell without running it. Only reads."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

from penstock.plan.addresses import Address
from penstock.plan.modules import read_source
from penstock.values import dataclass

_PLACES = ("nginx.conf", "conf.d/*.conf", "sites-enabled/*")
"""Of Debian, Red Hat and nginx.org."""
_PASS = re.compile(r"\b(uwsgi_pass|proxy_pass)\s+([^;{}\s]+)\s*;")
_UPSTREAM = re.compile(r"\bupstream\s+([^\s{]+)\s*\{([^}]*)\}")
_SERVER = re.compile(r"\bserver\s+([^\s;]+)")
_TIME = re.compile(r"([0-9]{1,9}(ms|[smhd]))*([0-9]{1,9})?")
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
    read_timeout_s: float | None = None
    """What `uwsgi_read_timeout` or `proxy_read_timeout` around it says; None where the file says nothing."""

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
                target = pass_target(server, default_port="80" if scheme == "http" else "")
                if target and "$" not in target:
                    timeout = _read_timeout(text, match.start(), match[1].removesuffix("_pass"))
                    yield Pass("http" if match[1] == "proxy_pass" else "uwsgi", target, place, timeout)


def _read_timeout(text: str, place: int, module: str) -> float | None:
    """Find how long a response may pause, as the blocks around `place` say: the innermost that says it counts."""
    depths = list(accumulate((character == "{") - (character == "}") for character in text))
    found: tuple[int, float] | None = None
    for match in re.finditer(rf"\b{module}_read_timeout\s+([0-9smhd]+)\s*;", text):
        start, end = sorted((match.start(), place))
        depth, limit_s = depths[match.start()], seconds(match[1])
        # Nothing between the two leaves the block that it stands in.
        is_around = min(depths[start : end + 1]) >= depth
        if limit_s is not None and is_around and (found is None or depth >= found[0]):
            found = depth, limit_s
    return found[1] if found is not None else None


def seconds(text: str) -> float | None:
    """Read a time as nginx writes it: 90, 90s, 1m30s, 500ms."""
    units = {"": 1, "s": 1, "ms": 0.001, "m": 60, "h": 3600, "d": 86400}
    parts = re.findall(r"([0-9]{1,9})(ms|[smhd]?)", text)
    return sum(int(number) * units[unit] for number, unit in parts) if re.fullmatch(_TIME, text) else None


def pass_target(server: str, default_port: str) -> str:
    """Read one address as nginx writes it."""
    if server.startswith("unix:"):
        return server.removeprefix("unix:").partition(":")[0]
    has_port = server.rpartition(":")[2].isdigit()
    return server if has_port or not default_port else f"{server}:{default_port}"
