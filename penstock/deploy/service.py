"""An instance as something that a service manager runs: who it is, what it needs, how long its end may take.

Every service manager's files are made of these values (`systemd`, `sysv`, `supervisor`, `runit`, `logrotate`, `tune`),
so that a number has one home: how long a stop lasts, how many files may be open. Pure: nothing looks at the machine.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator

from penstock.plan.types import ListenerPlan, Plan
from penstock.project.django_facts import DjangoFacts
from penstock.values import dataclass

STOP_MARGIN_S = 15
"""On top of what Penstock itself waits for: its last hooks, exit handlers of the app, and a machine that is busy."""
LEAST_OPEN_FILES = 4096
MOST_OPEN_FILES = 1 << 20
"""What kernels allow where nobody has said otherwise (fs.nr_open)."""
_OWN_FILES = 256
"""What an interpreter with an app and its libraries has open without a request, several times over."""
_FILES_OF_A_THREAD = 16
"""Databases, caches and files of a request that runs."""
_FILES_OF_A_CONNECTION = 3
"""Itself, the file of its request's body, and the file of its response."""
_PUBLIC_CONNECTIONS = 8192
"""Clients that come without a proxy between keep their connections open for as long as they may."""
_SHARED = ("/tmp", "/var/tmp", "/dev/shm", "/dev", "/proc", "/sys")
"""Where everybody may write, sandboxed or not."""

FOREIGN = frozenset({"apache2", "apt", "cups", "dbus", "docker", "dpkg", "httpd", "journal", "lock", "log", "mysql",
                     "mysqld", "mariadb", "nginx", "postgresql", "private", "rabbitmq", "redis", "samba", "sshd",
                     "supervisor", "systemd", "udev", "user"})  # fmt: skip
"""Directories below /run, /var/lib and /var/log that belong to others: a unit that names one as its own takes it from
them, with all that is in it."""


@dataclass(frozen=True, slots=True)
class Writable:
    """A place that the instance writes to."""

    path: str
    """Absolute; a directory, unless `is_file`."""
    what: str
    """`media files`, `the log of the handler file` ..."""
    is_file: bool = False

    @property
    def directory(self) -> str:
        """The directory that has to be writable."""
        return os.path.dirname(self.path) if self.is_file else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is to be run, as whom, and what is around it. Paths are absolute."""

    name: str
    """Of the unit, the script, the program: letters, digits, dashes."""
    command: tuple[str, ...]
    """The program with its arguments."""
    folder: str
    """The working directory of the start."""
    plan: Plan
    user: str = ""
    """Whom it runs as; empty for whoever starts it."""
    group: str = ""
    """Its group; empty for the user's own."""
    web_group: str = ""
    """The group of the web server in front; empty where nobody knows."""
    reads: tuple[str, ...] = ()
    """Where what it reads lies, beside what the plan names."""
    writes: tuple[Writable, ...] = ()
    """Where the application writes."""
    after: tuple[str, ...] = ()
    """Services on the same machine that it uses, by the names of their units."""
    python: str = ""
    """The project's interpreter, and `manage` its manage.py: for management commands."""
    manage: str = ""
    origin: str = ""
    """What the reader typed for this, for a comment."""

    @property
    def needs_root(self) -> bool:
        """Whether it has to be started by root, and drops its rights itself."""
        plan = self.plan
        points = ("as-root", "pre-jail", "post-jail", "in-jail")
        stays = plan.groups.master_stays_root or plan.groups.imports_as_root
        return stays or (plan.uid is not None and bool(plan.hooks.at(*points)))


