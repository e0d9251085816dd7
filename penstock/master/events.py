"""Events: everything that can happen to a fleet, as values.

The loop makes them from signals, pipes, ends of processes, files and clients; the policy is the only reader. An
event says what happened and never what to do about it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from penstock.master.fleet import Rules
from penstock.master.scaling import Load
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class Begin:
    """The sockets are bound and the loop runs."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal came for the master."""

    name: str
    """As in `signal.Signals`: `SIGHUP`."""


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """Somebody wants new code."""

    source: str
    """Who or what, as the log shall say it."""
    ticket: int | None = None
    """Names the client that waits for the end of the reload."""
    timeout_s: float = 0.0
    """How long the reload may take at most; 0: as the configuration says."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A client of the control socket wants the instance to end."""

    now: bool = False
    """Do not wait for what is in flight."""


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """A client of the control socket wants the workers to stop, or to go on, accepting."""

    paused: bool


@dataclass(frozen=True, slots=True)
class Touched:
    """A file of `touch-reload` changed."""

    path: str


@dataclass(frozen=True, slots=True)
class Room:
    """Whether there is memory for two generations."""

    free_bytes: int
    needed_bytes: int
    """What the one that serves takes, with all its workers."""
    source: str
    """What limits the memory, for a person."""


@dataclass(frozen=True, slots=True)
class GenerationStarted:
    """The process of a generation runs."""

    generation: int
    pid: int
    rules: Rules
    room: Room | None = None
    """None if nothing serves yet, if nobody wants to know, or if it can not be told."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The app answered the import, or needs none."""

    generation: int
    seconds: float
    lazy: bool = False
    app_seconds: tuple[float, ...] = ()
    """Of each app, by their ids."""


@dataclass(frozen=True, slots=True)
class ImportFailed:
    """A generation can not serve."""

    generation: int
    reason: str
    """One line."""
    traceback: str = ""
    exit_code: int | None = None
    """The N of a `sys.exit(N)` at import."""
    status: int = 22
    """The exit status of the master if this is its first generation."""
    logged: bool = False
    """Whether the generation has written the reason and the traceback to the log itself."""


@dataclass(frozen=True, slots=True)
class GenerationExited:
    """The process of a generation is gone."""

    generation: int
    status: int | None
    """As `waitpid` gives it."""


@dataclass(frozen=True, slots=True)
class WorkerSpawned:
    """A generation forked a worker."""

    generation: int
    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has its app and enters the engine."""

    generation: int
    slot: int


@dataclass(frozen=True, slots=True)
class WorkerChecking:
    """A worker has its app, and asks it what it has to answer before it serves."""

    generation: int
    slot: int


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """A worker can not serve: it could not import the app by itself (lazy-apps), or the app did not pass its warm-up or
    health check. It has written the cause to the log."""

    generation: int
    slot: int
    traceback: str
    """Or whatever else is known beside the reason."""
    reason: str = "could not import the app"
    """One line, of which the worker is the subject."""
    is_import: bool = True


@dataclass(frozen=True, slots=True)
class WorkerRecycle:
    """A worker asks to be replaced; it serves on until its replacement is ready."""

    generation: int
    slot: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerClosed:
    """A worker's end of the control pair is closed."""

    generation: int
    slot: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """A worker is gone."""

    generation: int
    slot: int
    pid: int
    """As it was reported by WorkerSpawned; 0 if it never was."""
    status: int | None
    """As `waitpid` gives it; None if nobody knows."""


@dataclass(frozen=True, slots=True)
class BusyCore:
    """One app thread in the app."""

    core: int
    line: str
    """`METHOD URI`."""
    elapsed_s: float
    since_epoch_s: int
    stuck: bool
    """Whether it is over the limit."""


@dataclass(frozen=True, slots=True)
class RequestStuck:
    """The scoreboard shows a request that is far over `harakiri`, and its worker does nothing about it."""

    generation: int
    slot: int
    cores: tuple[BusyCore, ...]
    """Every busy core of the worker."""


