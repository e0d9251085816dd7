"""Settings + this machine -> Plan. The one place where defaults meet the machine.

Everything that is wrong is collected and raised at once; what was adjusted becomes a note of the plan.
"""

from __future__ import annotations

import glob
import ipaddress
import os
from collections.abc import Iterable
from typing import cast

from penstock.config.findings import Finding, Origin
from penstock.config.settings import Setting, Settings
from penstock.options.rules import RULES
from penstock.plan import python
from penstock.plan.addresses import Address, AddressError, is_bare_word, parse_address
from penstock.plan.machine import Machine
from penstock.plan.types import AppPlan, EnginePlan, ListenerPlan, Plan, Protocol
from penstock.values import replace

DEFAULT_BACKLOG = 1024
"""uWSGI has 100, nginx 511, gunicorn 2048. Connections wait here only while every worker is busy, so this bounds how
late an answer can come; what is above it is better refused."""
STATS_BACKLOG = 100
MOST_LISTENERS = 240
"""A generation gets all of them in one message, and Linux lets one carry 253 descriptors (unix(7), SCM_RIGHTS)."""
HEAD_LIMIT_BYTES = 65536
"""The least that is allowed unless `header-limit` lowers it; also what a uwsgi packet can hold."""
HEADER_LIMIT_COUNT = 128
HEADER_TIMEOUT_S = 10
LONGEST_HEADER_TIMEOUT_S = 60
"""However long a body or a response may take, a head that is not there after a minute never comes."""
STALL_TIMEOUT_S = 60
KEEPALIVE_TIMEOUT_S = 75
"""As nginx: its own default for connections to clients."""
SMALLEST_BODY_MEMORY_BYTES = 4096
OWN_PROXIES = ("unix", "127.0.0.0/8", "::1/128")


class PlanError(Exception):
    """What was said can not be done on this machine; `findings` has every error, `exit_status` is the command's."""

    def __init__(self, findings: Iterable[Finding], exit_status: int = 1) -> None:
        self.findings = tuple(findings)
        self.exit_status = exit_status
        super().__init__("\n".join(str(finding) for finding in self.findings))


def resolve(settings: Settings, machine: Machine) -> Plan:
    """Make the plan.

    Raises PlanError, with everything that is wrong, if there is no plan that does what was said.
    """
    return _Resolver(settings, machine).plan()


