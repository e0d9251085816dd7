"""What the nginx site of a configuration is to be: decided here as values, written as text by `text`. Pure.

A site follows the plan (its socket, its time and size limits), Django's settings (names, static and media files, body
size) and what a person asks for (`Wish`), in that order of being overruled by the next.
"""

from __future__ import annotations

import ipaddress
import math
import os
from typing import Literal
from urllib.parse import unquote, urlsplit

from penstock.config.findings import Level
from penstock.deploy.nginx import words
from penstock.deploy.nginx.installed import Nginx
from penstock.plan.types import ListenerPlan, Plan, Protocol
from penstock.project.django_facts import DjangoFacts
from penstock.values import dataclass

USUAL_BODY_BYTES = 75 << 20
"""Where nothing says how large an upload may be. nginx's own default, 1 MiB, refuses the photo of a phone."""
USUAL_READ_TIMEOUT_S = 60
"""nginx's own, for a configuration that lets requests take any time."""
SPARE_S = 15
"""What nginx waits longer than a request may take: it may have waited for a free thread before."""
WEBSOCKET_TIMEOUT_S = 3600
"""Longest silence on a websocket: pings come far more often."""
HSTS_S = 31536000
STATUS_PORT = 8090
HEADER_BYTES = 16 << 10
"""Of a response, in all: nginx's own 4 KiB are too little for a page that sets several cookies."""
_WEBSOCKET_APPS = frozenset({"channels", "daphne"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks for, beyond what configuration and settings say."""

    name: str = ""
    """Of the site's file; empty for the configuration's own."""
    server_names: tuple[str, ...] = ()
    uwsgi: bool = False
    port: int = 80
    tls_port: int = 443
    certificate: str = ""
    key: str = ""
    finds_certificate: bool = True
    """Without them, one of certbot for the names is used."""
    redirects: bool = True
    """Plain HTTP leads to HTTPS, where there is a certificate."""
    hsts_s: int = 0
    protected_media: str = ""
    """The internal path that the app names in X-Accel-Redirect; empty: media files are public."""
    websocket: tuple[str, ...] = ()
    """Paths at which connections become websockets."""
    body_limit_bytes: int | None = None
    status_port: int | None = STATUS_PORT
    drops_unknown: bool = False
    """Requests for names that no site has are dropped."""
    acme_folder: str = ""
    """Where certbot puts its answers (`--webroot`)."""
    behind: tuple[str, ...] = ()
    """Addresses of balancers in front of nginx, which say who the client is and whether it came over HTTPS."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that whoever asked should know; an `error` means that there is no site."""

    level: Level
    message: str
    cure: str = ""

    def __str__(self) -> str:
        return self.message + (f"; {self.cure}" if self.cure else "")


class NoSite(Exception):
    """There can be no site: why, and what to do."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(f"{message}; {cure}" if cure else message)
        self.note = Note("error", message, cure)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where requests go."""

    protocol: Protocol
    address: str
    """As nginx writes it: `unix:/run/shop.sock`, `127.0.0.1:8000`."""
    keepalive: int
    """Idle connections that each of nginx's workers keeps; 0 for none."""
    keepalive_timeout_s: int
    """0 leaves it to nginx."""


@dataclass(frozen=True, slots=True)
class Files:
    """A folder that nginx serves by itself."""

    kind: Literal["static", "media", "protected"]
    prefix: str
    """With a slash at its end."""
    folder: str
    """The same."""
    is_hashed: bool = False
    """Names hold a hash of the content, so that a file never changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is to be written."""

    name: str
    origin: str
    """Which configuration it is of, for its reader; empty where it has no file."""
    names: tuple[str, ...]
    upstream: Upstream
    files: tuple[Files, ...]
    body_limit_bytes: int
    """0 for none."""
    read_timeout_s: int
    harakiri_s: int
    header_line_bytes: int
    """Longest line of a request's head."""
    websocket: tuple[str, ...]
    port: int
    tls_port: int
    certificate: str
    """Empty: there is no TLS."""
    key: str
    redirects: bool
    hsts_s: int
    status_port: int | None
    drops_unknown: bool
    acme_folder: str
    behind: tuple[str, ...]
    """Ranges of addresses, in CIDR notation."""
    http2: bool
    names_bucket_bytes: int
    """`server_names_hash_bucket_size`, where a name is longer than nginx's own takes; 0 leaves it."""
    notes: tuple[Note, ...]

    @property
    def variable(self) -> str:
        """What its upstream and variables are called."""
        return f"penstock_{self.name}"

    @property
    def has_tls(self) -> bool:
        """Whether it speaks TLS."""
        return bool(self.certificate)


def make(plan: Plan, facts: DjangoFacts | None, wish: Wish, nginx: Nginx, *, name: str, origin: str = "",
         hostname: str = "") -> Site:  # fmt: skip
    """Decide what the site is. `name` is what it is called unless the wish says so, `hostname` the machine's name.

    Raises NoSite.
    """
    return _Maker(plan, facts, wish, nginx, hostname).site(words.slug(wish.name or name), origin)


class _Maker:
    def __init__(self, plan: Plan, facts: DjangoFacts | None, wish: Wish, nginx: Nginx, hostname: str) -> None:
        self.plan, self.facts, self.wish, self.nginx, self.hostname = plan, facts, wish, nginx, hostname
        self.notes: list[Note] = []

    def site(self, name: str, origin: str) -> Site:
        """Put it together."""
        plan, wish = self.plan, self.wish
        harakiri_s = plan.engine.harakiri.limit_s
        files, upstream = self._files(), self._upstream(name)
        self._certificate()
        return Site(
            name=name,
            origin=origin,
            names=self._names(),
            upstream=upstream,
            files=files,
            body_limit_bytes=self._body_limit(),
            read_timeout_s=self._read_timeout(harakiri_s),
            harakiri_s=harakiri_s,
            header_line_bytes=min(max(plan.engine.head_limit_bytes // 4, 8 << 10), 32 << 10),
            websocket=self._websocket(files, upstream),
            port=wish.port,
            tls_port=wish.tls_port,
            certificate=wish.certificate,
            key=wish.key,
            redirects=bool(wish.certificate) and wish.redirects,
            hsts_s=wish.hsts_s if wish.certificate else 0,
            status_port=self._status_port(),
            drops_unknown=wish.drops_unknown,
            acme_folder=wish.acme_folder,
            behind=self._behind(),
            http2=bool(wish.certificate) and self.nginx.has("http_v2"),
            names_bucket_bytes=0,
            notes=tuple(self.notes),
        )

    def _note(self, level: Level, message: str, cure: str = "") -> None:
        self.notes.append(Note(level, message, cure))

    # -- where requests go ---------------------------------------------------------------------------------------------

    def _upstream(self, name: str) -> Upstream:
        reachable = [each for each in self.plan.listeners if _is_reachable(each)]
        if self.wish.uwsgi:
            reachable = [each for each in reachable if each.protocol == "uwsgi"]
        if not reachable:
            raise self._unreachable(name)
        # A unix socket before a port, and HTTP before uwsgi: its connections are kept.
        chosen = min(reachable, key=lambda each: (not each.is_unix, each.protocol != "http"))
        engine = self.plan.engine
        if chosen.protocol == "uwsgi" and not self.nginx.has("http_uwsgi"):
            raise NoSite(
                f"nginx at {self.nginx.program} was built without uwsgi_pass",
                f"add http-socket = /run/{name}/{name}.sock to the configuration",
            )
        if words.has_control(chosen.host):
            raise NoSite(
                f"the socket {chosen.host!r} has a control character in its name", f"write /run/{name}/{name}.sock"
            )
        if chosen.is_unix and chosen.host.startswith(("/tmp/", "/var/tmp/")):
            self._note(
                "warning",
                f"the socket {chosen.host} is in a folder that services have for themselves (PrivateTmp)",
                f"put it where nginx sees it: /run/{name}/{name}.sock",
            )
        trusted = "unix" if chosen.is_unix else "127.0.0.0/8"
        if chosen.protocol == "http" and trusted not in engine.trusted_proxies and not engine.proxy_protocol:
            self._note(
                "warning",
                "trusted-proxies leaves nginx out, so that every client has nginx's address",
                "remove trusted-proxies = none, or add unix and 127.0.0.0/8 to it",
            )
        if chosen.protocol == "uwsgi":
            return Upstream("uwsgi", _address(chosen), 0, 0)
        keepalive_s = int(engine.keepalive_timeout_s)
        threads = max(self.plan.processes, 1) * engine.threads
        # nginx lets go first: it would lose a request that it sends as we close.
        limit_s = max(keepalive_s - 5, 1) if keepalive_s <= 60 else 0
        return Upstream("http", _address(chosen), min(max(threads, 16), 256) if keepalive_s else 0, limit_s)

    def _unreachable(self, name: str) -> NoSite:
        path = f"/run/{name}/{name}.sock"
        if self.wish.uwsgi:
            return NoSite(
                "--uwsgi needs a socket that speaks the uwsgi protocol, and the configuration has none",
                f"add to it: socket = {path} and chmod-socket = 660 and chown-socket = :{self.nginx.user}",
            )
        if self.plan.listeners:
            named = ", ".join(each.name for each in self.plan.listeners)
            return NoSite(
                f"nginx can not be pointed at {named}: the port is chosen at each start, or the socket is abstract",
                f"write http-socket = {path}",
            )
        return NoSite("the configuration has no socket", f"add to it: http-socket = {path} and chmod-socket = 660")

    # -- names ---------------------------------------------------------------------------------------------------------

    def _names(self) -> tuple[str, ...]:
        if self.wish.server_names:
            try:
                return tuple(dict.fromkeys(map(words.host_name, self.wish.server_names)))
            except words.NotAName as error:
                raise NoSite(str(error), "write --server-name example.org") from None
        allowed = self.facts.allowed_hosts if self.facts is not None else ()
        names: dict[str, None] = {}
        for host in allowed:
            if host == "*":
                continue
            try:
                names[words.host_name(host)] = None
            except words.NotAName as error:
                self._note("warning", f"ALLOWED_HOSTS: {error}", "correct it there")
        if names:
            return tuple(names)
        return self._fallback_names(allowed)

    def _fallback_names(self, allowed: tuple[str, ...]) -> tuple[str, ...]:
        if self.facts is not None and not allowed and self.facts.debug:
            self._note(
                "warning",
                "DEBUG is on and ALLOWED_HOSTS empty, so that Django answers for this machine alone",
                "name the site in ALLOWED_HOSTS, and set DEBUG = False",
            )
            return ("localhost", "127.0.0.1", "[::1]")
        why = "ALLOWED_HOSTS takes every name" if "*" in allowed else "nothing says which names the site has"
        try:
            name = words.host_name(self.hostname)
        except words.NotAName:
            name = "localhost"
        self._note("warning", f"{why}: it answers for {name}", "write --server-name example.org")
        return (name,)

    # -- files ---------------------------------------------------------------------------------------------------------

    def _files(self) -> tuple[Files, ...]:
        found = list(self._of_django() if self.facts is not None else self._of_plan())
        taken: dict[str, Files] = {}
        for each in found:
            if each.prefix in taken:
                self._note("warning", f"{each.prefix} is two folders: {taken[each.prefix].folder} is served there")
            taken.setdefault(each.prefix, each)
        return tuple(taken.values())

    def _of_django(self) -> list[Files]:
        facts, found = self.facts, []
        assert facts is not None, "called with facts only"
        if not facts.static_root:
            if facts.uses_staticfiles and facts.static_url:
                self._note(
                    "warning",
                    "STATIC_ROOT is not set: pages have no style sheets behind nginx",
                    "set STATIC_ROOT, run manage.py collectstatic, and make the site again",
                )
        elif prefix := self._prefix("STATIC_URL", facts.static_url):
            found += self._folder("static", "STATIC_ROOT", prefix, facts.static_root, facts.static_is_hashed)
        if not facts.media_root:
            if self.wish.protected_media:
                self._note("warning", "--protected-media: MEDIA_ROOT is not set, so there is nothing to protect")
        elif self.wish.protected_media:
            if prefix := self._prefix("--protected-media", self.wish.protected_media):
                found += self._folder("protected", "MEDIA_ROOT", prefix, facts.media_root, False)
        elif prefix := self._prefix("MEDIA_URL", facts.media_url):
            found += self._folder("media", "MEDIA_ROOT", prefix, facts.media_root, False)
        return found

    def _of_plan(self) -> list[Files]:
        """What the configuration itself serves (`static-map`), where a whole folder stands for a path."""
        found = []
        for each in self.plan.engine.static.maps:
            folder = each.path + each.prefix if each.keeps_prefix else each.path
            # Beneath / a file that is missing is the app's to answer, and a single file is no folder.
            if each.prefix.strip("/") and not os.path.splitext(each.prefix)[1]:
                if prefix := self._prefix("static-map", each.prefix):
                    found += self._folder("static", "static-map", prefix, folder, False)
        return found

    def _prefix(self, what: str, url: str) -> str:
        """Read the path of a URL; empty where nginx can not serve it."""
        split = urlsplit(url) if "//" in url else None
        if split is not None and split.netloc:
            self._note("note", f"{what} is {url}, which another host serves")
            return ""
        path = unquote(url if split is None else split.path, errors="surrogateescape")
        made = "/" + path.strip("/") + "/"
        odd = not path.strip("/") or "//" in made or any(part in (".", "..") for part in made.split("/"))
        if odd or not made.isprintable():
            self._note("warning", f"{what} = {url!r} can not be a location of nginx: the app answers there")
            return ""
        return made

    def _folder(self, kind: Literal["static", "media", "protected"], what: str, prefix: str, folder: str,
                is_hashed: bool) -> list[Files]:  # fmt: skip
        if words.has_control(folder):
            self._note(
                "warning", f"{what} is {folder!r}, which holds a control character", "give the folder another name"
            )
            return []
        folder = os.path.normpath(folder)
        code = {self.plan.app.chdir}
        if self.facts is not None:
            code |= {self.facts.base_dir, os.path.dirname(self.facts.settings_file)}
        for secret in sorted(filter(None, code)):
            if folder == "/" or (secret + "/").startswith(folder + "/"):
                self._note(
                    "warning",
                    f"{what} is {folder}, which holds the project itself: nginx would give out its code and settings",
                    f"move the files into a folder of their own, like {secret}/{kind.replace('protected', 'media')}",
                )
                return []
        return [Files(kind, prefix, folder.rstrip("/") + "/", is_hashed)]

    # -- limits --------------------------------------------------------------------------------------------------------

    def _body_limit(self) -> int:
        wanted, own = self.wish.body_limit_bytes, self.plan.engine.body_limit_bytes
        if wanted is not None:
            if own and (wanted == 0 or wanted > own):
                self._note(
                    "warning",
                    f"limit-post = {own} refuses bodies that --body-size lets through",
                    "raise limit-post in the configuration",
                )
            return wanted
        if own:
            return own
        django = self.facts.data_upload_max_memory_size if self.facts is not None else 0
        # Django counts forms without their files; what is above is refused by it, with a page of its own.
        return max(USUAL_BODY_BYTES, math.ceil((django or 0) / (1 << 20)) << 20)

    def _read_timeout(self, harakiri_s: int) -> int:
        if not harakiri_s:
            self._note(
                "note",
                f"harakiri is not set: nginx gives a request up after {USUAL_READ_TIMEOUT_S} seconds, and it goes on",
                f"set harakiri = {USUAL_READ_TIMEOUT_S - SPARE_S} in the configuration, or how long one may take",
            )
            return USUAL_READ_TIMEOUT_S
        return harakiri_s + math.ceil(self.plan.engine.harakiri.graceful_s) + SPARE_S

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _websocket(self, files: tuple[Files, ...], upstream: Upstream) -> tuple[str, ...]:
        paths = list(self.wish.websocket)
        facts = self.facts
        if not paths and facts is not None and (facts.asgi_application or _WEBSOCKET_APPS & set(facts.installed_apps)):
            paths = ["/"]
        made = dict.fromkeys("/" if path.strip("/") == "" else self._prefix("--websocket", path) for path in paths)
        for path in made:
            if any(path == each.prefix for each in files):
                raise NoSite(f"--websocket {path}: files are served there", "name another path")
        if made and upstream.protocol == "uwsgi":
            self._note(
                "warning",
                "a connection does not become a websocket over the uwsgi protocol",
                "add http-socket to the configuration",
            )
            return ()
        return tuple(filter(None, made))

    def _certificate(self) -> None:
        wish = self.wish
        if bool(wish.certificate) != bool(wish.key):
            missing = "--key" if wish.certificate else "--cert"
            raise NoSite("a certificate and its key belong together", f"write {missing} as well")
        if wish.certificate and not self.nginx.has("http_ssl"):
            raise NoSite(f"nginx at {self.nginx.program} was built without TLS", "install one that has it")
        for file in filter(None, (wish.certificate, wish.key)):
            if not file.startswith("/") or "$" in file or words.has_control(file):
                raise NoSite(f"{file!r}: nginx wants the whole path of a certificate, without $", "move it")
        if words.has_control(wish.acme_folder):
            raise NoSite(f"{wish.acme_folder!r} has a control character in its name", "give the folder another name")
        if self.facts is not None and self.facts.secure_ssl_redirect and not (wish.certificate or wish.behind):
            self._note(
                "warning",
                "SECURE_SSL_REDIRECT leads every visitor to https, and this site has no certificate",
                "write --cert and --key, or --behind ADDRESS for what speaks TLS in front of nginx",
            )
        if wish.hsts_s and not wish.certificate:
            self._note("warning", "--hsts means nothing without a certificate", "write --cert and --key")
        elif wish.hsts_s and not wish.redirects:
            self._note("warning", "--hsts without the redirect: who comes over plain HTTP is never told")

    def _behind(self) -> tuple[str, ...]:
        if self.wish.behind and not self.nginx.has("http_realip"):
            raise NoSite(f"nginx at {self.nginx.program} was built without realip", "install one that has it")
        found = []
        for text in self.wish.behind:
            try:
                found.append(str(ipaddress.ip_network(text, strict=False)))
            except ValueError:
                raise NoSite(f"{text!r} is no address or range of addresses", "write --behind 10.0.0.0/8") from None
        return tuple(found)

    def _status_port(self) -> int | None:
        if self.wish.status_port is not None and not self.nginx.has("http_stub_status"):
            self._note("note", "nginx was built without stub_status: there is no status page")
            return None
        return self.wish.status_port


def _is_reachable(listener: ListenerPlan) -> bool:
    if listener.family == "abstract" or (listener.inherited is not None and listener.inherited.family is None):
        return False
    return listener.is_unix or listener.port != 0


def _address(listener: ListenerPlan) -> str:
    if listener.is_unix:
        return f"unix:{listener.host}"
    host = listener.host
    if host in ("", "0.0.0.0", "::", "*"):
        host = "::1" if listener.family == "inet6" else "127.0.0.1"
    return f"[{host}]:{listener.port}" if ":" in host else f"{host}:{listener.port}"
