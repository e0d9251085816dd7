"""What the doctor knows: facts about the host, the services, the sockets, nginx, the instance and the application.

Only values. `penstock.doctor.gather` looks, each gatherer at one thing; `penstock.doctor.checks` judges, and each check
is a function of `Facts`. What could not be looked at is None or empty here, and named in `Facts.blind`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from penstock.deploy.nginx.reading import Configuration
from penstock.deploy.nginx.servers import Passing
from penstock.doctor.diagnosis import Blind
from penstock.plan.access import Person
from penstock.plan.addresses import Address, parse_address
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts, Unanswered
from penstock.values import dataclass

if TYPE_CHECKING:
    # It knows all codes, those of the checks too, and the checks know this module.
    from penstock.doctor.report import Report


@dataclass(frozen=True, slots=True)
class Killed:
    """A line of the kernel's log about a process that came to harm."""

    when: str
    """As the log has it; may be empty."""
    name: str
    pid: int
    line: str
    is_oom: bool
    """Killed for want of memory; else it crashed."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The most memory that processes may take together."""

    size_bytes: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine, or the container."""

    euid: int
    container: str = ""
    """What kind it is; empty outside of one."""
    init: tuple[str, ...] = ()
    """The command line of process 1."""
    somaxconn: int = 0
    memory: MemoryLimit | None = None
    clock_is_synchronised: bool | None = None
    now_s: float = 0.0
    killed: tuple[Killed, ...] = ()
    oom_kills: int = 0
    """How often the kernel has killed somebody of the instance's control group."""
    port_variable: str = ""
    """The variable PORT, by which some platforms say where to listen."""
    selinux_enforces: bool = False
    avc: tuple[str, ...] = ()
    """Recent lines of the audit log about nginx that was denied something."""


