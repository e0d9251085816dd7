"""Actions: everything that the policy can ask of the loop, as values.

An action is complete: the loop carries it out without a decision of its own. What it meets on the way (a process
that could not be started) comes back as an event.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from penstock.plan.process_types import ProgramPlan
from penstock.values import dataclass

SupervisorState: TypeAlias = Literal["ready", "reloading", "stopping", "importing", "status"]
"""importing: a start goes on, and may take longer. status: only what `systemctl status` shows is new."""

Word: TypeAlias = Literal["drain", "retire", "rest", "stop", "pause", "resume", "park", "farewell"]
"""What a worker can be told. park: take no request until resume, and give idle connections to others. farewell: go on,
but no connection outlives its next answer. Three of them let it finish what it has in flight: drain, because the
instance ends, so that the listeners refuse; retire, because others go on; rest, because there are no others until
somebody connects."""


Entry: TypeAlias = Literal["start", "reload", "replacement"]
"""How a worker comes to serve. start: nothing serves yet. reload: it stands ready and takes no request before its
generation serves. replacement: of one of its own generation, which serves."""


@dataclass(frozen=True, slots=True)
class StartGeneration:
    """Start the process of a generation; answered by GenerationStarted or ImportFailed."""

    generation: int
    first: bool
    """Nothing serves yet: `need-app` decides what a failed import means."""
    reread: bool
    """Read the configuration again."""
    timeout_s: float = 0.0
    """How long the import may take, if the configuration does not say less; 0 for any time."""


@dataclass(frozen=True, slots=True)
class SpawnWorker:
    """Ask a generation to fork a worker."""

    generation: int
    worker: int
    slot: int
    entry: Entry
    is_paused: bool = False
    """It takes no request until it is told to resume."""


@dataclass(frozen=True, slots=True)
class TellWorker:
    """Send one word over a worker's control pair."""

    generation: int
    slot: int
    word: Word


@dataclass(frozen=True, slots=True)
class SignalWorker:
    """Send a signal to a worker's process."""

    generation: int
    slot: int
    signal: Literal["KILL", "STACKS"]
    """STACKS is the signal that makes a worker write the stacks of its threads to the log."""


@dataclass(frozen=True, slots=True)
class KillGeneration:
    """Kill a generation's process, not its workers."""

    generation: int


@dataclass(frozen=True, slots=True)
class ShowImport:
    """Have a generation's process write to the log where it is."""

    generation: int


@dataclass(frozen=True, slots=True)
class EndGeneration:
    """Ask a generation's process to leave as soon as its last worker has."""

    generation: int


@dataclass(frozen=True, slots=True)
class ReleaseSlot:
    """A worker is gone: keep its counters, close its control pair, free its slot."""

    generation: int
    slot: int
    worker: int


@dataclass(frozen=True, slots=True)
class CommitGeneration:
    """This generation's plan is the one that counts from now on."""

    generation: int


@dataclass(frozen=True, slots=True)
class ForgetGeneration:
    """Nothing of a generation is left: release what it held."""

    generation: int


@dataclass(frozen=True, slots=True)
class Log:
    """Write to the log; the text may have several lines."""

    text: str


@dataclass(frozen=True, slots=True)
class DumpStatistics:
    """Write the statistics to the log."""


@dataclass(frozen=True, slots=True)
class AnnounceReady:
    """Every worker of the first generation is ready: tell the log and the process that waits for `daemonize`."""


@dataclass(frozen=True, slots=True)
class AnnounceFailure:
    """The start failed: tell the process that waits for `daemonize`."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class NotifySupervisor:
    """Tell systemd, if it listens."""

    state: SupervisorState
    status: str
    exit_status: int | None = None
    """Of an instance that ends because something failed."""


@dataclass(frozen=True, slots=True)
class AnswerReload:
    """A reload is over: tell the clients that wait for it."""

    tickets: tuple[int, ...]
    generation: int
    """The one that serves now; 0 for none."""
    ok: bool
    reason: str = ""
    error: str = ""
    """A traceback."""


@dataclass(frozen=True, slots=True)
class WatchListeners:
    """Tell when somebody connects, or stop telling it: there are no workers meanwhile."""

    watched: bool


@dataclass(frozen=True, slots=True)
class StartProgram:
    """Start a program beside the workers; answered by ProgramStarted or ProgramNotStarted."""

    number: int
    program: ProgramPlan


@dataclass(frozen=True, slots=True)
class SignalProgram:
    """Send a signal to a program and all that it has started. It is a child that was not reaped yet."""

    pid: int
    signal: int


@dataclass(frozen=True, slots=True)
class LookForProgram:
    """Look whether the process that a pid file names is there; answered by ProgramSeen."""

    number: int
    pidfile: str


@dataclass(frozen=True, slots=True)
class CheckUpgrade:
    """Try whether the Penstock that is installed now can take over; answered by UpgradeChecked."""


@dataclass(frozen=True, slots=True)
class GiveUpCheck:
    """End that trial; it will be answered as one that failed."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Become the Penstock that is installed now; answered by Upgraded, or UpgradeFailed."""


@dataclass(frozen=True, slots=True)
class CloseListeners:
    """Close the master's own copies of the listening sockets."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Remove what the instance leaves behind and end."""

    status: int
    may_return: bool = False
    """It may be started again by whoever stopped it: what is kept for that stays."""


Action: TypeAlias = (
    StartGeneration
    | SpawnWorker
    | TellWorker
    | SignalWorker
    | KillGeneration
    | ShowImport
    | EndGeneration
    | ReleaseSlot
    | CommitGeneration
    | ForgetGeneration
    | Log
    | DumpStatistics
    | AnnounceReady
    | AnnounceFailure
    | NotifySupervisor
    | AnswerReload
    | WatchListeners
    | StartProgram
    | SignalProgram
    | LookForProgram
    | CheckUpgrade
    | GiveUpCheck
    | Upgrade
    | CloseListeners
    | Exit
)
