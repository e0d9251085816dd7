"""A new site among those that an nginx has already: where they would clash, and what it has to follow. Pure.

nginx itself warns of little of this: of two servers with one name the second is never asked, and `http2` or `ssl`
behind one `listen` counts for every server at that address.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from penstock.deploy.nginx.installed import Nginx
from penstock.deploy.nginx.reading import Configuration, Directive
from penstock.deploy.nginx.servers import Server, http, servers
from penstock.deploy.nginx.site import NoSite, Note, Site
from penstock.deploy.nginx.text import HTTP2_DIRECTIVE
from penstock.plan.types import Plan
from penstock.values import dataclass, replace

_BUCKET_BYTES = 64
"""`server_names_hash_bucket_size` on a machine whose cache lines have 64 bytes; a name needs 18 beside its own."""
_OVERHEAD_BYTES = 18
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
LEAST_CONNECTIONS = 4096


def fit(site: Site, configuration: Configuration, nginx: Nginx, own: Iterable[str]) -> Site:
    """Fit the site among its neighbours; `own` are its files of an earlier time, which do not count.

    Raises NoSite where it would take something from another site, or get nothing because another has it.
    """
    mine = frozenset(own)
    others = [each for each in servers(configuration) if each.scope.here.origin.name not in mine]
    site = _yield_local_names(site, others)
    _refuse_names(site, others)
    _refuse_defaults(site, others)
    _refuse_upstream(site, configuration, mine)
    site = _follow_protocols(site, others, nginx)
    site = _follow_status(site, others)
    return _follow_buckets(site, configuration)


def _ports(site: Site) -> dict[int, bool]:
    """Port -> whether TLS is spoken there."""
    return {site.port: False, **({site.tls_port: True} if site.has_tls else {})}


def _at(others: Iterable[Server], port: int) -> Iterator[tuple[Server, frozenset[str], str]]:
    """The servers that listen where the site does: on every address."""
    for each in others:
        for listen in each.listens:
            if listen.port == port and listen.host in ("*", "[::]"):
                yield each, listen.flags, str(each.scope.here.origin)


def _yield_local_names(site: Site, others: list[Server]) -> Site:
    """Leave names of the machine itself to who has them, like the page that nginx comes with."""
    taken = {name for port in _ports(site) for other, _, _ in _at(others, port) for name in other.names}
    left = [name for name in site.names if name in _LOCAL and name in taken]
    if not left or set(left) == set(site.names):
        return site
    note = Note("note", f"another site answers for {', '.join(left)}, and goes on to")
    return replace(site, names=tuple(name for name in site.names if name not in left), notes=(*site.notes, note))


def _refuse_names(site: Site, others: list[Server]) -> None:
    for port in _ports(site):
        for other, _, place in _at(others, port):
            if taken := sorted(set(site.names) & set(other.names)):
                raise NoSite(
                    f"{', '.join(taken)} at port {port} is served already ({place}), and nginx asks only one of two",
                    "remove that site, or name another: --server-name example.org",
                )


def _refuse_defaults(site: Site, others: list[Server]) -> None:
    for port, is_tls in _ports(site).items():
        for other, flags, place in _at(others, port):
            if site.drops_unknown and flags & {"default_server", "default"}:
                raise NoSite(
                    f"unknown names at port {port} go to another site already ({place}: default_server)",
                    "remove that word there, or leave --drop-unknown away",
                )
            if is_tls and "ssl" not in flags and other.scope.text("ssl") != "on":
                raise NoSite(
                    f"port {port} speaks plain HTTP already ({place}), and TLS would count for that site too",
                    "choose another with --tls-port",
                )
            if not is_tls and "ssl" in flags:
                raise NoSite(f"port {port} speaks TLS already ({place})", "choose another with --port")


def _refuse_upstream(site: Site, configuration: Configuration, mine: frozenset[str]) -> None:
    around = http(configuration)
    for each in around.inner("upstream") if around is not None else ():
        if each.here.text == site.variable and each.here.origin.name not in mine:
            raise NoSite(
                f"a site {site.name} is there already ({each.here.origin})", "give this one another name: --name NAME"
            )


def _follow_protocols(site: Site, others: list[Server], nginx: Nginx) -> Site:
    notes = list(site.notes)
    for port in _ports(site):
        there = list(_at(others, port))
        if any("proxy_protocol" in flags for _, flags, _ in there):
            notes.append(Note("note", f"port {port} expects the PROXY protocol, as other sites there do"))
        if port == site.tls_port and site.http2 and nginx.version < HTTP2_DIRECTIVE and there:
            if not any("http2" in flags for _, flags, _ in there):
                what = f"no HTTP/2: nginx {nginx.version_text} would turn it on for every site at port {port}"
                notes.append(Note("note", f"{what} ({there[0][2]})", "write http2 behind listen there as well"))
                site = replace(site, http2=False)
    return replace(site, notes=tuple(notes))


def _follow_status(site: Site, others: list[Server]) -> Site:
    for each in others:
        for listen in each.listens:
            if listen.port == site.status_port and listen.port and listen.host in ("*", "127.0.0.1", "localhost"):
                has_page = any(scope.value("stub_status") is not None for scope in each.scope.walk())
                why = "the status page is there already" if has_page else f"no status page: port {listen.port} is taken"
                note = Note(
                    "note", f"{why} ({each.scope.here.origin})", "" if has_page else "choose another: --status PORT"
                )
                return replace(site, status_port=None, notes=(*site.notes, note))
    return site


def _follow_buckets(site: Site, configuration: Configuration) -> Site:
    needed = max(len(name) for name in site.names) + _OVERHEAD_BYTES
    around = http(configuration)
    said = around.value("server_names_hash_bucket_size") if around is not None else None
    has = around.size("server_names_hash_bucket_size") if around is not None and said is not None else _BUCKET_BYTES
    if needed <= (has or 0):
        return site
    wanted = 1 << math.ceil(math.log2(needed))
    if said is None:
        return replace(site, names_bucket_bytes=wanted)
    raise NoSite(
        f"{max(site.names, key=len)} is longer than names may be ({said.origin}: {said})",
        f"write server_names_hash_bucket_size {wanted}; there",
    )


@dataclass(frozen=True, slots=True)
class Advice:
    """A line that the main file should have; it is everybody's, so that nothing but a person writes it."""

    directive: str
    wanted: str
    now: str
    """What counts there now; with where it is said, if it is."""
    why: str

    def __str__(self) -> str:
        return f"{self.directive} {self.wanted}; ({self.now}): {self.why}"


