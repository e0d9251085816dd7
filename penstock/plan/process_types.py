"""The parts of a Plan that only the master follows: values, as in `penstock.plan.types`, whose `Plan` holds them.

Every default is "off", so that a plan for a test or a tool names only what it is about.
"""

from __future__ import annotations

from typing import Literal

from penstock.values import dataclass

Algorithm = Literal["spare", "backlog", "busyness", "manual"]

Strategy = Literal["auto", "beside", "rolling", "chain"]
"""How the workers of a new generation take over (`reload-strategy`); auto: beside, or rolling where memory is short."""


@dataclass(frozen=True, slots=True)
class RecyclingPlan:
    """When a worker is replaced that has done nothing wrong; 0 is never, each time."""

    lifetime_s: float = 0.0
    lifetime_delta_s: float = 0.0
    """How much longer each worker lives than the one before it."""
    rss_bytes: int = 0
    """Resident memory from which on a worker is replaced as soon as its replacement is ready."""
    as_bytes: int = 0
    """The same for its address space."""
    evil_rss_bytes: int = 0
    """Resident memory from which on a worker is killed, with what it has in flight."""
    evil_as_bytes: int = 0
    memory_interval_s: float = 3.0
    """How often memory is looked at."""

    @property
    def looks_at_memory(self) -> bool:
        """Whether there is a limit of memory."""
        return any((self.rss_bytes, self.as_bytes, self.evil_rss_bytes, self.evil_as_bytes))


