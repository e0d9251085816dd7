"""What nginx makes of its files: which server and which location answers, with what values, and where it passes on.

Pure, over `reading`. The rules are those of nginx's documentation: "How nginx processes a request", "Server names" and
the directive `location`; values are inherited from the block around unless the block says them itself, and lists
(`proxy_set_header`, `add_header`) as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from penstock.deploy.nginx.reading import Configuration, Directive
from penstock.plan.nginx import Pass, pass_target, seconds
from penstock.values import dataclass

DEFAULTS: dict[str, str] = {
    "absolute_redirect": "on",
    "client_body_timeout": "60s",
    "client_max_body_size": "1m",
    "gzip": "off",
    "gzip_static": "off",
    "keepalive_timeout": "75s",
    "large_client_header_buffers": "4",
    "listen": "80",
    "merge_slashes": "on",
    "proxy_buffering": "on",
    "proxy_buffer_size": "4k",
    "proxy_connect_timeout": "60s",
    "proxy_http_version": "1.0",
    "proxy_read_timeout": "60s",
    "proxy_request_buffering": "on",
    "proxy_send_timeout": "60s",
    "root": "html",
    "server_tokens": "on",
    "uwsgi_buffering": "on",
    "uwsgi_buffer_size": "4k",
    "uwsgi_connect_timeout": "60s",
    "uwsgi_read_timeout": "60s",
    "uwsgi_request_buffering": "on",
    "uwsgi_send_timeout": "60s",
    "worker_connections": "512",
    "worker_processes": "1",
}
"""What counts where a file says nothing; as documented, for those that somebody asks about."""

NOT_INHERITED = frozenset(
    {"proxy_pass", "uwsgi_pass", "fastcgi_pass", "scgi_pass", "grpc_pass", "return", "rewrite", "set", "stub_status"}
    | {"try_files", "internal", "if", "location", "limit_except", "listen", "server_name", "upstream", "map", "echo"}
)
"""Count only in the block that they stand in."""
_SIZE = re.compile(r"([0-9]{1,18})([kKmMgG]?)")
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size_bytes(text: str) -> int | None:
    """Read a size as nginx writes it: 8000, 64k, 75m; None for what is none."""
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _SIZES[match[2].lower()] if match else None


@dataclass(frozen=True, slots=True)
class Scope:
    """A block and all blocks around it, from the whole configuration inwards."""

    chain: tuple[Directive, ...]

    @property
    def here(self) -> Directive:
        """The block itself."""
        return self.chain[-1]

    def values(self, name: str) -> tuple[Directive, ...]:
        """Every directive of a name that counts here: those of the innermost block that has any."""
        for block in self.chain[:-2:-1] if name in NOT_INHERITED else self.chain[::-1]:
            if found := tuple(block.every(name)):
                return found
        return ()

    def value(self, name: str) -> Directive | None:
        """The directive of a name that counts here; None where its default does."""
        return next(iter(self.values(name)), None)

    def text(self, name: str) -> str:
        """Its first argument, or the default; empty where neither is known."""
        found = self.value(name)
        return found.text if found is not None else DEFAULTS.get(name, "")

    def seconds(self, name: str) -> float | None:
        """Its time; None where it is none."""
        return seconds(self.text(name))

    def size(self, name: str) -> int | None:
        """Its size in bytes; None where it is none."""
        return size_bytes(self.text(name))

    def inner(self, *names: str) -> Iterator[Scope]:
        """The blocks of these names that stand directly in this one."""
        return (Scope((*self.chain, each)) for each in self.here.every(*names) if each.block is not None)

    def walk(self) -> Iterator[Scope]:
        """This block and all in it, in the order of the files."""
        yield self
        for each in self.here.block or ():
            if each.block is not None:
                yield from Scope((*self.chain, each)).walk()


@dataclass(frozen=True, slots=True)
class Listen:
    """One address of a server."""

    host: str
    """`*` for every IPv4 address, `[::]` for every IPv6 one; `unix:/path` for a unix socket."""
    port: int
    """0 for a unix socket."""
    flags: frozenset[str]
    """`ssl`, `default_server`, `http2`, `quic`, `proxy_protocol` and so on."""
    directive: Directive | None
    """None: the server says nothing, and nginx listens on its default."""

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken there."""
        return "ssl" in self.flags

    @property
    def is_default(self) -> bool:
        """Whether requests for unknown names come here."""
        return bool(self.flags & {"default_server", "default"})

    @property
    def address(self) -> tuple[str, int]:
        """What two servers share that listen at the same place."""
        return self.host, self.port

    def takes(self, port: int, ip: str) -> bool:
        """Whether a connection to this port of this address may come here."""
        everywhere = "[::]" if ":" in ip else "*"
        return self.port == port and self.host in (everywhere, ip, f"[{ip}]")