def of_django(facts: DjangoFacts) -> tuple[tuple[Writable, ...], tuple[str, ...]]:
    """Where a Django project writes, and which services of this machine it may use."""
    writes = []
    if facts.media_root:
        writes.append(Writable(facts.media_root, "media files"))
    if facts.file_upload_temp_dir:
        writes.append(Writable(facts.file_upload_temp_dir, "uploads under way"))
    for base in facts.databases:
        # Its journal lies beside it.
        if base.vendor == "sqlite" and base.name.startswith("/"):
            writes.append(Writable(base.name, f"the SQLite database {base.alias}", is_file=True))
    for cache in facts.caches:
        if cache.backend.endswith("FileBasedCache"):
            writes += [Writable(place, f"the cache {cache.alias}") for place in cache.locations if place[:1] == "/"]
    for log in facts.log_files:
        writes.append(Writable(log.path, f"the log of the handler {log.handler}", is_file=True))
    return tuple(dict.fromkeys(writes)), tuple(dict.fromkeys(_units_of(facts)))


def _units_of(facts: DjangoFacts) -> Iterator[str]:
    units = {
        "postgresql": ("postgresql.service",),
        "mysql": ("mysql.service", "mariadb.service"),
    }
    for base in facts.databases:
        if base.host in ("", "localhost", "127.0.0.1", "::1") or base.host.startswith("/"):
            yield from units.get(base.vendor, ())
    for cache in facts.caches:
        for place in cache.locations:
            if re.search(r"//(?:[^@/]*@)?(?:localhost|127\.0\.0\.1|\[::1\])", place) or place.startswith("unix:"):
                yield from ("redis-server.service", "redis.service", "valkey.service")
            elif re.match(r"(?:localhost|127\.0\.0\.1):", place):
                yield "memcached.service"


# -- numbers -----------------------------------------------------------------------------------------------------------


def stop_s(plan: Plan) -> int:
    """How long a stop may take at most, in seconds: what is longer hangs, and nothing that is shorter may be cut.

    The delay before the drain, the mercy for requests, the mercy for attached programs, one after the other.
    """
    return stop_of(plan.drain_delay_s, plan.drain_timeout_s, programs_mercy_s(plan))


def stop_of(delay_s: float, requests_s: float, programs_s: float) -> int:
    """The same, of its parts."""
    return math.ceil(delay_s + requests_s + programs_s) + STOP_MARGIN_S


def programs_mercy_s(plan: Plan) -> float:
    """How long attached programs may take to leave; 0 where there are none."""
    return plan.programs.mercy_s if plan.programs.each else 0.0


def open_files(plan: Plan) -> int:
    """How many files each process may need open: a power of two, by its connections and threads."""
    connections = sum(max(2 * one.backlog, _PUBLIC_CONNECTIONS if is_public(one) else 0) for one in plan.listeners)
    wanted = _OWN_FILES + plan.engine.threads * _FILES_OF_A_THREAD + connections * _FILES_OF_A_CONNECTION
    wanted = max(wanted, plan.limits.open_files, LEAST_OPEN_FILES)
    return min(1 << (wanted - 1).bit_length(), MOST_OPEN_FILES)


def processes(plan: Plan) -> int:
    """How many processes there are at most: two generations with their workers, the master and attached programs."""
    return 2 * (plan.processes + 1) + 1 + len(plan.programs.each)


def is_public(listener: ListenerPlan) -> bool:
    """Whether other machines reach it."""
    return listener.family in ("inet", "inet6") and not (
        listener.host.startswith("127.") or listener.host in ("localhost", "::1")
    )


# -- places ------------------------------------------------------------------------------------------------------------


def sockets(plan: Plan) -> tuple[ListenerPlan, ...]:
    """Every socket that the instance makes: its listeners, the statistics, the probes."""
    return (*plan.listeners, *(one for one in (plan.stats, plan.admin) if one is not None))


def unix_paths(plan: Plan) -> list[str]:
    """The paths of its unix sockets."""
    return [one.host for one in sockets(plan) if one.is_unix]


