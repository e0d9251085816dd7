"""The Plan: what will be done, resolved against this machine.

Only values live here: no I/O, no defaults that depend on the machine. `penstock.plan.resolve` makes a Plan from
Settings; the master carries it out; a `WorkerPlan` is the part that crosses into the engine, read there by field
name. Durations are seconds, sizes are bytes, and the unit is the end of the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from penstock.plan.process_types import (
    AskingPlan,
    GatesPlan,
    GroupsPlan,
    HookPlan,
    HooksPlan,
    LimitsPlan,
    ProbePlan,
    ProgramPlan,
    ProgramsPlan,
    RecyclingPlan,
    ScalingPlan,
    ScriptPlan,
    Strategy,
    TitlesPlan,
    WatchPlan,
)
from penstock.values import asdict, dataclass

Protocol = Literal["http", "uwsgi"]
Family = Literal["inet", "inet6", "unix", "abstract"]
StopReason = Literal["drained", "stopped", "orphaned"]
"""Why a worker's engine ended: its work was done, it was told to leave at once, or its master is gone."""


@dataclass(frozen=True, slots=True)
class SocketTuning:
    """What is asked of the kernel for a TCP socket, and for the connections that come from it."""

    keepalive: bool = False
    """SO_KEEPALIVE: silent connections are looked after."""
    reuse_port: bool = False
    """SO_REUSEPORT: other processes of the same user may bind the address too."""
    freebind: bool = False
    """IP_FREEBIND: the address need not be there yet."""
    fast_open: int = 0
    """TCP_FASTOPEN: how many connections may bring data before they are complete; 0 for none."""
    send_buffer_bytes: int = 0
    """SO_SNDBUF; 0 leaves it to the kernel, which adapts it."""
    receive_buffer_bytes: int = 0
    """SO_RCVBUF, in the same way."""


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A descriptor that the process was started with."""

    fd: int
    name: str
    """What whoever passed it calls it."""
    family: Family | None = None
    """None: nobody can accept on it."""
    host: str = ""
    """Numeric host, path, or name without `@`."""
    port: int = 0
    takes_ipv4: bool = False
    """An IPv6 socket that IPv4 comes to as well."""


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """A socket that the master binds before anything is imported."""

    protocol: Protocol
    name: str
    """The address as the user wrote it; `origin` is where."""
    family: Family
    host: str
    """Numeric or symbolic host; empty for every address of the family; for unix families the path or name."""
    port: int
    """0 lets the kernel choose; unused for unix families."""
    backlog: int
    mode: int | None
    """Permission bits of a unix socket; None leaves them to the umask."""
    owner: str | None
    """`user[:group]` of a unix socket."""
    origin: str
    tuning: SocketTuning = SocketTuning()
    inherited: InheritedSocket | None = None
    """The socket is there already."""

    @property
    def is_unix(self) -> bool:
        """Whether the socket is a unix socket with a path in the file system."""
        return self.family == "unix"


AppKind = Literal["module", "file", "eval", "none"]
"""How an application is found: by the name of its module, by the path of its file, or by running a text."""


@dataclass(frozen=True, slots=True)
class MountPlan:
    """An application that answers under a path of its own (`mount`)."""

    point: str
    """The path without a slash at its end; empty for the application of every path that has no other."""
    kind: AppKind
    target: str
    """As in AppPlan."""
    callable: str
    origin: str
    """Where it was written, for messages."""


@dataclass(frozen=True, slots=True)
class PythonPlan:
    """What the applications find in their interpreter, and what is imported beside them."""

    flags: tuple[str, ...] = ()
    """Of the interpreter's command line, as `-OO`."""
    arguments: tuple[str, ...] = ()
    """`sys.argv` behind its first."""
    executable: str | None = None
    """`sys.executable`, if it is not to be the interpreter's own."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(second name, module or file), made before the applications are imported."""
    late_aliases: tuple[tuple[str, str], ...] = ()
    """The same, made afterwards."""
    shared_imports: tuple[str, ...] = ()
    """Modules or files that are imported before the applications, in the generation even with lazy-apps."""
    imports: tuple[str, ...] = ()
    """Modules or files that are imported after the applications."""
    chdir_after: str | None = None
    """Absolute directory that the workers change to at last."""
    tracebacker: str | None = None
    """Path to which the number of a worker is added: a unix socket that tells its stacks."""
    accepts_buffers: bool = False
    """Pieces of a body may be bytes-like objects."""
    strict_body: bool = False
    """A body that is bytes, and no iterable of bytes, is refused."""
    shows_exceptions: bool = False
    """Tracebacks go to the client."""
    recycle_on: tuple[tuple[str, str], ...] = ()
    """(`any`, `type`, `value` or `repr`, text) of exceptions after which a worker is replaced."""
    exit_handlers: Literal["all", "own", "none"] = "all"
    """What a worker calls at its end: everything, `uwsgi.atexit` alone, or nothing (`skip-atexit`)."""
    shell: str | None = None
    """Code that the first worker runs beside serving; empty for a prompt, None for neither (`pyshell`)."""
    shell_is_once: bool = False
    """Whether it is not run again when it has ended."""