@dataclass(frozen=True, slots=True)
class RequestDetached:
    """A worker has answered, or cut off, the client of a request that took too long, and interrupts it."""

    generation: int
    slot: int
    core: int
    line: str
    """`METHOD URI`."""
    client: str
    """`-` if it is not known."""
    number: int
    """Which request of this worker it is; 0 if that is not known."""
    elapsed_s: float
    since_epoch_s: int
    source: Literal["option", "rule", "user"]
    """Who set the limit: `harakiri`, a rule about requests, or the app itself."""
    was_cut: bool
    """The response had begun."""
    was_complete: bool = False
    """The client has all of its response: it is what the app does afterwards that takes too long."""
    has_left: bool = False
    """The client was not there any more."""


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """What the kernel says about one worker."""

    generation: int
    slot: int
    rss_bytes: int
    as_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryMeasured:
    """The memory of every worker was looked at."""

    workers: tuple[WorkerMemory, ...]


@dataclass(frozen=True, slots=True)
class WorkersReload:
    """Somebody wants every worker to be replaced, within the generation that serves."""

    source: str
    chain: bool = False
    """One at a time, and no further after one that fails."""


@dataclass(frozen=True, slots=True)
class CodeChanged:
    """Files of the code have changed (`py-auto-reload`)."""

    what: str
    """One of them, and what became of it."""
    others: int = 0
    """How many more there are."""


@dataclass(frozen=True, slots=True)
class SleepRequested:
    """Somebody wants no workers until the next connection."""

    source: str


@dataclass(frozen=True, slots=True)
class LoadMeasured:
    """A second has passed, and the load was looked at."""

    load: Load


@dataclass(frozen=True, slots=True)
class WorkersRequested:
    """Somebody wants more workers, or fewer."""

    more: int
    """Negative for fewer."""
    source: str


@dataclass(frozen=True, slots=True)
class ConnectionWaiting:
    """Somebody connected while there were no workers (`cheap`, `idle`)."""


@dataclass(frozen=True, slots=True)
class ProgramStarted:
    """A program beside the workers runs."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class ProgramNotStarted:
    """There could be no process for it."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class ProgramExited:
    """The process that was started for it is gone."""

    number: int
    status: int | None
    """As `waitpid` gives it."""


@dataclass(frozen=True, slots=True)
class ProgramSeen:
    """Its pid file was looked at."""

    number: int
    pid: int
    """0 if there is no such process."""


@dataclass(frozen=True, slots=True)
class ProgramTouched:
    """A file that some program shall be told of was touched."""

    path: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What a generation has answered since it began, with the workers that are gone."""

    generation: int
    requests: int
    errors: int
    """Answered with a status of 500 or more, or cut by an exception."""


@dataclass(frozen=True, slots=True)
class AnswersCounted:
    """While a generation is watched, its answers are counted, and those of the one that stands by."""

    each: tuple[Answered, ...]


@dataclass(frozen=True, slots=True)
class RollbackRequested:
    """Somebody wants the generation before the last reload back."""

    source: str
    ticket: int | None = None
    """Names the client that waits for an answer."""


@dataclass(frozen=True, slots=True)
class UpgradeRequested:
    """Somebody wants the master to go on as the Penstock that is installed now."""

    source: str
    ticket: int | None = None
    """Names the client that waits for the end of the upgrade."""


@dataclass(frozen=True, slots=True)
class UpgradeChecked:
    """The program that is installed now has been tried."""

    ok: bool
    said: str
    """Its version, or why it can not take over."""


@dataclass(frozen=True, slots=True)
class UpgradeFailed:
    """The program could not be executed, and the old one goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Upgraded:
    """This is the new program: it has everything that the old one had."""

    before: str
    """The version that handed over."""
    version: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; some of the fleet's timers may be due."""


Event: TypeAlias = (
    Begin
    | Signal
    | ReloadRequested
    | StopRequested
    | PauseRequested
    | Touched
    | GenerationStarted
    | Imported
    | ImportFailed
    | GenerationExited
    | WorkerSpawned
    | WorkerReady
    | WorkerChecking
    | WorkerFailed
    | WorkerRecycle
    | WorkerClosed
    | WorkerExited
    | RequestStuck
    | RequestDetached
    | MemoryMeasured
    | WorkersReload
    | CodeChanged
    | SleepRequested
    | LoadMeasured
    | WorkersRequested
    | ConnectionWaiting
    | ProgramStarted
    | ProgramNotStarted
    | ProgramExited
    | ProgramSeen
    | ProgramTouched
    | AnswersCounted
    | RollbackRequested
    | UpgradeRequested
    | UpgradeChecked
    | UpgradeFailed
    | Upgraded
    | Tick
)