def log_files(plan: Plan) -> list[tuple[str, int]]:
    """(path, size at which Penstock itself rotates it, 0 for never) of each file that Penstock logs to."""
    found = [(path, plan.log.max_bytes) for path in (plan.logto or plan.daemonize, plan.log.late_file) if path]
    for stream in (plan.log.server, plan.log.requests):
        found += [(one.path, one.max_bytes) for one in stream.loggers if one.kind == "file" and one.path]
    return list(dict.fromkeys(found))


def written(service: Service) -> list[Writable]:
    """Every place that the instance or its application writes to, the shared ones left out."""
    plan = service.plan
    pid_files = [path for path in (plan.pidfile, plan.pidfile2, *plan.safe_pidfiles) if path]
    places = [
        *(Writable(path, "a socket", is_file=True) for path in unix_paths(plan)),
        *(Writable(path, "a pid file", is_file=True) for path in pid_files),
        *(Writable(path, "a FIFO for commands", is_file=True) for path in plan.asking.fifos),
        *(Writable(one.pidfile, "a pid file", is_file=True) for one in plan.programs.each if one.pidfile),
        *(Writable(path, "a log", is_file=True) for path, _ in log_files(plan)),
        Writable(plan.engine.spool_dir, "request bodies under way"),
    ]
    if plan.app.python.tracebacker:
        places.append(Writable(plan.app.python.tracebacker, "stacks", is_file=True))
    every = [*places, *service.writes]
    return [one for one in dict.fromkeys(every) if one.path.startswith("/") and not is_within(one.directory, _SHARED)]


def read(service: Service) -> list[str]:
    """Every place that the instance reads its program, its code and its files from."""
    app = service.plan.app
    found = [
        service.folder,
        app.chdir,
        app.interpreter,
        *([app.home] if app.home else []),
        *app.pythonpath,
        *(one.path for one in service.plan.engine.static.maps),
        *(word for word in service.command if word.startswith("/")),
        *service.reads,
    ]
    return list(dict.fromkeys(path for path in found if path.startswith("/")))


def number(text: str) -> int | None:
    """A number as files of this machine write it; None for anything else."""
    plain = text.strip()
    return int(plain) if plain.isascii() and plain.isdecimal() and len(plain) < 20 else None


def is_within(path: str, places: Iterable[str]) -> bool:
    """Whether a path is one of some places, or lies in one."""
    plain = normal(path)
    return any(plain == place or plain.startswith(place.rstrip("/") + "/") for place in places)


def normal(path: str) -> str:
    """A path without dots, and with /run for /var/run, which is a link to it."""
    plain = os.path.normpath(path)
    return plain.removeprefix("/var") if plain == "/var/run" or plain.startswith("/var/run/") else plain


# -- who gets in -------------------------------------------------------------------------------------------------------


def needs_web_group(service: Service) -> bool:
    """Whether the web server reaches a socket only by being in the instance's group."""
    return any(not _is_open(one) and not (one.owner or "").partition(":")[2] for one in _served_by_path(service.plan))


def _served_by_path(plan: Plan) -> list[ListenerPlan]:
    return [one for one in plan.listeners if one.is_unix and one.inherited is None]


def _is_open(listener: ListenerPlan) -> bool:
    return listener.mode is not None and bool(listener.mode & 0o002)


def shut_out(service: Service) -> list[ListenerPlan]:
    """The sockets that the web server's group can not connect to. Empty where its group is not known."""
    if not service.web_group:
        return []
    found = []
    for one in _served_by_path(service.plan):
        group = (one.owner or "").partition(":")[2] or service.group
        by_group = group == service.web_group and (one.mode is None or bool(one.mode & 0o020))
        if not (_is_open(one) or by_group):
            found.append(one)
    return found


@dataclass(frozen=True, slots=True)
class Remark:
    """What whoever asks for the files has to know."""

    text: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.cure}" if self.cure else self.text


class NotPossible(Exception):
    """There are no files that would work: why, and what to do."""

    def __init__(self, text: str, cure: str) -> None:
        self.cure = cure
        super().__init__(f"{text}; {cure}")


def printable(text: str) -> str:
    """Text for a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