@dataclass(frozen=True, slots=True)
class AppPlan:
    """Which applications a generation imports, and in what surroundings."""

    kind: AppKind
    target: str
    """Module name, file path or code; empty where all applications are mounted."""
    callable: str
    """Attribute that holds the application; may be dotted and may end in `()`."""
    chdir: str
    """Absolute directory that the generation works in."""
    pythonpath: tuple[str, ...]
    """Directories for the front of `sys.path`, in the order they shall stand there."""
    environment: tuple[tuple[str, str | None], ...]
    """`env`, `unenv` and `envdir` in the order in which they count; None removes a variable."""
    interpreter: str
    """The Python executable of the generation."""
    home: str | None
    """The virtual environment that was asked for, if any."""
    options: tuple[tuple[str, str | None], ...]
    """Every option and placeholder as written, for `uwsgi.opt`; None for a flag that came without a value."""
    mounts: tuple[MountPlan, ...]
    """Applications beside, or instead of, the one that `kind` and `target` name."""
    python: PythonPlan = PythonPlan()
    keeps_input: bool = False
    """Standard input stays what it was at the start, instead of being empty."""
    locks: int = 0
    """How many locks the application has beside lock 0 (`uwsgi.lock`)."""

    @property
    def description(self) -> str:
        """What is imported, in words: `module shop.wsgi`; empty for nothing."""
        own = [(self.kind, self.target)] if self.kind != "none" else []
        return ", ".join(f"{kind} {target}" for kind, target in [*own, *((m.kind, m.target) for m in self.mounts)])


@dataclass(frozen=True, slots=True)
class StaticMapPlan:
    """One place that files are looked for in."""

    prefix: str
    """The beginning of the URLs; `/` for all."""
    path: str
    """Absolute directory or file."""
    keeps_prefix: bool = False
    """The whole path of the URL is looked up beneath the directory, not only what follows the prefix."""


@dataclass(frozen=True, slots=True)
class ExpiryPlan:
    """How long clients may use some files without asking again."""

    subject: Literal["name", "path-info", "uri", "type"]
    """What the pattern is compared with: the file's path, the URL's, the URL as it was sent, the content type."""
    pattern: str
    """A regular expression; for `type` the type itself."""
    seconds: int
    from_change: bool
    """Counted from the file's last change instead of from the request."""


