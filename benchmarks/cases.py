"""What is measured: the cases as data. For each its load, who is compared and why, and the targets.

A target that names a time was measured on a machine of its own; here it is a ratio to a peer of the same run, which a
slower or busier machine leaves as it is. Memory and what a sleep decides are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.servers import Connections

OWN = "penstock"
App = Literal["hello", "bodies", "django"]
HELLO_BYTES = b"Hello, world\n"
DJANGO_PLAIN = b"Hello from Django\n"


# -- the load ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrk:
    """wrk, for what is fast."""

    connections: int = 64
    script: str = ""
    """A file beside this one."""
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Closed:
    """Connections that ask again at once, every request counted to its end: for what is slow."""

    connections: int = 64


@dataclass(frozen=True)
class Open:
    """Requests at planned times, some of them slow."""

    rate: float
    connections: int
    slow_path: str
    every: int = 50


@dataclass(frozen=True)
class Startup:
    """From the start of the command to the first 200."""


@dataclass(frozen=True)
class Memory:
    """Proportional set size before and after load."""

    path: str
    """What the load asks for; one request for the case's answer is all that the idle server has had."""
    connections: int = 16


@dataclass(frozen=True)
class Idle:
    """What open connections without a request add to the memory."""

    connections: int = 5000


Load = Wrk | Closed | Open | Startup | Memory | Idle


# -- the targets -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """An absolute bound."""

    metric: str
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True)
class Against:
    """A bound on the ratio to a peer of the same run."""

    metric: str
    peer: str
    at_most: float | None = None
    at_least: float | None = None
    why: str = ""
    """Where the number comes from."""


@dataclass(frozen=True)
class First:
    """Not worse than the best peer (or than `peer`), beyond the spread of the ratio."""

    metric: str
    peer: str = ""
    subject: str = OWN
    """Whose figure is meant."""


Target = Limit | Against | First

RISES = frozenset({"rate"})
"""The metrics of which more is better; of all others less is."""


# -- the cases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What the path must answer before anything is measured."""

    path: str = "/"
    body: bytes | None = HELLO_BYTES
    """The exact body, or None where only the length is looked at."""
    size: int | None = None
    """Length of the body, None if `body` says it or it is not known (a page: then only that there is one)."""
    send: int = 0
    """Bytes of a body to send; then the request is a POST."""


@dataclass(frozen=True)
class Entry:
    """A server in a case, as the case starts it."""

    server: str
    why: str
    threads: int | None = None
    """Another number of app threads than the case's."""
    log: bool | None = None
    """Another answer than the case's to whether requests are logged."""
    label: str = ""
    """What the tables call it, if not by the server's name."""

    @property
    def name(self) -> str:
        return self.label or self.server


@dataclass(frozen=True)
class Case:
    """One line of the results."""

    name: str
    title: str
    load: Load
    peers: Sequence[Entry]
    """Who is compared by default: the three nearest, and the floor and nginx where they mean something."""
    targets: Sequence[Target] = ()
    app: App = "hello"
    answer: Answer = field(default_factory=Answer)
    connections: Connections = "any"
    processes: int = 1
    threads: int = 1
    pinned: bool = True
    """Whether the server is kept on one core, and the load generator on another."""
    front: Literal["", "uwsgi", "http"] = ""
    """nginx in front, and what it speaks to the server."""
    log: bool = False
    static: bool = False
    probes_streaming: bool = False
    """Whether to find out who sends a piece before the next one exists: only those count for First."""
    seconds: float = 1.0
    """How much longer than usual a measurement is."""
    most_rounds: int | None = None
    """More rounds would repeat the same number."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Servers that can not do it though they can be started, and why."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Penstock and its peers; a peer entry of Penstock itself is a variant."""
        return (Entry(OWN, ""), *self.peers)