def advice(configuration: Configuration, plan: Plan) -> tuple[Advice, ...]:
    """Say what the main file should have for this configuration: connections, and files open at once."""
    backlog = max((each.backlog for each in plan.listeners), default=0)
    threads = max(plan.processes, 1) * plan.engine.threads
    # Each request that is passed on takes two connections, and those of browsers stay open between requests.
    wanted = 1 << math.ceil(math.log2(max(LEAST_CONNECTIONS, 2 * (backlog + threads))))
    events = configuration.main.first("events")
    said = events.first("worker_connections") if events is not None else None
    connections = int(said.text) if said is not None and said.text.isdigit() else 512
    found = []
    if connections < wanted:
        why = f"each request takes two connections, and up to {backlog} wait for the app"
        found.append(Advice("worker_connections", str(wanted), _now(said, "512, nginx's own"), f"in events: {why}"))
    files = configuration.main.first("worker_rlimit_nofile")
    has = int(files.text) if files is not None and files.text.isdigit() else 0
    needed = 2 * max(connections, wanted)
    if has < needed:
        now = _now(files, "not set: what nginx is started with counts, often 1024")
        why = "a connection may have a file open beside it (an upload, a static file)"
        found.append(Advice("worker_rlimit_nofile", str(needed), now, f"at the top: {why}"))
    processes = configuration.main.first("worker_processes")
    if processes is None or processes.text == "1":
        found.append(Advice("worker_processes", "auto", _now(processes, "1, nginx's own"), "one for each CPU"))
    return tuple(found)


def _now(said: Directive | None, default: str) -> str:
    return f"now {said.text}, {said.origin}" if said is not None else f"now {default}"