@dataclass(frozen=True, slots=True)
class StaticPlan:
    """Files that the engine serves without the app."""

    maps: tuple[StaticMapPlan, ...] = ()
    """In the order in which they are tried."""
    docroot: bool = False
    """Files under the DOCUMENT_ROOT that a trusted front end names are served too."""
    safe: tuple[str, ...] = ()
    """Absolute directories that static files may resolve into beside their own root."""
    index: tuple[str, ...] = ()
    """Names of the file that a directory is answered with."""
    skipped_suffixes: tuple[str, ...] = ()
    """Ends of names that are never served."""
    compressed_all: bool = False
    """Every file may have a compressed form beside it."""
    compressed_patterns: tuple[str, ...] = ()
    """Regular expressions of the paths of files that may have one; `compressed_prefixes` and `compressed_suffixes` are
    their beginnings and ends."""
    compressed_prefixes: tuple[str, ...] = ()
    compressed_suffixes: tuple[str, ...] = ()
    expires: tuple[ExpiryPlan, ...] = ()
    """The first that fits counts."""
    serve_mode: Literal["", "x-accel-redirect", "x-sendfile"] = ""
    """By which header the front end is told to send the file; empty: it is sent here."""
    mime_types: str = ""
    """Lines of `extension type`, sorted by extension (without dot, in lower case); empty where no file is served.

    One text, because each process would have its own copy of thousands of small values."""


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """What is said of every response, whoever makes it."""

    added_headers: tuple[tuple[str, str], ...] = ()
    """(name, value), in the order in which they stand behind the others."""
    removed_headers: tuple[str, ...] = ()
    """Names, in any case, of headers of the app and of static files that are left out."""
    head_limit_bytes: int = 0
    """The most that the app's headers may take; 0 for no limit."""
    error_pages: tuple[tuple[int, str], ...] = ()
    """(status, absolute path of an HTML file) for the server's own errors; of several the first that can be read."""
    files_are_read: bool = False
    """Files are read and sent, not sent by the kernel (sendfile)."""


@dataclass(frozen=True, slots=True)
class HarakiriPlan:
    """What is done about a request that takes too long."""

    limit_s: int = 0
    """Longest time in the application; 0 for no limit."""
    graceful_s: float = 0.0
    """How long an interrupted thread may take to clean up when its worker has nothing else to do."""
    graceful_signal: int = 0
    """Sent to the worker at the limit; 0 for none."""
    queue_threshold: int = 0
    """The limit counts only while so many connections wait; 0 for always."""
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class RequestLogPlan:
    """Which requests the engine logs, and how."""

    enabled: bool
    """`disable-logging` turns it off; what the conditions below ask for is logged nevertheless."""
    format: str = ""
    """`log-format`, with `%(name)` for variables; empty for the default line."""
    is_json: bool = False
    """Values are escaped for JSON strings."""
    strftime: str = ""
    """What `%(ftime)` follows; empty for the form of `%(ltime)`."""
    prefix: str = ""
    """What stands before lines of the server, for strftime; empty for nothing."""
    micros: bool = False
    memory: bool = False
    """The default line begins with the memory of its process."""
    forwarded_for: bool = False
    """The address is what X-Forwarded-For says, if the peer may say it."""
    client_errors: bool = False
    """Log answers with a status of 400 to 499."""
    server_errors: bool = False
    empty: bool = False
    sendfile: bool = False
    io_errors: bool = False
    """Log what its client did not take."""
    slow_ms: int = 0
    """Log what took this long; 0 for no such condition."""
    big_bytes: int = 0
    """Log answers whose body is this large; 0 for no such condition."""


LogKind = Literal["file", "fd", "stdio", "syslog", "rsyslog", "socket"]
EncoderKind = Literal["prefix", "suffix", "nl", "format", "json"]


@dataclass(frozen=True, slots=True)
class LoggerPlan:
    """A place that lines of a log go to."""

    kind: LogKind
    origin: str
    id: str = ""
    """A logger with a name gets only the lines that a route sends there."""
    path: str = ""
    """Absolute path of a file or of a unix datagram socket."""
    host: str = ""
    port: int = 0
    fd: int = -1
    prefix: str = ""
    """Before each datagram."""
    ident: str = ""
    """How syslog names the instance."""
    priority: int = 0
    """Of syslog: severity + 8 * facility."""
    max_bytes: int = 0
    """Size at which a file is rotated; 0 for never."""
    backup: str = ""
    """Name of the rotated file; empty for the file's own with the time behind it."""


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """What is done to each line before it is written."""

    kind: EncoderKind
    text: str = ""
    logger: str = ""
    """Only for the lines of the logger of this name; empty for all."""


