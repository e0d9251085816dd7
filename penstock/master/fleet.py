"""The fleet: what the master knows about its processes, as one immutable value.

Only values live here: no clock, no process, no file. The policy turns one Fleet into the next; `to_json` and
`from_json` carry the whole of it over an upgrade of Penstock, so nothing that the policy needs may live elsewhere.
All times are seconds of CLOCK_MONOTONIC, which goes on unchanged when the master execs itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from penstock.master.scaling import Scaling
from penstock.master.watch import Tally, Watch
from penstock.plan.process_types import ProgramPlan, RecyclingPlan, ScalingPlan, Strategy, WatchPlan
from penstock.plan.types import Plan, from_json_value
from penstock.values import asdict, dataclass

Mode = Literal["starting", "serving", "reloading", "draining", "stopping", "ended"]
"""starting: the first generation is not complete yet. serving: nothing else is going on. reloading: a second
generation is being started. draining: the instance ends when what is in flight is finished. stopping: it ends
now. ended: nothing is left; the policy says nothing any more."""

GenerationState = Literal["starting", "importing", "ready", "serving", "parked", "retiring"]
"""starting: its process was asked for. importing: the process runs. ready: the app answered the import and the workers
are being started. serving: every worker is ready. parked: it has served, and stands by in case that the next one is
worse. retiring: its workers leave, then it does."""

WorkerState = Literal["starting", "ready", "draining", "killed"]
"""draining also stands for a worker that was told to stop; killed for one that a signal ends or will end."""

TimerKind = Literal[
    "kill",
    "gone",
    "respawn",
    "recycle",
    "age",
    "end",
    "replace",
    "importing",
    "drain",
    "watch",
    "program",
    "program-kill",
    "extend",
    "gate",
    "overdue",
    "check",
]
"""kill: a worker's time is over. gone: a worker closed its pair and nobody reported its end. respawn: the back-off of a
worker id is over. recycle: a worker has reached its shortest lifetime. age: it has reached its longest one. end: a
generation's process should have left. replace: try again to replace a generation whose process died. importing: say
that a start still lasts. drain: `drain-delay` is over. watch: a new generation has stood its watch. program: start a
program, or look whether it runs. program-kill: its time to leave is over. extend: tell the supervisor that a start
still lasts. gate: a worker should have passed its gates. overdue: a generation should serve. check: the trial of
a new Penstock takes too long."""

ProgramState = Literal["pending", "sought", "running", "elsewhere", "waiting", "stopping", "killed"]
"""pending: not begun, because old ones still leave. sought: its pid file is being looked at. running: a child of the
master. elsewhere: it runs by itself, as its pid file says or soon will. waiting: a pause before it is started again."""


UpgradeState = Literal["", "wanted", "checking", "checked", "going"]
"""wanted: it begins when nothing else goes on. checking: the new program is being tried. checked: it could take over,
and does when nothing else goes on. going: it takes over as soon as all that was seen by now is decided about."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the policy has to know of a Plan."""

    processes: int
    threads: int
    need_app: bool
    term: Literal["stop", "reload"]
    drain_timeout_s: float
    min_worker_lifetime_s: float
    lazy: bool = False
    """Whether each worker imports the app itself."""
    app: str = ""
    """What is imported, in words: `module shop.wsgi`."""
    exit_on_reload: bool = False
    drain_delay_s: float = 0.0
    recycling: RecyclingPlan = RecyclingPlan()
    scaling: ScalingPlan = ScalingPlan()
    watch: WatchPlan = WatchPlan()
    strategy: Strategy = "auto"
    only_loads: bool = False
    programs: tuple[ProgramPlan, ...] = ()
    program_mercy_s: float = 3.0
    gates_s: float = 0.0
    """How long a worker may take for its warm-up and health check."""
    reload_timeout_s: float = 0.0
    """How long a generation may take until it serves, where another one serves; 0 for any time."""

    @classmethod
    def of(cls, plan: Plan) -> Rules:
        """Take the policy's part out of a Plan."""
        return cls(
            processes=plan.processes,
            threads=plan.engine.threads,
            need_app=plan.need_app,
            term=plan.term,
            drain_timeout_s=plan.drain_timeout_s,
            min_worker_lifetime_s=plan.engine.min_worker_lifetime_s,
            app=plan.app.description,
            lazy=plan.lazy_apps,
            exit_on_reload=plan.exit_on_reload,
            drain_delay_s=plan.drain_delay_s,
            recycling=plan.recycling,
            scaling=plan.scaling,
            watch=plan.watch,
            strategy=plan.strategy,
            only_loads=plan.only_loads,
            programs=plan.programs.each,
            program_mercy_s=plan.programs.mercy_s,
            gates_s=plan.gates.longest_s(plan.engine.threads),
            reload_timeout_s=plan.gates.reload_timeout_s,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rules:
        """Make the rules that `to_json` was given."""
        programs = tuple(from_json_value(ProgramPlan, one) for one in value["programs"])
        parts = {
            "recycling": RecyclingPlan(**value["recycling"]),
            "scaling": ScalingPlan(**value["scaling"]),
            "watch": WatchPlan(**value["watch"]),
        }
        return cls(**{**value, **parts, "programs": programs})


@dataclass(frozen=True, slots=True)
class Generation:
    """One import of the app and the process that made it."""

    number: int
    state: GenerationState
    rules: Rules
    started_at: float
    pid: int = 0
    """0 while there is no process: not started yet, or dead while its workers live on."""
    import_s: float = 0.0
    app_import_s: tuple[float, ...] = ()
    """Of each app, by their ids."""
    failed_workers: tuple[int, ...] = ()
    """Ids whose own import of the app failed (lazy-apps)."""
    required: int = 0
    """How many workers it begins with: all of them have to be ready before it serves."""
    is_reread: bool = False
    """The configuration was read again for it."""
    strategy: Strategy = "beside"
    """How its workers take over from those that serve; never auto."""

    @property
    def is_coming(self) -> bool:
        """Whether this generation has not served yet."""
        return self.state in ("starting", "importing", "ready")


@dataclass(frozen=True, slots=True)
class WorkerHandle:
    """A worker as the master sees it. (generation, slot) names it for as long as it exists."""

    generation: int
    slot: int
    worker: int
    """The worker's id; a replacement has the id of the worker that it replaces."""
    state: WorkerState
    spawned_at: float
    pid: int = 0
    """0 until the generation's process has reported the fork."""
    recycle: str = ""
    """Why it asked to be replaced; empty if it did not."""
    is_urgent: bool = False
    """Somebody asked for its replacement: its shortest lifetime does not count."""
    is_stuck: bool = False
    """A thread of it may never come back: its replacement does not wait for those of others."""
    replaces: int = -1
    """Slot of the worker of the same id that leaves when this one is ready; -1 for none."""
    verdict: Literal["", "failed", "harakiri", "mercy", "evil", "cheap"] = ""
    """Why its end is no surprise."""
    cause: str = ""
    """What it has said of its end."""
    connected: bool = True
    """Whether its end of the control pair is still open."""
    is_held: bool = False
    """It takes no request, because its generation does not serve yet, or stands by."""

    @property
    def takes_requests(self) -> bool:
        """Whether new requests may come to it. While a generation takes over one by one, workers of both do."""
        return self.state == "ready" and not self.is_held


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What outlives the workers of one id."""

    worker: int
    spawns: int = 0
    failures: int = 0
    """Deaths in a row soon after the spawn; the back-off grows with it."""
    cause: str = ""
    """How the first of them came about."""
    harakiris: int = 0
    spawned_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that the policy has to do later."""

    at: float
    kind: TimerKind
    generation: int = 0
    slot: int = -1
    worker: int = 0
    program: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """A program beside the workers."""

    number: int
    """No number is used twice."""
    plan: ProgramPlan
    state: ProgramState = "pending"
    pid: int = 0
    """0 while it does not run or nobody knows."""
    started_at: float = 0.0
    starts: int = 0
    failures: int = 0
    """Short lives in a row; the pause grows with it."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything the policy decides from."""

    rules: Rules
    """Those of the generation that serves, or of the first one."""
    mode: Mode = "starting"
    paused: bool = False
    last_number: int = 0
    """The newest generation's number; none is used twice."""
    generations: tuple[Generation, ...] = ()
    workers: tuple[WorkerHandle, ...] = ()
    records: tuple[WorkerRecord, ...] = ()
    timers: tuple[Timer, ...] = ()
    tickets: tuple[int, ...] = ()
    """Who waits for the reload that is going on."""
    timeout_s: float = 0.0
    """How long they want to wait at most; 0 for any time."""
    reload_queued: bool = False
    queued_tickets: tuple[int, ...] = ()
    """Who waits for the reload after it."""
    queued_timeout_s: float = 0.0
    replacement_failures: int = 0
    """Generations lost in a row soon after they had been started as a replacement."""
    is_chain: bool = False
    """A chain reload is going on: workers are replaced one at a time."""
    scaling: Scaling = Scaling()
    """How many workers there should be."""
    watch: Watch = Watch()
    """How a new generation fares while the one before it stands by."""
    says_farewell: bool = False
    """The end was announced (`drain-delay`): everything goes on, but the instance says that it is not ready, and each
    answer ends its connection."""
    ending_since: float = 0.0
    exit_status: int = 0
    may_return: bool = False
    """SIGTERM ends the instance: that is how a supervisor stops what it may start again."""
    programs: tuple[Program, ...] = ()
    last_program: int = 0
    """The newest program's number."""
    upgrade: UpgradeState = ""
    upgrade_tickets: tuple[int, ...] = ()
    """Who waits for it."""

    @property
    def is_leaving(self) -> bool:
        """Whether the end has been asked for: what tells whether the instance is ready says no from then on."""
        return self.says_farewell or self.mode in ("draining", "stopping", "ended")

    def generation(self, number: int) -> Generation | None:
        """Find a generation by its number."""
        return next((one for one in self.generations if one.number == number), None)

    def serving(self) -> Generation | None:
        """Find the generation that serves."""
        return next((one for one in self.generations if one.state == "serving"), None)

    def coming(self) -> Generation | None:
        """Find the generation that is being started."""
        return next((one for one in self.generations if one.is_coming), None)

    def worker(self, generation: int, slot: int) -> WorkerHandle | None:
        """Find a worker by the slot it has."""
        return next((one for one in self.workers if one.generation == generation and one.slot == slot), None)

    def workers_of(self, generation: int) -> tuple[WorkerHandle, ...]:
        """List the workers of a generation."""
        return tuple(one for one in self.workers if one.generation == generation)

    def record(self, worker: int) -> WorkerRecord:
        """Find what is known of a worker id, or a blank record."""
        return next((one for one in self.records if one.worker == worker), WorkerRecord(worker))

    def program(self, number: int) -> Program | None:
        """Find a program by its number."""
        return next((one for one in self.programs if one.number == number), None)

    def next_deadline(self) -> float | None:
        """Tell when the policy wants its next Tick; None if nothing is waiting."""
        return min((timer.at for timer in self.timers), default=None)


def slots_for(processes: int) -> int:
    """Size a generation's scoreboard: every worker, one replacement beside each, and two to spare."""
    return 2 * processes + 2


def to_json(fleet: Fleet) -> Any:
    """Turn a fleet into values that `json.dumps` takes."""
    return asdict(fleet)


def from_json(value: Any) -> Fleet:
    """Make the fleet that `to_json` was given.

    Raises:
        TypeError, KeyError: the value was not made by `to_json` of this version.
    """
    known = dict(value)
    known["rules"] = Rules.from_json(known["rules"])
    known["generations"] = tuple(
        Generation(
            **{
                **one,
                "rules": Rules.from_json(one["rules"]),
                "failed_workers": tuple(one["failed_workers"]),
                "app_import_s": tuple(one["app_import_s"]),
            }
        )
        for one in known["generations"]
    )
    known["scaling"] = Scaling(**known["scaling"])
    tallies = tuple(Tally(**one) for one in known["watch"]["tallies"])
    known["watch"] = Watch(**{**known["watch"], "tallies": tallies})
    known["workers"] = tuple(WorkerHandle(**one) for one in known["workers"])
    known["records"] = tuple(WorkerRecord(**one) for one in known["records"])
    known["timers"] = tuple(Timer(**one) for one in known["timers"])
    known["programs"] = tuple(
        Program(**{**one, "plan": from_json_value(ProgramPlan, one["plan"])}) for one in known["programs"]
    )
    known["tickets"] = tuple(known["tickets"])
    known["queued_tickets"] = tuple(known["queued_tickets"])
    known["upgrade_tickets"] = tuple(known["upgrade_tickets"])
    return Fleet(**known)