class _Resolver:
    def __init__(self, settings: Settings, machine: Machine) -> None:
        self.said = settings
        self.machine = machine
        self.errors: list[Finding] = []
        self.exit_status = 1
        self.notes: list[str] = []
        self.chdir = os.path.normpath(os.path.join(machine.cwd, settings.text("chdir") or ""))

    def plan(self) -> Plan:
        self._check_rules()
        self._check_chdir()
        self._check_identity()
        said = self.said
        processes = said.number("processes")
        if processes == -1:
            processes = self.machine.cpus
        plan = Plan(
            listeners=self._listeners(),
            app=self._app(),
            engine=self._engine(processes),
            processes=processes,
            lazy_apps=said.flag("lazy-apps"),
            need_app=said.flag("need-app"),
            pidfile=self._at_start("pidfile"),
            daemonize=self._at_start("daemonize"),
            logto=self._at_start("logto"),
            vacuum=said.flag("vacuum"),
            term="stop" if said.flag("die-on-term") else "reload",
            stats=self._stats(),
            touch_reload=tuple(self._after_chdir(path) for path in said.texts("touch-reload")),
            uid=said.text("uid"),
            gid=said.text("gid"),
            umask=said.number("umask") if said.given("umask") else None,
            harakiri_s=said.number("harakiri"),
            drain_timeout_s=float(said.number("worker-reload-mercy")),
            notes=(),
        )
        if self.errors:
            # A status of its own only where it tells the whole story.
            raise PlanError(self.errors, self.exit_status if len(self.errors) == 1 else 1)
        self._add_notes()
        return replace(plan, notes=tuple(self.notes))

    # Problems

    def _error(self, code: str, message: str, origin: Origin, cure: str) -> None:
        self.errors.append(Finding("error", code, message, origin, cure))

    def _warn(self, message: str, origin: Origin | None, cure: str) -> None:
        self.notes.append(f"warning: {Finding('warning', 'adjusted', message, origin, cure)}")

    def _check_rules(self) -> None:
        for rule in RULES:
            if not rule.broken(self.said):
                continue
            origin = self.said.origin(rule.about) if self.said.given(rule.about) else None
            if rule.level == "warning":
                self._warn(rule.why, origin, rule.fix)
                continue
            self.errors.append(Finding("error", rule.id, rule.why, origin, rule.fix))
            self.exit_status = rule.exit_status

    def _check_chdir(self) -> None:
        if not os.path.isdir(self.chdir):
            what = "is not a directory" if os.path.exists(self.chdir) else "does not exist"
            origin = self.said.origin("chdir")
            self._error("no-directory", f"chdir = {self.chdir}: it {what}", origin, "create it, or correct the path")

    def _check_identity(self) -> None:
        """Names must exist, and only root can become somebody else."""
        for name, find, own in (("uid", self.machine.user_id, self.machine.euid), ("gid", self.machine.group_id, None)):
            wanted = self.said.text(name)
            if wanted is None:
                continue
            number = find(wanted)
            origin = self.said.origin(name)
            kind = "user" if name == "uid" else "group"
            if number is None:
                self._error(
                    f"no-{kind}", f"{name} = {wanted}: there is no such {kind}", origin, "create it, or name another"
                )
            elif own is not None and self.machine.euid != 0 and number != own:
                self._error(
                    "not-root", f"{name} = {wanted}: only root can become another user", origin, "start it as root"
                )

    # Paths

    def _after_chdir(self, path: str) -> str:
        return os.path.join(self.chdir, path)

    def _at_start(self, name: str) -> str | None:
        """A path that counts from the directory of the start, because it is opened before chdir."""
        path = self.said.text(name)
        return os.path.join(self.machine.cwd, path) if path is not None else None

    def _existing_dir(self, name: str, default: str) -> str:
        path = self.said.text(name)
        if path is None:
            return default
        path = self._after_chdir(path)
        if not os.path.isdir(path):
            message = f"{name} = {path}: there is no such directory"
            self._error("no-directory", message, self.said.origin(name), "create it, or correct the path")
        return path

    # Sockets

    def _listeners(self) -> tuple[ListenerPlan, ...]:
        spoken: Protocol = "uwsgi" if self.said.text("protocol") == "uwsgi" else "http"
        wanted: list[tuple[Protocol, Setting]] = [
            *(("http", setting) for setting in self.said.every("http", "http-socket")),
            *((spoken, setting) for setting in self.said.every("socket")),
        ]
        backlog = self._backlog()
        taken: dict[Address, Setting] = {}
        listeners: list[ListenerPlan] = []
        for protocol, setting in wanted:
            address = self._address(setting, needs_port=setting.option.name != "socket")
            if address is None:
                continue
            if address in taken and (address.port or address.family in ("unix", "abstract")):
                first = taken[address].origin
                self._error(
                    "same-address", f"{setting.value} is already served ({first})", setting.origin, "remove one"
                )
            taken[address] = setting
            listeners.append(self._listener(protocol, setting, address, backlog))
        if len(listeners) > MOST_LISTENERS:
            message = f"{len(listeners)} addresses to serve on; one instance takes {MOST_LISTENERS}"
            self._error("too-many-addresses", message, wanted[MOST_LISTENERS][1].origin, "start a second instance")
        return tuple(listeners)

    def _listener(self, protocol: Protocol, setting: Setting, address: Address, backlog: int) -> ListenerPlan:
        is_unix = address.family == "unix"
        return ListenerPlan(
            protocol=protocol,
            name=str(setting.value),
            family=address.family,
            host=address.host,
            port=address.port,
            backlog=backlog,
            mode=self.said.number("chmod-socket") if is_unix and self.said.given("chmod-socket") else None,
            owner=self.said.text("chown-socket") if is_unix else None,
            origin=str(setting.origin),
        )

    def _address(self, setting: Setting, needs_port: bool = False) -> Address | None:
        """Read an address; with `needs_port` a word that may as well be a host is not taken for a path."""
        text = str(setting.value)
        try:
            if is_bare_word(text):
                if needs_port:
                    raise AddressError("no port", f"did you mean {text}:8000? A unix socket is written ./{text}")
                message = f"{setting.option.name} = {text}: this is a unix socket in {self.chdir}"
                self._warn(message, setting.origin, f"write ./{text}, or {text}:8000 if a host is meant")
            return parse_address(text, self.chdir)
        except AddressError as error:
            message = f"{setting.option.name} = {setting.value}: {error}"
            self._error("bad-address", message, setting.origin, error.cure)
            return None

    def _backlog(self) -> int:
        most = self.machine.somaxconn
        if not self.said.given("listen"):
            return min(most, DEFAULT_BACKLOG)
        wanted = self.said.number("listen")
        if wanted > most:
            self._warn(
                f"listen = {wanted}: the system allows {most}, so the backlog is {most}",
                self.said.origin("listen"),
                f"raise it with sysctl -w net.core.somaxconn={wanted}",
            )
        return min(most, wanted)

    def _stats(self) -> ListenerPlan | None:
        said = self.said.every("stats")
        address = self._address(said[-1]) if said else None
        return None if address is None else self._listener("http", said[-1], address, STATS_BACKLOG)

    # The application

    def _app(self) -> AppPlan:
        said = self.said
        module, file = said.text("module"), said.text("wsgi-file")
        name = said.text("callable") or "application"
        target = module if module is not None else file or ""
        if module is not None and ":" in module:
            target, _, name = module.partition(":")
            name = name or "application"
        home = self._home()
        return AppPlan(
            kind="module" if module is not None else "file" if file is not None else "none",
            target=target,
            callable=name,
            chdir=self.chdir,
            pythonpath=self._python_path(),
            environment=tuple(
                cast("tuple[str, str]", tuple(pair.split("=", 1))) for pair in said.texts("env") if "=" in pair
            ),
            interpreter=os.path.join(home, "bin", "python") if home is not None else self.machine.interpreter,
            home=home,
            options=tuple((entry.key, entry.value) for entry in said.entries if entry.key),
        )

    def _home(self) -> str | None:
        home = self.said.text("home")
        if home is None:
            return None
        home = os.path.normpath(self._after_chdir(home))
        if not python.can_be_run(home):
            why, cure = python.why_not(home, self.machine.user_name())
            self._error("no-interpreter", f"home = {home}: {why}", self.said.origin("home"), cure)
        return home

    def _python_path(self) -> tuple[str, ...]:
        """Patterns are expanded; the directory given last stands first, as in uWSGI."""
        found: list[str] = []
        for path in self.said.texts("pythonpath"):
            pattern = self._after_chdir(path)
            found += sorted(glob.glob(pattern)) or [pattern] if glob.has_magic(pattern) else [pattern]
        return tuple(os.path.normpath(path) for path in reversed(found))

    # The engine

    def _engine(self, processes: int) -> EnginePlan:
        said = self.said
        stall = float(self._stall_timeout())
        return EnginePlan(
            threads=said.number("threads"),
            multiprocess=processes > 1,
            server_name=self.machine.hostname,
            head_limit_bytes=self._head_limit(),
            header_limit_count=max(HEADER_LIMIT_COUNT, 2 * said.number("max-vars")),
            underscores_in_headers=said.flag("underscores-in-headers"),
            body_limit_bytes=said.number("limit-post"),
            body_memory_bytes=self._body_memory(),
            body_memory_total_bytes=said.number("post-buffering-total"),
            spool_dir=self._existing_dir("spool-dir", self.machine.temp_dir),
            response_buffer_bytes=said.number("response-buffer"),
            response_buffer_total_bytes=max(said.number("response-buffer-total"), said.number("response-buffer")),
            response_spool_bytes=said.number("response-spool"),
            response_spool_total_bytes=max(said.number("response-spool-total"), said.number("response-spool")),
            header_timeout_s=float(self._header_timeout()),
            body_timeout_s=stall,
            write_timeout_s=stall,
            keepalive_timeout_s=float(self._keepalive()),
            max_requests=said.number("max-requests"),
            min_worker_lifetime_s=float(said.number("min-worker-lifetime")),
            drain_timeout_s=float(said.number("worker-reload-mercy")),
            trusted_proxies=self._trusted_proxies(),
            static_maps=self._static_maps(),
            static_safe=tuple(self._after_chdir(path) for path in said.texts("static-safe")),
            mime_types=self.machine.mime_types() if said.texts("static-map") else "",
            log_requests=not said.flag("disable-logging"),
        )

    def _head_limit(self) -> int:
        limit = max(HEAD_LIMIT_BYTES, self.said.number("buffer-size"))
        return min(limit, self.said.number("header-limit")) if self.said.given("header-limit") else limit

    def _body_memory(self) -> int:
        """Users of uWSGI write `post-buffering = 1` to switch it on; no small body shall go to a file for that."""
        wanted = self.said.number("post-buffering")
        default = self.said.every("post-buffering")
        if default and wanted < SMALLEST_BODY_MEMORY_BYTES:
            return int(default[0].option.default or 0)
        return wanted

    def _stall_timeout(self) -> int:
        given = [self.said.number(name) for name in ("socket-timeout", "http-timeout") if self.said.given(name)]
        return max(given, default=STALL_TIMEOUT_S)

    def _header_timeout(self) -> int:
        if self.said.given("http-headers-timeout"):
            return self.said.number("http-headers-timeout")
        if self.said.given("socket-timeout"):
            return min(self.said.number("socket-timeout"), LONGEST_HEADER_TIMEOUT_S)
        return HEADER_TIMEOUT_S

    def _keepalive(self) -> int:
        seconds = self.said.number("http-keepalive")
        return KEEPALIVE_TIMEOUT_S if seconds == 1 else seconds

    def _trusted_proxies(self) -> tuple[str, ...]:
        words = [word for text in self.said.texts("trusted-proxies") for word in text.replace(",", " ").split()]
        trusted = [] if "none" in words else list(OWN_PROXIES)
        for word in words:
            if word in ("all", "*"):
                trusted += ["unix", "0.0.0.0/0", "::/0"]
            elif word == "unix":
                trusted.append(word)
            elif word != "none":
                trusted.append(str(ipaddress.ip_network(word, strict=False)))
        return tuple(dict.fromkeys(trusted))

    def _static_maps(self) -> tuple[tuple[str, str], ...]:
        maps: list[tuple[str, str]] = []
        for setting in self.said.every("static-map"):
            prefix, _, path = str(setting.value).partition("=")
            place = self._after_chdir(path.strip()).rstrip("/") or "/"
            if not os.path.exists(place):
                message = f"static-map = {setting.value}: {place} does not exist"
                self._warn(
                    message, setting.origin, "create it (for Django: manage.py collectstatic), or correct the path"
                )
            maps.append(("/" + prefix.strip().strip("/"), place))
        return tuple(maps)

    # Notes

    def _add_notes(self) -> None:
        said = self.said
        if self.machine.euid == 0 and not said.given("uid"):
            self._warn("the instance runs as root", None, "give it a user of its own: uid = www-data, gid = www-data")
        if said.given("master") and not said.flag("master"):
            self.notes.append(
                f"{said.origin('master')}: master = false changes nothing, Penstock always supervises its workers"
            )
        if not said.given("die-on-term"):
            self.notes.append(
                "SIGTERM stops Penstock, where uWSGI reloads; die-on-term = true says the same and silences this line"
            )