@dataclass(frozen=True, slots=True)
class LogStreamPlan:
    """Where the lines of the server, or those of requests, go."""

    loggers: tuple[LoggerPlan, ...] = ()
    """None: to the log file, or to standard error."""
    encoders: tuple[EncoderPlan, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    """(name of a logger, regular expression): lines that match go there and nowhere else."""
    drains: tuple[str, ...] = ()
    """Regular expressions: lines that match are dropped."""
    filters: tuple[str, ...] = ()
    """Regular expressions: lines that match none of them are dropped, if there are any."""


@dataclass(frozen=True, slots=True)
class LogPlan:
    """What the master does with the logs."""

    server: LogStreamPlan = LogStreamPlan()
    requests: LogStreamPlan = LogStreamPlan()
    """Without loggers, requests are logged among the lines of the server."""
    through_master: bool = False
    """Every line passes through the master, even if nothing is done to it."""
    late_file: str | None = None
    """Absolute path of the log file that is opened after privileges were dropped (`logto2`)."""
    file_mode: int | None = None
    owned: bool = False
    """Log files belong to the user and group that the instance becomes."""
    truncate: bool = False
    max_bytes: int = 0
    backup: str = ""
    line_bytes: int = 8192
    """Longest line that passes through the master in one piece."""
    prefix: str = ""
    """As in RequestLogPlan."""
    touch_reopen: tuple[str, ...] = ()
    touch_rotate: tuple[str, ...] = ()


Template = tuple[tuple[str, str], ...]
"""A text that is put together for each request, in pieces (kind, what): (`text`, as it stands), (`group`, its number),
(`var`, name), or a function of `penstock.plan.routes` with its argument."""


@dataclass(frozen=True, slots=True)
class RulePlan:
    """One rule of `route` and its kin: when it is meant, and what it does."""

    place: str
    """Where it was written, for the log."""
    condition: str
    """Empty: always."""
    is_negated: bool
    operands: tuple[Template, ...]
    constant: str
    """What the condition compares with: a regular expression, or a range of addresses."""
    action: str
    arguments: tuple[Template, ...]
    target: int
    """Of `goto`: the number of the rule that is next."""


@dataclass(frozen=True, slots=True)
class RoutesPlan:
    """The rules of each stage, in order."""

    request: tuple[RulePlan, ...] = ()
    response: tuple[RulePlan, ...] = ()
    """Tried when the head of a response is complete and before it leaves."""
    last: tuple[RulePlan, ...] = ()
    """Tried when a request is over."""


@dataclass(frozen=True, slots=True)
class MountingPlan:
    """How the engine chooses one of several applications. Ids count the applications as the log and statistics do."""

    by_path: bool
    """`manage-script-name`: the longest mountpoint that the path begins with, which becomes SCRIPT_NAME."""
    by_script_name: bool
    """The front end names the mountpoint in SCRIPT_NAME (uwsgi protocol)."""
    count: int
    """How many applications there are."""
    first_id: int
    """Id of the first mounted application: 1 where there is one beside the mounted ones, else 0."""
    fallback_id: int
    """Who answers where no mountpoint fits; -1 for nobody, which is 404."""
    points: tuple[str, ...] = ()
    """The mountpoints, in the order of their ids."""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """Limits and behaviour of the engine that are the same for every worker."""

    threads: int
    multiprocess: bool
    server_name: str
    """Host name, the `SERVER_NAME` of requests that came over HTTP."""
    head_limit_bytes: int
    """Largest request line plus header section over HTTP; a uwsgi block is always taken up to 65,535."""
    header_limit_count: int
    underscores_in_headers: bool
    """The app sees headers whose name has an underscore; they never override one with a dash."""
    body_limit_bytes: int
    """`limit-post`; 0 for none."""
    body_memory_bytes: int
    """A request body up to this size stays in memory, a larger one is spooled under `spool_dir`."""
    body_memory_total_bytes: int
    """What the bodies of all requests of a worker may take in memory; beyond it smaller ones are spooled too."""
    spool_dir: str
    routes: RoutesPlan
    response_buffer_bytes: int
    """What is kept of one response in memory for a slow client before it is spooled."""
    response_buffer_total_bytes: int
    """The same for all responses of a worker."""
    response_spool_bytes: int
    """What is kept of one response in a file under `spool_dir` before the app's thread has to wait; 0 for none."""
    response_spool_total_bytes: int
    """The same for all responses of a worker."""
    header_timeout_s: float
    body_timeout_s: float
    """Longest pause between two pieces of a request body."""
    write_timeout_s: float
    """Longest time without progress while a response is written."""
    keepalive_timeout_s: float
    max_requests: int
    """Recycle a worker after this many requests; 0 for never."""
    min_worker_lifetime_s: float
    drain_timeout_s: float
    """How long a drain may take before the connections that are left are cut."""
    trusted_proxies: tuple[str, ...]
    """`unix` and address ranges in CIDR notation whose X-Forwarded-* headers are believed."""
    static: StaticPlan
    mounting: MountingPlan
    log: RequestLogPlan
    response: ResponsePlan = ResponsePlan()
    file_wrapper: bool = True
    """`wsgi.file_wrapper` stands in the environ."""
    proxy_protocol: bool = False
    """Connections of trusted proxies to HTTP listeners may begin with a header of the PROXY protocol."""
    max_requests_delta: int = 0
    """How many more requests each worker serves than the one before it, so that they do not end all at once."""
    request_ids: bool = False
    """Each request has an X-Request-ID, taken from a trusted proxy or made."""
    trace_context: bool = False
    """Each request has a traceparent (W3C Trace Context), in the same way."""
    harakiri: HarakiriPlan = HarakiriPlan()
    trusted_headers: tuple[str, ...] = ()
    """By which headers trusted proxies speak for their clients, over HTTP; none: by the usual ones."""
    drops_forwarded: bool = False
    """The application does not see such headers of others."""


@dataclass(frozen=True, slots=True)
class ListenerHandle:
    """A bound socket as a worker sees it."""

    fd: int
    protocol: Protocol
    name: str
    """The bound address, as in logs and statistics: `127.0.0.1:8001`, `/run/app.sock`, `@name`."""
    server_port: str
    """The `SERVER_PORT` of requests that came over HTTP: the port, or `80` for a unix socket."""
    is_unix: bool
    is_kept: bool
    """Somebody else has a copy (systemd), so that it outlives the instance: who connects while the instance ends waits
    for the next one."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Everything that one worker's engine is told."""

    engine: EnginePlan
    worker_id: int
    """1 for the first worker."""
    listeners: tuple[ListenerHandle, ...]
    control_fd: int
    """The worker's end of a SOCK_SEQPACKET pair. The master writes `drain` (finish, then end), `retire` (the same, but
    others go on: idle connections go to them), `rest` (the same, but others come later: the listeners stay as they
    are), `stop`, `pause` or `resume`; the worker writes `ready` and `recycle REASON`."""
    lifeline_fd: int
    """Read end of a pipe whose write end only the master holds: end of file means that the master is gone."""
    scoreboard_fd: int
    """memfd of the generation's scoreboard."""
    scoreboard_slot: int
    handoff_receive_fd: int
    handoff_send_fd: int
    """A SOCK_SEQPACKET pair shared by all workers: a connection that this one can not serve goes to one that can."""
    log_fd: int
    """Where lines of the server and of the app are written; opened for appending."""
    request_log_fd: int
    """Where request lines are written; equal to `log_fd` if they go to the same place."""
    starts_paused: bool
    """It takes no request before the master writes `resume`: its generation does not serve yet."""


@dataclass(frozen=True, slots=True)
class StatsFormPlan:
    """How statistics are written."""

    http: bool = False
    """After an HTTP request, as an HTTP response."""
    minified: bool = False
    cores: bool = True
    """With an entry for each thread."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one instance does, from the master's point of view."""

    listeners: tuple[ListenerPlan, ...]
    app: AppPlan
    engine: EnginePlan
    processes: int
    lazy_apps: bool
    need_app: bool
    pidfile: str | None
    daemonize: str | None
    """Absolute path of the log file if the master goes to the background."""
    logto: str | None
    vacuum: bool
    term: Literal["stop", "reload"]
    """What SIGTERM does."""
    stats: ListenerPlan | None
    """The statistics socket; its protocol has no meaning."""
    touch_reload: tuple[str, ...]
    uid: str | None
    gid: str | None
    umask: int | None
    drain_timeout_s: float
    """`worker-reload-mercy`."""
    log: LogPlan
    stats_form: StatsFormPlan
    notes: tuple[str, ...]
    """Lines to print once at start: what was adjusted to this machine, and what differs from uWSGI."""
    exit_on_reload: bool = False
    drain_delay_s: float = 0.0
    """How long the instance goes on after it has said that it is not ready any more, before it drains."""
    recycling: RecyclingPlan = RecyclingPlan()
    scaling: ScalingPlan = ScalingPlan()
    watch: WatchPlan = WatchPlan()
    strategy: Strategy = "auto"
    titles: TitlesPlan = TitlesPlan()
    only_loads: bool = False
    """`no-server`: end when the applications have been imported."""
    asking: AskingPlan = AskingPlan()
    limits: LimitsPlan = LimitsPlan()
    pidfile2: str | None = None
    """Written when the master has become the user that it runs as."""
    safe_pidfiles: tuple[str, ...] = ()
    """Written when the instance is ready."""
    groups: GroupsPlan = GroupsPlan()
    programs: ProgramsPlan = ProgramsPlan()
    hooks: HooksPlan = HooksPlan()
    unused_sockets: tuple[InheritedSocket, ...] = ()
    """Inherited ones that nobody is served on, to be closed."""
    script: ScriptPlan = ScriptPlan()
    gates: GatesPlan = GatesPlan()
    admin: ListenerPlan | None = None
    """Where the master answers probes, by HTTP."""


PARTS: dict[type, dict[str, type]] = {
    AppPlan: {"mounts": MountPlan, "python": PythonPlan},
    ListenerPlan: {"tuning": SocketTuning, "inherited": InheritedSocket},
    EnginePlan: {
        "static": StaticPlan,
        "mounting": MountingPlan,
        "routes": RoutesPlan,
        "response": ResponsePlan,
        "log": RequestLogPlan,
        "harakiri": HarakiriPlan,
    },
    RoutesPlan: {"request": RulePlan, "response": RulePlan, "last": RulePlan},
    StaticPlan: {"maps": StaticMapPlan, "expires": ExpiryPlan},
    LogStreamPlan: {"loggers": LoggerPlan, "encoders": EncoderPlan},
    LogPlan: {"server": LogStreamPlan, "requests": LogStreamPlan},
    Plan: {
        "listeners": ListenerPlan,
        "app": AppPlan,
        "engine": EnginePlan,
        "stats": ListenerPlan,
        "admin": ListenerPlan,
        "recycling": RecyclingPlan,
        "scaling": ScalingPlan,
        "watch": WatchPlan,
        "titles": TitlesPlan,
        "log": LogPlan,
        "stats_form": StatsFormPlan,
        "asking": AskingPlan,
        "limits": LimitsPlan,
        "groups": GroupsPlan,
        "programs": ProgramsPlan,
        "hooks": HooksPlan,
        "unused_sockets": InheritedSocket,
        "script": ScriptPlan,
        "gates": GatesPlan,
    },
    GatesPlan: {"warmups": ProbePlan, "checks": ProbePlan},
    HooksPlan: {"each": HookPlan},
    ProgramsPlan: {"each": ProgramPlan},
}
"""Which fields are plans themselves, or tuples of them."""

T = TypeVar("T")


def to_json_value(plan: Any) -> Any:
    """Turn a plan (or a part of one) into values that `json.dumps` takes."""
    return asdict(plan)


def from_json_value(kind: type[T], value: Mapping[str, Any]) -> T:
    """Undo `to_json_value`, for a plan of the given kind; a value of another shape is a KeyError or TypeError."""
    parts = PARTS.get(kind, {})
    return kind(**{name: _part(parts.get(name), field) for name, field in value.items()})


def _part(kind: type | None, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_part(kind, item) for item in value)
    return value if kind is None or value is None else from_json_value(kind, value)