def listen_of(directive: Directive) -> Listen:
    """Read `listen ADDRESS:PORT FLAG ...`."""
    text, flags = directive.text, frozenset(word.partition("=")[0] for word in directive.args[1:])
    if text.startswith("unix:"):
        return Listen(text, 0, flags, directive)
    host, colon, port = text.rpartition(":")
    if text.isdigit():
        host, port = "*", text
    elif not colon or text.endswith("]"):
        host, port = text, "80"
    if host in ("", "0.0.0.0"):
        host = "*"
    return Listen(host.lower(), int(port) if port.isdigit() and len(port) < 6 else 0, flags, directive)


@dataclass(frozen=True, slots=True)
class Server:
    """One server block."""

    scope: Scope

    @property
    def listens(self) -> tuple[Listen, ...]:
        """Its addresses; nginx's default where it names none."""
        found = tuple(map(listen_of, self.scope.values("listen")))
        return found or (Listen("*", 80, frozenset(), None),)

    @property
    def names(self) -> tuple[str, ...]:
        """Its names as written, in lower case but for regular expressions; one empty name where it has none."""
        found = [name for each in self.scope.values("server_name") for name in each.args]
        return tuple(name if name.startswith("~") else name.lower() for name in found) or ("",)

    @property
    def is_tls(self) -> bool:
        """Whether it speaks TLS somewhere."""
        return any(each.is_tls for each in self.listens)

    def locations(self) -> Iterator[Location]:
        """Every location, nested ones behind the one they stand in."""
        return (Location(scope) for scope in self.scope.walk() if scope.here.name == "location")

    def location_for(self, path: str) -> Location | None:
        """Find the location that answers a decoded path; None where the server itself does."""
        return _choose(self.scope, path)[0]


Kind = Literal["prefix", "prefix first", "exact", "regex", "named"]
_MODIFIERS: dict[str, Kind] = {"=": "exact", "^~": "prefix first", "~": "regex", "~*": "regex"}


@dataclass(frozen=True, slots=True)
class Location:
    """One location block."""

    scope: Scope

    @property
    def kind(self) -> Kind:
        """How it is compared with the path."""
        args = self.scope.here.args
        if len(args) > 1:
            return _MODIFIERS.get(args[0], "prefix")
        return "named" if args and args[0].startswith("@") else _glued(args[0])[0] if args else "prefix"

    @property
    def pattern(self) -> str:
        """What it is compared with."""
        args = self.scope.here.args
        return args[1] if len(args) > 1 else _glued(args[0])[1] if args else ""

    def fits(self, path: str) -> bool:
        """Whether it may answer a decoded path."""
        if self.kind == "exact":
            return path == self.pattern
        if self.kind == "regex":
            flags = re.IGNORECASE if self.scope.here.text.startswith("~*") else 0
            try:
                return re.search(self.pattern, path, flags) is not None
            except re.error:
                # A form of PCRE that Python does not have.
                return False
        return self.kind != "named" and path.startswith(self.pattern)

    def file(self, path: str) -> str | None:
        """Name the file that nginx looks for, for a decoded path; None where that depends on the request."""
        place = next((each for block in reversed(self.scope.chain) for each in block.every("alias", "root")), None)
        if place is None or "$" in place.text:
            return None
        if place.name == "root":
            return place.text.rstrip("/") + path
        return None if self.kind == "regex" else place.text + path[len(self.pattern) :]


def _glued(text: str) -> tuple[Kind, str]:
    """Read `=/path`, `~^/x` and `^~/x`, which need no space."""
    for modifier in ("~*", "^~", "=", "~"):
        if text.startswith(modifier):
            return _MODIFIERS[modifier], text[len(modifier) :]
    return "prefix", text


