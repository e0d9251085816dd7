"""What an exported service is: one value of the project, of Django's settings and of the configuration.

Here is decided how it runs in a container: where things are, how many workers, how much memory, how long a stop takes.
What the configuration says is carried over as far as it means anything there; what is not is told with its reason.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import Literal

from penstock.config.settings import Settings
from penstock.deploy.service import programs_mercy_s, stop_of
from penstock.options.secrets import shown
from penstock.options.table import BY_NAME
from penstock.plan.processes import WORKER_BYTES
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts
from penstock.project.found import Project, Requirements
from penstock.project.initial import HARAKIRI_S, MAX_REQUESTS
from penstock.values import dataclass, replace

Autoscale = Literal["saturation", "cpu", "none"]

APP = "/app"
"""Where the project is in the image."""
VENV = "/venv"
CONFIG = "container.ini"
USER = 10001
"""A number that no system has given to anybody, so that a file of a volume is never somebody else's by accident."""
PROCESSES, THREADS = 2, 4
DRAIN_DELAY_S = 10
"""Longer than a cluster takes to tell all its proxies that a pod leaves."""
PRIVATE = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fd00::/8"
"""Addresses that proxies inside a network have (RFC 1918, RFC 4193)."""
_OWN_BYTES = 64 << 20
"""Of the master and of what is not shared in the processes."""
_STEP_BYTES = 64 << 20

_REPLACED = frozenset(
    {
        "admin", "callable", "chdir", "drain-delay", "file", "home", "http", "http-socket", "module",
        "processes", "socket", "stats", "threads", "trusted-proxies", "uwsgi-socket", "wsgi-file",
        "worker-reload-mercy",
    }
)  # fmt: skip
"""What the container's configuration says itself."""
MEANINGLESS = {
    **dict.fromkeys(("uid", "gid", "add-gid"), "the image has a user of its own"),
    **dict.fromkeys(
        ("daemonize", "daemonize2", "logto", "logto2", "log-maxsize", "log-backupname", "touch-logreopen",
         "touch-logrotate", "logger", "req-logger"),
        "a container's log is its standard error",
    ),
    **dict.fromkeys(
        ("pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2", "master-fifo"), "a container is told by signals"
    ),
    **dict.fromkeys(
        ("touch-reload", "touch-workers-reload", "touch-chain-reload", "py-auto-reload", "reload-watch"),
        "new code is a new image",
    ),
    **dict.fromkeys(("chmod-socket", "chown-socket", "vacuum", "umask"), "there is no unix socket"),
    **dict.fromkeys(("listen", "prio", "cpu-affinity", "limit-nproc", "max-fd"), "the container's own limits count"),
}  # fmt: skip
"""Option -> why it means nothing in a container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the caller says about the service."""

    image: str = ""
    host: str = ""
    replicas: int = 2
    http_port: int = 8000
    admin_port: int = 9000
    trusted_proxies: str = ""
    autoscale: Autoscale = "saturation"
    penstock: str = "wheels/penstock-*.whl"
    """What pip installs: files of the build context, or a requirement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All that an export needs. Paths are those in the container unless a field says otherwise."""

    name: str
    wishes: Wishes
    python_version: str
    folder: str
    """Where the code is imported from."""
    app_lines: tuple[tuple[str, str], ...]
    """Options that name the application."""
    environments: tuple[str, ...]
    """Virtual environments in the project, which are made anew in the image."""
    requirements: Requirements | None
    """With its path relative to the project."""
    library: str
    """A requirement that stands in where nothing lists any."""
    manage: str
    """Of Django, absolute; empty where there is none."""
    settings_module: str
    collects_static: bool
    static: tuple[tuple[str, str], ...]
    """(URL, directory)."""
    media: tuple[str, str] | None
    """(URL, directory) of uploads."""
    processes: int
    threads: int
    memory_bytes: int
    drain_delay_s: int
    mercy_s: int
    """For requests in flight."""
    programs_s: int
    """For attached programs, after them."""
    harakiri_s: int
    body_limit_bytes: int
    carried: tuple[tuple[str, str], ...]
    """Options of the configuration that go on counting."""
    left_out: tuple[tuple[str, str], ...]
    """(line, why) of those that do not."""
    source: str
    """The file that they come from; empty for none."""
    notes: tuple[str, ...]
    """What a person should know."""

    @property
    def image(self) -> str:
        """The name of the image."""
        return self.wishes.image or f"{self.name}:1"

    @property
    def host(self) -> str:
        """The name that clients use."""
        return self.wishes.host or f"{self.name}.example.org"

    @property
    def stop_s(self) -> int:
        """How long a stop may take until somebody may kill it: the announcement, the requests in flight, the rest."""
        return stop_of(self.drain_delay_s, self.mercy_s, self.programs_s)

    @property
    def memory_mib(self) -> int:
        """The memory that it needs, in MiB."""
        return self.memory_bytes >> 20

    @property
    def trusted_proxies(self) -> str:
        """Who may speak for clients."""
        return self.wishes.trusted_proxies or PRIVATE

    @property
    def config_path(self) -> str:
        """The configuration, in the image."""
        return f"{APP}/{CONFIG}"