FLOOR = Entry("floor", "what the kernel alone costs")
NGINX = Entry("nginx", "the web server that everybody has")
FAST = "the fastest of the servers that pip installs"
NO_PIPELINING = "loses pipelined requests"

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case(
            "hello",
            "hello world (13 bytes), 64 connections kept alive",
            Wrk(),
            (FLOOR, NGINX, Entry("fastwsgi", FAST), Entry("bjoern", "second"), Entry("granian", "third")),
            (
                Against("cpu_us", "floor", at_most=1.45, why="5.8 us where the floor takes 4.0"),
                Against("rate", "fastwsgi", at_least=1.05),
            ),
        ),
        Case(
            "hello-log",
            "hello world with a line in the request log for each",
            Wrk(),
            (
                Entry(OWN, "what the log costs", log=False, label="penstock without a log"),
                NGINX,
                Entry("granian", "the fastest peer that has a log"),
                Entry("uwsgi", "whose users read its log"),
                Entry("gunicorn", "the most used"),
            ),
            (First("cpu_us", "granian"),),
            log=True,
        ),
        Case(
            "pipelined",
            "hello world, 16 requests in one write",
            Wrk(script="pipelined.lua"),
            (FLOOR, Entry("fastwsgi", FAST), Entry("granian", "second"), Entry("socketify", "the next that can")),
            (Against("rate", "fastwsgi", at_least=1.2),),
            cannot={"bjoern": NO_PIPELINING},
        ),
        Case(
            "close",
            "hello world, a connection for each request",
            Wrk(headers=("Connection: close",)),
            (NGINX, Entry("uwsgi", FAST), Entry("bjoern", "second"), Entry("granian", "third")),
            (Against("cpu_us", "uwsgi", at_most=0.95, why="14.5 us where uWSGI takes 15.2"),),
            connections="closed",
        ),
        Case(
            "nginx-uwsgi",
            "hello world behind nginx, `uwsgi_pass` to a unix socket",
            Wrk(),
            (Entry("uwsgi", "whose protocol it is"), Entry("gunicorn", "the only other that speaks it")),
            (Against("cpu_us", "uwsgi", at_most=0.79, why="9 us where uWSGI takes 11.4"), First("rate")),
            front="uwsgi",
        ),
        Case(
            "nginx-http",
            "hello world behind nginx, `proxy_pass` kept alive to a unix socket",
            Wrk(),
            (Entry("bjoern", FAST), Entry("granian", "second"), Entry("gunicorn", "the most used")),
            (First("cpu_us", "bjoern"),),
            front="http",
        ),
        Case(
            "django-plain",
            "Django with its middleware, no template, no query, 16 connections",
            Wrk(connections=16),
            (Entry("fastwsgi", FAST), Entry("bjoern", "second"), Entry("uwsgi", "third, and the one to follow")),
            (First("cpu_us", "fastwsgi"),),
            app="django",
            answer=Answer("/plain/", DJANGO_PLAIN),
        ),
        Case(
            "django-page",
            "Django page (queries and a template), 16 connections",
            Closed(16),
            (Entry("bjoern", FAST), Entry("fastwsgi", "second"), Entry("granian", "third")),
            (First("cpu_us"),),
            app="django",
            answer=Answer("/entries/", None),
            seconds=1.5,
        ),
        Case(
            "standby-cost",
            "the Django page with 1 and with 4 threads",
            Closed(16),
            (Entry(OWN, "what more threads cost when they are not needed", threads=4, label="penstock 4 threads"),),
            (First("cpu_us", OWN, subject="penstock 4 threads"),),
            app="django",
            answer=Answer("/entries/", None),
            seconds=1.5,
        ),
        Case(
            "post-64k",
            "POST of 64 KiB, read whole",
            Wrk(script="post.lua"),
            (Entry("fastwsgi", FAST), Entry("bjoern", "second"), Entry("granian", "third")),
            (First("cpu_us"),),
            app="bodies",
            answer=Answer("/post", b"65536\n", send=65536),
        ),
        Case(
            "bytes-1m",
            "1 MiB as one bytes object",
            Wrk(),
            (Entry("fastwsgi", FAST), Entry("socketify", "second"), Entry("granian", "third")),
            (First("cpu_us"),),
            app="bodies",
            answer=Answer("/bytes-1m", None, size=1 << 20),
        ),
        Case(
            "pieces-64k",
            "64 KiB in 16 pieces",
            Wrk(),
            (
                Entry("fastwsgi", "the fastest, which sends them as one"),
                Entry("granian", "second"),
                Entry("uwsgi", "third, and the one to follow"),
            ),
            (First("cpu_us"),),
            app="bodies",
            answer=Answer("/pieces", None, size=1 << 16),
            probes_streaming=True,
        ),
        Case(
            "file-wrapper",
            "10 MiB by `wsgi.file_wrapper`, 16 connections",
            Closed(16),
            (Entry("granian", FAST), Entry("uwsgi", "second"), Entry("gunicorn", "third")),
            (First("cpu_us"),),
            app="bodies",
            answer=Answer("/file", None, size=10 << 20),
            cannot={"fastwsgi": "breaks off a file of this size"},
        ),
        Case(
            "static-4k",
            "static file of 4 KiB",
            Wrk(),
            (NGINX, Entry("uwsgi", "the one to follow"), Entry("granian", "the other server that can")),
            (Against("cpu_us", "nginx", at_most=1.3),),
            answer=Answer("/static/4k", None, size=4096),
            static=True,
        ),
        Case(
            "static-1m",
            "static file of 1 MiB",
            Wrk(),
            (NGINX, Entry("uwsgi", "the one to follow"), Entry("granian", "the other server that can")),
            (Against("cpu_us", "nginx", at_most=1.3),),
            answer=Answer("/static/1m", None, size=1 << 20),
            static=True,
        ),
        Case(
            "threads-sleep",
            "8 threads, the app sleeps for 10 ms, 64 connections (800 requests/s are all there can be)",
            Closed(64),
            (Entry("granian", FAST), Entry("uwsgi", "second"), Entry("gunicorn", "third")),
            (
                Limit("rate", at_least=790),
                Against("cpu_us", "granian", at_most=0.61, why="30 us where granian takes 49"),
                First("p99_ms"),
            ),
            app="bodies",
            answer=Answer("/sleep-10ms"),
            threads=8,
        ),
        Case(
            "slow-neighbours",
            "4 threads, 300 requests/s at planned times, every 50th sleeps for 200 ms",
            Open(300, 64, "/sleep-200ms"),
            (Entry("granian", FAST), Entry("waitress", "second"), Entry("gunicorn", "third")),
            (Limit("fast_p99_ms", at_most=2.0), Limit("waited", at_most=0)),
            app="bodies",
            answer=Answer("/hello"),
            threads=4,
            connections="kept",
            seconds=2.0,
        ),
        Case(
            "two-workers-slow",
            "2 processes of 1 thread, 16 connections kept alive, 200 requests/s, every 50th sleeps for 200 ms",
            # At this rate one sleeper ends before the next begins: the other worker is always there.
            Open(200, 16, "/sleep-200ms"),
            (
                Entry("granian", "its workers keep their connections"),
                Entry("gunicorn", "so do its"),
                Entry("uwsgi", "its router opens a connection to a worker for each request"),
            ),
            (Limit("waited", at_most=0),),
            app="bodies",
            answer=Answer("/hello"),
            processes=2,
            connections="kept",
            seconds=2.0,
        ),
        Case(
            "two-processes",
            "hello world, 2 processes, on no particular core",
            Wrk(),
            (Entry("bjoern", FAST), Entry("fastwsgi", "second"), Entry("granian", "third")),
            (First("rate"),),
            processes=2,
            pinned=False,
        ),
        Case(
            "startup",
            "start of a Django project with 4 workers to the first 200",
            Startup(),
            (Entry("bjoern", FAST), Entry("uwsgi", "second"), Entry("gunicorn", "third")),
            (Against("startup_s", "uwsgi", at_most=1.01, why="1.1 s where uWSGI takes 1.09"),),
            app="django",
            answer=Answer("/plain/", DJANGO_PLAIN),
            processes=4,
            pinned=False,
        ),
        Case(
            "memory",
            "memory of a Django project with 4 workers, all processes, idle and after load",
            Memory("/entries/"),
            (Entry("bjoern", "the leanest"), Entry("uwsgi", "second"), Entry("gunicorn", "third")),
            (
                Limit("idle_mib", at_most=65),
                Limit("after_mib", at_most=95),
                Limit("master_mib", at_most=14),
            ),
            app="django",
            answer=Answer("/plain/", DJANGO_PLAIN),
            processes=4,
            pinned=False,
            most_rounds=3,
        ),
        Case(
            "idle-5000",
            "5,000 idle connections beside that, each answered once",
            Idle(),
            (Entry("bjoern", "the leanest"), Entry("gunicorn", "second"), Entry("uwsgi", "third")),
            (Limit("growth_mib", at_most=8),),
            app="django",
            answer=Answer("/plain/", DJANGO_PLAIN),
            processes=4,
            connections="kept",
            pinned=False,
            most_rounds=2,
        ),
    )
}
HEADLINES = ("hello", "close", "nginx-uwsgi", "django-page", "slow-neighbours", "memory")
"""What the README shows."""