@dataclass(frozen=True, slots=True)
class ScalingPlan:
    """How many workers there are, where that follows the load (`cheaper`, `cheap`, `idle`)."""

    least: int = 0
    """`cheaper`; 0: the number is fixed."""
    initial: int = 0
    """How many there are at the start."""
    step: int = 1
    """How many are started at a time."""
    overload: int = 3
    """Cycles of a second (spare), waiting connections (backlog), seconds of a window (busyness)."""
    algorithm: Algorithm = "spare"
    rss_soft_bytes: int = 0
    """No worker is started while all of them together have as much; 0 for no limit."""
    rss_hard_bytes: int = 0
    """Workers are taken away while all of them together have as much; 0 for no limit."""
    busy_least_percent: int = 25
    busy_most_percent: int = 50
    idle_windows: int = 10
    """Windows below the least busyness before a worker is taken away."""
    penalty_windows: int = 2
    """How many more of them after a worker was missed as soon as it was gone."""
    alert_queue: int = 33
    """Connections that wait, beyond which workers are started at once."""
    alert_step: int = 1
    alert_idle_windows: int = 3
    """`idle_windows` for workers that were started because of the queue."""
    alert_nonzero_s: float = 60.0
    """Seconds for which connections wait without a pause, after which a worker is started at once."""
    is_verbose: bool = False
    starts_asleep: bool = False
    """`cheap`: no worker before the first connection."""
    idle_s: float = 0.0
    """Seconds without a request after which there are no workers; 0 for never."""
    ends_when_idle: bool = False
    """`die-on-idle`."""

    @property
    def follows_load(self) -> bool:
        """Whether the number of workers may change."""
        return self.least > 0

    @property
    def needs_load(self) -> bool:
        """Whether the load has to be measured."""
        return self.follows_load or self.idle_s > 0


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """A request that a new worker asks its app for, before it takes those of clients."""

    uri: str
    """Path and query, as a client would send them."""
    host: str = ""
    """Its Host header; empty: what the app says of itself, or localhost."""
    scheme: str = ""
    """`http` or `https`; empty: what the app says of itself, or http."""
    origin: str = ""
    """Where it was written."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.scheme or 'http'}://{self.host}{self.uri}" if self.host else self.uri


@dataclass(frozen=True, slots=True)
class GatesPlan:
    """What new code has to pass before it serves."""

    warmups: tuple[ProbePlan, ...] = ()
    """Asked for in each new worker."""
    warmup_timeout_s: float = 60.0
    """How long the answer to each of them may take."""
    checks: tuple[ProbePlan, ...] = ()
    """Asked for after them, in the first workers of a generation."""
    check_timeout_s: float = 10.0
    check_retries: int = 0
    """How many more times each is tried, a second apart."""
    statuses: tuple[tuple[int, int], ...] = ((200, 399),)
    """(first, last) of those that pass a check."""
    reload_timeout_s: float = 0.0
    """How long it may take from the start of a generation until it serves, if another one serves; 0 for any time."""

    def longest_s(self, threads: int) -> float:
        """Tell how long a worker may take for all of it; 0 where there is nothing to do.

        Each of its `threads` asks for the paths of `warmup`, one thread after the other.
        """
        tries = (self.check_retries + 1) * (self.check_timeout_s + 1.0)
        return threads * len(self.warmups) * self.warmup_timeout_s + len(self.checks) * tries


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """How a new generation is watched after a reload, and when it was none (`reload-watch`)."""

    seconds: float = 0.0
    """For how long the generation before it stands by; 0 for not at all."""
    errors_percent: int = 5
    """By how much its share of 5xx may be above that of the generation before it."""
    requests: int = 20
    """How many requests it takes to judge it."""


@dataclass(frozen=True, slots=True)
class TitlesPlan:
    """What `ps` shows for each process (`procname` and its relatives)."""

    prefix: str = ""
    append: str = ""
    name: str = ""
    """For every process, in place of its own."""
    master_name: str = ""
    """For the master, in place of either."""
    shows_arguments: bool = True
    """Whether the master's title goes on with the arguments that it was started with."""

    def of_master(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """Make the words of the master's title."""
        text = f"{self.prefix}{self.master_name or self.name or 'penstock master'}{self.append}"
        return (*text.split(" "), *(arguments if self.shows_arguments else ()))

    def of(self, kind: Literal["generation", "worker"], number: int) -> tuple[str, ...]:
        """Make the words of another process's title."""
        return (f"{self.prefix}{self.name or f'penstock {kind} {number}'}{self.append}",)


@dataclass(frozen=True, slots=True)
class AskingPlan:
    """What asks the master for something, beside signals and the control socket. Paths are absolute."""

    touch_workers: tuple[str, ...] = ()
    """Files of `touch-workers-reload`."""
    touch_chain: tuple[str, ...] = ()
    """Files of `touch-chain-reload`."""
    fifos: tuple[str, ...] = ()
    """`master-fifo`: the first of them is read, until a digit chooses another one."""
    code_interval_s: float = 0.0
    """`py-auto-reload`: how often files are looked at whose changes nobody notifies of, and for how long changes are
    collected at most; 0 for no look at all."""
    code_ignored: tuple[str, ...] = ()
    """Modules whose files are not looked at."""


@dataclass(frozen=True, slots=True)
class ScriptPlan:
    """What is run in the surroundings of the applications instead of serving (`pyrun`, `test`)."""

    kind: Literal["", "file", "module"] = ""
    """A file is run, a module is only imported; empty for neither."""
    target: str = ""
    """The path as it was written, which counts from the directory of the applications, or the name."""


HOOK_ACTIONS: dict[str, int] = {
    "append": 2, "appendn": 2, "cd": 1, "chdir": 1, "chmod": 2, "chown": 3, "creat": 1, "create": 1, "exec": 1,
    "exit": 0, "log": 1, "mkdir": 1, "print": 1, "putenv": 1, "safeexec": 1, "unlink": 1, "write": 2, "writen": 2,
}  # fmt: skip
"""What a hook can do -> the fewest words that it takes."""


@dataclass(frozen=True, slots=True)
class HookPlan:
    """One thing that is done at a point of an instance's life."""

    point: str
    """`as-user`: the name of its option without `hook-` or `exec-`."""
    action: str
    """One of HOOK_ACTIONS."""
    argument: str
    origin: str
    """Where it was written."""
    path: str = ""
    """The file that is touched."""

    @property
    def is_command(self) -> bool:
        """Whether it starts a process."""
        return self.action in ("exec", "safeexec")


@dataclass(frozen=True, slots=True)
class HooksPlan:
    """Everything that is done at some point."""

    each: tuple[HookPlan, ...] = ()

    def at(self, *points: str) -> tuple[HookPlan, ...]:
        """List what is done at these points, one point after the other."""
        return tuple(one for point in points for one in self.each if one.point == point)


@dataclass(frozen=True, slots=True)
class ProgramPlan:
    """A program that the master starts and watches (`attach-daemon` and its relatives)."""

    command: str
    """For the shell."""
    pidfile: str = ""
    """Where it writes its pid; with one it outlives reloads and the instance."""
    writes_pidfile: bool = False
    """The master writes the pid file for it."""
    check_s: float = 10.0
    """How often the pid file is looked at."""
    ends_instance: bool = False
    """The instance ends when it ends."""
    stop_signal: int = 15
    reload_signal: int = 0
    """What a reload sends it, instead of stopping it; 0 for nothing."""
    uid: int | None = None
    gid: int | None = None
    chdir: str = "/"
    environment: tuple[tuple[str, str | None], ...] = ()
    """(name, value) on top of the master's own; None removes it."""
    longest_backoff_s: float = 300.0
    """The longest pause before it is started again."""
    touch: tuple[str, ...] = ()
    """Files whose touching sends it its reload signal, or stops it so that it is started again."""
    keeps_input: bool = False
    """It reads the standard input of the start, instead of an empty one."""


@dataclass(frozen=True, slots=True)
class ProgramsPlan:
    """Every such program."""

    each: tuple[ProgramPlan, ...] = ()
    mercy_s: float = 3.0
    """How long one may take to leave before it is killed (`reload-mercy`)."""

    @property
    def touched(self) -> tuple[str, ...]:
        """Every file that some of them shall be told of."""
        return tuple(path for one in self.each for path in one.touch)


@dataclass(frozen=True, slots=True)
class GroupsPlan:
    """Who the processes are, beside `uid` and `gid`."""

    more: tuple[str, ...] = ()
    """Additional groups (`add-gid`)."""
    takes_users: bool = True
    """Whether the groups that the user is a member of are taken (not so with `no-initgroups`)."""
    master_stays_root: bool = False
    """`master-as-root`."""
    imports_as_root: bool = False
    """`drop-after-apps`: a generation changes its user when it has imported the applications."""


@dataclass(frozen=True, slots=True)
class LimitsPlan:
    """What the kernel shall allow the processes; 0 leaves a limit as it is."""

    address_space_bytes: int = 0
    """Of each process (`limit-as`)."""
    processes: int = 0
    """Of the user (`limit-nproc`)."""
    open_files: int = 0
    """Of each process (`max-fd`)."""
    nice: int | None = None
    """The priority of every process (`prio`)."""
    cpus_per_worker: int = 0
    """How many CPUs each worker is bound to (`cpu-affinity`)."""