def describe(
    project: Project, facts: DjangoFacts | None, plan: Plan | None, settings: Settings | None, wishes: Wishes
) -> Service:
    """Put together what is known; `plan` and `settings` are those of a configuration, where there is one."""
    notes = list(project.notes)
    carried, left_out = _carried(project, settings) if settings is not None else (_first_options(), ())
    given = settings.given if settings is not None else lambda name: False
    processes = plan.processes if plan is not None and given("processes") else PROCESSES
    threads = plan.engine.threads if plan is not None and given("threads") else THREADS
    static, collects = _static(project, facts, notes)
    return Service(
        name=project.name,
        wishes=_with_host(wishes, facts),
        python_version=project.python_version or "3.12",
        folder=_inside(project, plan.app.chdir if plan is not None else project.folder) or APP,
        app_lines=tuple(_app(project, plan)),
        environments=tuple(filter(None, (_inside(project, one.path) for one in project.environments))),
        requirements=_requirements(project, notes),
        library=_library(project, facts),
        manage=_inside(project, project.manage) if project.manage else "",
        settings_module=project.settings or "",
        collects_static=collects,
        static=static,
        media=_media(project, facts, notes),
        processes=processes,
        threads=threads,
        memory_bytes=_memory(processes, facts),
        drain_delay_s=math.ceil(plan.drain_delay_s) if plan is not None and plan.drain_delay_s else DRAIN_DELAY_S,
        mercy_s=math.ceil(plan.drain_timeout_s) if plan is not None else HARAKIRI_S,
        programs_s=math.ceil(programs_mercy_s(plan)) if plan is not None else 0,
        harakiri_s=plan.engine.harakiri.limit_s if plan is not None else HARAKIRI_S,
        body_limit_bytes=plan.engine.body_limit_bytes if plan is not None else 0,
        carried=carried,
        left_out=left_out,
        source=os.path.basename(settings.files[0]) if settings is not None and settings.files else "",
        notes=(*notes, *_notes(facts)),
    )


