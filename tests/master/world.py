"""A fleet with a clock that only tests move, and everything that the policy asks for."""

from __future__ import annotations

import json
from typing import TypeVar

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.fleet import Fleet, Rules, WorkerHandle, from_json, to_json
from penstock.master.policy import new_fleet, step
from penstock.values import replace

A = TypeVar("A")

KILLED = 9
EXIT_0 = 0
EXIT_22 = 22 << 8


def rules(**changes: object) -> Rules:
    """Two workers of two threads, unless a test wants something else."""
    base = Rules(
        processes=2,
        threads=2,
        need_app=True,
        term="stop",
        drain_timeout_s=60.0,
        min_worker_lifetime_s=10.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


class World:
    """A fleet, a clock that only tests move, and everything that the policy has asked for."""

    def __init__(self, **changes: object) -> None:
        self.rules = rules(**changes)
        self.fleet: Fleet = new_fleet(self.rules)
        self.now = 1000.0
        self.asked: list[act.Action] = []
        self.last_pid = 100

    def send(self, event: ev.Event) -> list[act.Action]:
        """Send an event; return what it made the policy ask for. The state must survive JSON each time."""
        self.fleet = from_json(json.loads(json.dumps(to_json(self.fleet))))
        self.fleet, actions = step(self.fleet, event, self.now)
        self.asked += actions
        return list(actions)

    def advance(self, seconds: float) -> list[act.Action]:
        """Let time pass, with a tick whenever the fleet wants one."""
        end = self.now + seconds
        asked: list[act.Action] = []
        while (deadline := self.fleet.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            asked += self.send(ev.Tick())
        self.now = end
        return asked

    def pid(self) -> int:
        self.last_pid += 1
        return self.last_pid

    def started(self, generation: int, **changes: object) -> list[act.Action]:
        return self.send(ev.GenerationStarted(generation, self.pid(), replace(self.rules, **changes)))  # type: ignore[arg-type]

    def imported(self, generation: int) -> list[act.Action]:
        return self.send(ev.Imported(generation, 1.5))

    def spawned(self, generation: int) -> None:
        for handle in self.fleet.workers_of(generation):
            if not handle.pid:
                self.send(ev.WorkerSpawned(generation, handle.slot, self.pid()))

    def ready(self, generation: int) -> list[act.Action]:
        """Every worker of a generation that is starting becomes ready."""
        self.spawned(generation)
        asked: list[act.Action] = []
        for handle in self.fleet.workers_of(generation):
            if handle.state == "starting":
                asked += self.send(ev.WorkerReady(generation, handle.slot))
        return asked

    def serve(self) -> World:
        """Come to the point where the first generation serves."""
        self.send(ev.Begin())
        self.started(1)
        self.imported(1)
        self.ready(1)
        assert self.fleet.mode == "serving"
        return self

    def reload(self) -> int:
        """Do a whole reload; return the new generation's number."""
        asked = self.send(ev.Signal("SIGHUP"))
        number = only(asked, act.StartGeneration).generation
        self.started(number)
        self.imported(number)
        self.ready(number)
        return number

    def exits(self, handle: WorkerHandle, status: int = EXIT_0) -> list[act.Action]:
        return self.send(ev.WorkerExited(handle.generation, handle.slot, handle.pid, status))

    def exit_all(self, generation: int, status: int = EXIT_0) -> list[act.Action]:
        """Every worker of a generation leaves, and then its process."""
        asked: list[act.Action] = []
        for handle in self.fleet.workers_of(generation):
            asked += self.exits(handle, status)
        asked += self.send(ev.GenerationExited(generation, EXIT_0))
        return asked

    def worker(self, worker: int) -> WorkerHandle:
        return next(one for one in self.fleet.workers if one.worker == worker)

    @property
    def log(self) -> str:
        return "\n".join(one.text for one in self.asked if isinstance(one, act.Log))


def of(actions: list[act.Action], kind: type[A]) -> list[A]:
    return [one for one in actions if isinstance(one, kind)]


def only(actions: list[act.Action], kind: type[A]) -> A:
    found = of(actions, kind)
    assert len(found) == 1, actions
    return found[0]


def told(actions: list[act.Action], word: str) -> list[tuple[int, int]]:
    return [(one.generation, one.slot) for one in of(actions, act.TellWorker) if one.word == word]