Manager = Literal["systemd", "sysv", "supervisor", "runit", "emperor", "cron", "rc.local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that starts this configuration."""

    manager: Manager
    name: str
    place: str
    """File and line of the command."""
    command: str
    is_enabled: bool | None = None
    """Whether it is started at boot; None if nobody can say."""
    stop_timeout_s: float | None = None
    """How long it waits for the end; None for without limit or unknown."""
    stop_place: str = ""
    has_private_tmp: bool = False
    type: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A block of logrotate's files that is about one of the logs."""

    place: str
    log: str
    copies: bool
    """`copytruncate`: the file stays the same."""
    script: str
    """What is run after the rotation."""


Presence = Literal["accepts", "refused", "missing", "not-a-socket", "denied", "unknown"]


@dataclass(frozen=True, slots=True)
class Owned:
    """A directory or socket and who may use it."""

    path: str
    mode: int
    owner: str
    group: str

    def __str__(self) -> str:
        return f"{self.mode & 0o7777:04o} {self.owner}:{self.group}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketFact:
    """An address that is served on, or that nginx passes requests to."""

    address: str
    """The path of a unix socket, or HOST:PORT."""
    presence: Presence
    family: str = "unix"
    protocol: str = ""
    """What the configuration says is spoken here; empty where it does not name the address."""
    speaks: str = ""
    """What answered: `uwsgi`, `http`, or empty."""
    origin: str = ""
    owned: Owned | None = None
    closed: Owned | None = None
    """The first thing on the way that nginx's user may not use."""
    refuses_nginx: bool | None = None
    """Tried as nginx's user: whether the connection was denied; None if nobody could try."""
    holders: tuple[int, ...] = ()
    """The processes that listen, as far as the kernel tells."""
    holder: str = ""
    """One of them, by name."""
    holder_is_ours: bool = True
    master: int = 0
    """The master among them; 0 if there is none."""
    outside: str = ""
    """An address of this machine's network at which a connection was accepted; empty for none."""
    seen_by_nginx: bool | None = None
    """Whether nginx sees the same file at this path; None if nobody could look."""

    @property
    def plain(self) -> Address:
        """The address, read."""
        return parse_address(self.address, "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The running instance."""

    pid: int
    uid: int = -1
    pidfile: str = ""
    version: str = ""
    addresses: tuple[str, ...] = ()
    stats: Mapping[str, Any] | None = None
    open_files: int = 0
    """Its soft limit; 0 if it is not known."""
    memory_bytes: int = 0
    """Of all its processes, shared pages counted once."""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StalePid:
    """A pid file whose process is gone, or is somebody else."""

    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What came out of importing the application where it would be served."""

    status: int
    reason: str = ""
    place: str = ""
    """FILE:LINE of the innermost frame of the user's own code."""
    cures: tuple[str, ...] = ()
    traceback: str = ""
    interpreter: str = ""
    user: str = ""
    is_late: bool = False
    """It was given up."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Probe:
    """How something asks whether a container is alive."""

    place: str
    text: str
    port: int
    """0 where it is not known."""
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What a file says of how a container is run."""

    kind: Literal["dockerfile", "compose", "kubernetes"]
    place: str
    """File and line of the container, or of its command."""
    name: str = ""
    command: str = ""
    """What is run, as it is written; empty where the image says it."""
    is_shell: bool = False
    """A shell is process 1, and does not make way (`exec`)."""
    runs_penstock: bool = False
    grace_s: float | None = None
    """How long it may take to end; None where this file does not say."""
    grace_place: str = ""
    liveness: Probe | None = None
    readiness: Probe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The beginning of what a server answered."""

    status: int = 0
    """0: there was no answer, and `error` says why."""
    server: str = ""
    location: str = ""
    body: bytes = b""
    error: str = ""
    is_connected: bool = True
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.status:
            return self.error
        return f"{self.status}{f' to {self.location}' if self.location else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way from a visitor to the application, tried: through nginx, and at the socket behind it."""

    url: str
    name: str
    address: str
    """Where nginx listens."""
    port: int
    place: str
    """Of the server block."""
    passing: Passing
    via: Response
    direct: Response
    was_reached: bool | None
    """Whether the instance counted a request while nginx was asked; None if it could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was sent to a socket of the instance itself, where no nginx passes any."""

    address: str
    origin: str
    host: str
    response: Response


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The last lines of the instance's own log."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFact:
    """A file that visitors should get from nginx."""

    url: str
    what: str
    file: str
    """Where the file is; empty where there is none."""
    looked: str
    """Where nginx looks for it; empty where it passes the request on, or nobody can say."""
    place: str
    exists: bool
    """Whether it is where nginx looks."""
    closed: Owned | None
    """The first thing on the way that nginx's user may not use."""
    response: Response


@dataclass(frozen=True, slots=True)
class Unread:
    """A file of a site that nginx does not read."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxFacts:
    """nginx on this machine."""

    configuration: Configuration
    version: str
    main_file: str
    user: str
    group: str
    user_place: str
    pid: int = 0
    """Of its master; 0 if it does not run."""
    broken: str = ""
    """What `nginx -t` says against its files."""
    error_log: str = ""
    log_lines: tuple[str, ...] = ()
    """The last lines of the error log about our addresses."""
    open_files: int = 0
    mine: tuple[Passing, ...] = ()
    """The places that pass requests to us."""
    unread: tuple[Unread, ...] = ()
    routes: tuple[Route, ...] = ()
    statics: tuple[StaticFact, ...] = ()
    dead: tuple[Passing, ...] = ()
    """Places that pass to an address of this machine where nobody listens."""
    lines: Mapping[str, str] = MappingProxyType({})
    """FILE:LINE -> what stands there, of the files that were read."""
    holders: tuple[tuple[int, str], ...] = ()
    """(port of our servers, the program that listens there if it is not nginx)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known."""

    host: Host
    report: Report | None = None
    plan: Plan | None = None
    chdir: str = ""
    """The project's directory; empty if there is none."""
    services: tuple[Service, ...] = ()
    rotations: tuple[Rotation, ...] = ()
    sockets: tuple[SocketFact, ...] = ()
    instance: Instance | None = None
    stale_pid: StalePid | None = None
    app: Import | None = None
    django: DjangoFacts | Unanswered | None = None
    person: Person | None = None
    """Whom the instance runs as, or would."""
    containers: tuple[Container, ...] = ()
    nginx: NginxFacts | None = None
    asked: Asked | None = None
    log: LogEnd | None = None
    is_elsewhere: bool = False
    """The files of services are those of another tree: what runs here tells nothing about them."""
    newest_source: tuple[str, float] | None = None
    """A file of the project and its time, seconds since the epoch."""
    blind: tuple[Blind, ...] = ()

    def place_of(self, option: str) -> str:
        """Where an option was set: FILE:LINE, a flag or a variable; its name where it was not."""
        entries = self.report.settings.entries if self.report is not None else ()
        return next((str(entry.origin) for entry in reversed(entries) if entry.key == option), option)