def _first_options() -> tuple[tuple[str, str], ...]:
    return (
        ("harakiri", str(HARAKIRI_S)),
        ("max-requests", str(MAX_REQUESTS)),
        ("max-requests-delta", str(MAX_REQUESTS // 10)),
    )


def _with_host(wishes: Wishes, facts: DjangoFacts | None) -> Wishes:
    """Take the first of ALLOWED_HOSTS that others can use, unless a host was named."""
    hosts = facts.allowed_hosts if facts is not None and not wishes.host else ()
    usable = (host for host in hosts if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host) and not host[-1].isdigit())
    found = next(usable, "")
    return replace(wishes, host=found) if found else wishes


def _memory(processes: int, facts: DjangoFacts | None) -> int:
    """A generation that has the app imported, its workers, and what is theirs alone; shared pages count twice."""
    each = (facts.memory_bytes if facts is not None else 0) or WORKER_BYTES
    wanted = _OWN_BYTES + (processes + 1) * each
    return -(-wanted // _STEP_BYTES) * _STEP_BYTES


# -- where things are --------------------------------------------------------------------------------------------------


def _inside(project: Project, path: str | None) -> str:
    """Where a path of the project is in the image; empty for one outside of it."""
    if path is None:
        return ""
    relative = os.path.relpath(path, project.root)
    if relative == "." or not relative.startswith(".."):
        return os.path.normpath(os.path.join(APP, relative))
    return ""


def _app(project: Project, plan: Plan | None) -> Iterator[tuple[str, str]]:
    if plan is not None and plan.app.kind == "module":
        yield "module", f"{plan.app.target}:{plan.app.callable}"
    elif plan is not None and plan.app.kind == "file":
        yield "wsgi-file", _inside(project, os.path.join(plan.app.chdir, plan.app.target)) or plan.app.target
        yield "callable", plan.app.callable
    elif plan is None or (plan.app.kind == "none" and not plan.app.mounts):
        yield "module", project.wsgi or "django.core.wsgi:get_wsgi_application()"


def _requirements(project: Project, notes: list[str]) -> Requirements | None:
    for one in project.requirements:
        relative = os.path.relpath(one.path, project.root)
        if not relative.startswith(".."):
            return Requirements(one.kind, relative)
    notes.append(
        "nothing lists what the project needs: write requirements.txt (pip freeze), or the image has the framework"
        " alone"
    )
    return None


def _library(project: Project, facts: DjangoFacts | None) -> str:
    if facts is not None:
        return f"django=={facts.django_version}"
    return project.library


def _static(project: Project, facts: DjangoFacts | None, notes: list[str]) -> tuple[tuple[tuple[str, str], ...], bool]:
    """What Penstock serves by itself, and whether it has to be collected in the image."""
    if facts is None or not facts.uses_staticfiles:
        return (), False
    place = _inside(project, facts.static_root) if facts.static_root else ""
    if not place or place == APP:
        notes.append(
            "STATIC_ROOT is not a folder below the project, so that no static files are in the image: set it to"
            ' BASE_DIR / "static"'
        )
        return (), False
    if not facts.static_url.startswith("/") or any(name.startswith("whitenoise.") for name in facts.middleware):
        return (), True
    return ((facts.static_url, place),), True


def _media(project: Project, facts: DjangoFacts | None, notes: list[str]) -> tuple[str, str] | None:
    if facts is None or not facts.media_root or not facts.media_url.startswith("/") or facts.media_url == "/":
        return None
    place = _inside(project, facts.media_root)
    if not place or place == APP:
        notes.append(f"MEDIA_ROOT is {facts.media_root}: mount a volume there, the image's files can not be written")
        return None
    return facts.media_url, place


def _notes(facts: DjangoFacts | None) -> Iterator[str]:
    if facts is None:
        return
    for database in facts.databases:
        if database.vendor == "sqlite":
            yield f"database {database.alias} is SQLite: its file is lost with the container; use a database server"
    if any(cache.backend.endswith("LocMemCache") for cache in facts.caches):
        yield "the cache is LocMem: each process of each container has its own; use Redis or Memcached"
    for file in facts.log_files:
        yield f"LOGGING writes to {file.path}, which can not be written there: log to standard error"
    if facts.debug:
        yield "DEBUG is on in these settings: name those of production with --settings"


# -- what the configuration says ---------------------------------------------------------------------------------------


def _carried(project: Project, settings: Settings) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    carried: list[tuple[str, str]] = []
    left: list[tuple[str, str]] = []
    for entry in settings.entries:
        option = BY_NAME.get(entry.key)
        if option is None or entry.is_placeholder or entry.is_obeyed or option.role != "setting":
            continue
        if option.name in _REPLACED or option.verdict == "not-needed":
            continue
        value = "true" if entry.value is None else entry.value
        why = MEANINGLESS.get(option.name, "")
        if not why and shown(option.name, value) != value:
            left.append((option.name, "a secret: set it in the environment of the container"))
            continue
        placed = _placed(project, value)
        if not why and option.type in ("path", "mapping") and _leads_outside(placed):
            why = "a place outside of the project"
        if not why and not _is_writable(placed):
            why = "it can not be written into an ini file"
        if why:
            left.append((f"{option.name} = {value}", why))
        else:
            carried.append((option.name, placed))
    return tuple(carried), tuple(left)


def _placed(project: Project, value: str) -> str:
    """Rewrite paths of the project as those in the image."""
    root = re.escape(project.root.rstrip("/"))
    return re.sub(rf"(?<![\w./-]){root}(?=/|$|[\s=:,])", APP, value)


def _leads_outside(value: str) -> bool:
    path = os.path.normpath(value.rpartition("=")[2])
    return path.startswith("/") and path != APP and not path.startswith(f"{APP}/")


def _is_writable(value: str) -> bool:
    has_mark = any(mark in value for mark in ("@(", " ;", " #"))
    return value.isprintable() and value == value.strip() and not has_mark