def _choose(around: Scope, path: str) -> tuple[Location | None, bool]:
    """Choose as nginx does: an exact one, else the longest prefix, else the first expression that fits.

    The second value says whether that is final, or expressions further out are still to be asked.
    """
    fitting = [each for scope in around.inner("location") if (each := Location(scope)).fits(path)]
    if (exact := next((each for each in fitting if each.kind == "exact"), None)) is not None:
        return exact, True
    prefixes = [each for each in fitting if each.kind in ("prefix", "prefix first")]
    longest = max(prefixes, key=lambda each: len(each.pattern), default=None)
    chosen = longest
    if longest is not None:
        deeper, is_final = _choose(longest.scope, path)
        if is_final:
            return deeper, True
        chosen = deeper or longest
    expression = next((each for each in fitting if each.kind == "regex"), None)
    if expression is not None and (longest is None or longest.kind != "prefix first"):
        return _choose(expression.scope, path)[0] or expression, True
    return chosen, False


@dataclass(frozen=True, slots=True)
class Passing:
    """A place that passes requests on."""

    to: Pass
    """One of the addresses behind it."""
    scope: Scope
    directive: Directive
    upstream: Scope | None
    """The block that names the addresses; None where the directive does it."""


def http(configuration: Configuration) -> Scope | None:
    """Find the http block."""
    whole = Scope((configuration.main,))
    return next(whole.inner("http"), None)


def servers(configuration: Configuration) -> tuple[Server, ...]:
    """Find every server, in the order of the files."""
    around = http(configuration)
    return tuple(map(Server, around.inner("server"))) if around is not None else ()


def server_for(configuration: Configuration, host: str, port: int, ip: str = "127.0.0.1") -> Server | None:
    """Find the server that answers a request for `host`, come to a port of an address; None where nobody listens."""
    listening = [(one, each) for one in servers(configuration) for each in one.listens if each.takes(port, ip)]
    # An address that is named keeps its connections from those who listen everywhere.
    named = [pair for pair in listening if pair[1].host in (ip, f"[{ip}]")]
    listening = named or listening
    if not listening:
        return None
    return _named([one for one, _ in listening], host.lower().rstrip(".")) or next(
        (one for one, each in listening if each.is_default), listening[0][0]
    )


def _named(candidates: list[Server], host: str) -> Server | None:
    """Choose by name: exact, the longest `*.name`, the longest `name.*`, the first expression."""
    for one in candidates:
        if any(name == host or (name.startswith(".") and name[1:] == host) for name in one.names):
            return one
    wild = [(len(name), one) for one in candidates for name in one.names if _ends(name, host)]
    wild = wild or [(len(name), one) for one in candidates for name in one.names if _begins(name, host)]
    if wild:
        return max(wild, key=lambda pair: pair[0])[1]
    for one in candidates:
        if any(name.startswith("~") and _matches(name[1:], host) for name in one.names):
            return one
    return None


def _ends(name: str, host: str) -> bool:
    return name.startswith(("*.", ".")) and host.endswith(name.lstrip("*"))


def _begins(name: str, host: str) -> bool:
    return name.endswith(".*") and host.startswith(name[:-1])


def _matches(pattern: str, host: str) -> bool:
    try:
        return re.search(pattern, host, re.IGNORECASE) is not None
    except re.error:
        return False


def passings(configuration: Configuration) -> Iterator[Passing]:
    """Find every place that passes requests on, once for each address behind it; what depends on the request is not."""
    around = http(configuration)
    if around is None:
        return
    upstreams = {scope.here.text: scope for scope in around.inner("upstream")}
    for scope in around.walk():
        for directive in scope.here.every("proxy_pass", "uwsgi_pass"):
            scheme, _, rest = directive.text.rpartition("://")
            name = rest if rest.startswith("unix:") else rest.partition("/")[0]
            upstream = upstreams.get(name)
            addresses = [each.text for each in upstream.here.every("server")] if upstream is not None else [name]
            module = directive.name.removesuffix("_pass")
            protocol: Literal["http", "uwsgi"] = "http" if module == "proxy" else "uwsgi"
            for address in addresses:
                target = pass_target(address, default_port={"http": "80", "https": "443"}.get(scheme, ""))
                if target and "$" not in target:
                    timeout = scope.seconds(f"{module}_read_timeout")
                    yield Passing(Pass(protocol, target, str(directive.origin), timeout), scope, directive, upstream)


def user(configuration: Configuration, compiled: str = "nobody") -> str:
    """Name the user that nginx's workers run as; `compiled` is what it was built with (`--user`)."""
    found = configuration.main.first("user")
    return found.text if found is not None else compiled


def server_of(passing: Passing) -> Server | None:
    """Find the server that a place stands in; None for one that stands outside of all."""
    chain = passing.scope.chain
    depth = next((depth for depth, block in enumerate(chain, 1) if block.name == "server"), None)
    return Server(Scope(chain[:depth])) if depth is not None else None
