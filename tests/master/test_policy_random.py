"""The policy under random events: whatever comes, in whatever order, some things are always true."""

from __future__ import annotations

import json
import random

import pytest

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.fleet import Fleet, Rules, from_json, slots_for, to_json
from penstock.master.policy import new_fleet, step
from penstock.plan.process_types import Strategy, WatchPlan

STRATEGIES: tuple[Strategy, ...] = ("auto", "beside", "rolling", "chain")
SIGNALS = ("SIGHUP", "SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGTSTP", "SIGUSR2")


class Machine:
    """Processes that do what they are asked, sometimes, and die when they like."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        processes = self.random.randint(1, 5)
        watch = WatchPlan(seconds=self.random.choice((0.0, 10.0)), requests=1)
        delay = self.random.choice((0.0, 3.0))
        strategy = self.random.choice(STRATEGIES)
        limits = {"gates_s": self.random.choice((0.0, 3.0)), "reload_timeout_s": self.random.choice((0.0, 40.0))}
        self.rules = Rules(
            processes, 2, True, "stop", 5, 10.0, 1.0, watch=watch, drain_delay_s=delay, strategy=strategy, **limits
        )  # fmt: skip
        self.fleet: Fleet = new_fleet(self.rules)
        self.now = 0.0
        self.pids = 1
        self.generations: dict[int, str] = {}
        """State of the processes that are really there."""
        self.workers: dict[tuple[int, int], int] = {}
        self.open: set[int] = set()
        """Tickets without an answer."""
        self.tickets = 0
        self.is_trying = False
        """Whether there is a process that tries an upgrade."""
        self.exit: int | None = None

    def send(self, event: ev.Event) -> None:
        queue = [event]
        while queue and self.exit is None:
            self.fleet, actions = step(self.fleet, queue.pop(0), self.now)
            for action in actions:
                queue += self.obey(action)
        self.check()

    def obey(self, action: act.Action) -> list[ev.Event]:
        match action:
            case act.StartGeneration(number):
                if self.random.random() < 0.1:
                    return [ev.ImportFailed(number, "can not be started", status=1)]
                self.pids += 1
                self.generations[number] = "importing"
                return [ev.GenerationStarted(number, self.pids, self.rules)]
            case act.SpawnWorker(number, _, slot):
                assert (number, slot) not in self.workers, "a slot is given once"
                assert self.generations.get(number), "a dead generation forks nothing"
                self.workers[number, slot] = 0
            case act.AnswerReload(tickets):
                assert self.open >= set(tickets)
                self.open -= set(tickets)
            case act.CheckUpgrade():
                self.is_trying = True
            case act.GiveUpCheck():
                assert self.is_trying
            case act.Upgrade():
                assert self.fleet.mode == "serving" and not self.is_trying
                failed = self.random.random() < 0.3
                return [ev.UpgradeFailed("no") if failed else ev.Upgraded("1", "2")]
            case act.ForgetGeneration(number):
                assert number not in self.generations
                assert not any(key[0] == number for key in self.workers)
            case act.Exit(status):
                assert not self.generations and not self.workers and not self.open
                self.exit = status
        return []

    def check(self) -> None:
        fleet = self.fleet
        assert from_json(json.loads(json.dumps(to_json(fleet)))) == fleet
        keys = [(one.generation, one.slot) for one in fleet.workers]
        assert len(keys) == len(set(keys))
        assert set(keys) >= set(self.workers)
        assert all(one.slot < slots_for(self.rules.processes) for one in fleet.workers)
        assert sum(one.state == "serving" for one in fleet.generations) <= 1
        assert sum(one.is_coming for one in fleet.generations) <= 1
        assert sum(one.state == "parked" for one in fleet.generations) <= 1
        serving = fleet.serving()
        if serving is not None and fleet.coming() is None:
            assert not any(one.is_held for one in fleet.workers_of(serving.number)), "whoever serves takes requests"
        if fleet.mode == "serving":
            assert fleet.serving() is not None and fleet.coming() is None
        if fleet.mode in ("starting", "reloading"):
            assert fleet.coming() is not None
        if fleet.mode == "serving" and not fleet.is_leaving and self.exit is None:
            self.check_that_every_id_has_a_future()

    def check_that_every_id_has_a_future(self) -> None:
        """Each worker id has a worker, or a timer that brings one, or its generation is being replaced."""
        one = self.fleet.serving()
        assert one is not None
        if not one.pid:
            assert any(timer.kind == "replace" for timer in self.fleet.timers)
            return
        for worker in range(1, self.rules.processes + 1):
            alive = any(handle.worker == worker for handle in self.fleet.workers_of(one.number))
            timer = any(timer.kind == "respawn" and timer.worker == worker for timer in self.fleet.timers)
            assert alive or timer, (worker, self.fleet)

    def worker_dies(self, key: tuple[int, int], status: int) -> None:
        pid = self.workers.pop(key)
        if self.random.random() < 0.5:
            self.send(ev.WorkerClosed(*key))
        self.send(ev.WorkerExited(*key, pid, status))

    def generation_dies(self, number: int, status: int) -> None:
        del self.generations[number]
        for key in [key for key, pid in self.workers.items() if key[0] == number and not pid]:
            del self.workers[key]
            self.send(ev.WorkerClosed(*key))
        self.send(ev.GenerationExited(number, status))

    def something(self, stops: bool) -> None:
        """Let one thing happen."""
        choice = self.random.random()
        generations, workers = sorted(self.generations), sorted(self.workers)
        if choice < 0.25 and generations:
            number = self.random.choice(generations)
            if self.generations[number] == "importing":
                if self.random.random() < 0.8:
                    self.generations[number] = "ready"
                    self.send(ev.Imported(number, 1.0))
                else:
                    self.send(ev.ImportFailed(number, "broken", "Traceback"))
                    if number in self.generations:
                        self.generation_dies(number, 22 << 8)
            elif self.random.random() < 0.1:
                self.generation_dies(number, 9)
        elif choice < 0.7 and workers:
            key = self.random.choice(workers)
            if not self.workers[key]:
                self.pids += 1
                self.workers[key] = self.pids
                self.send(ev.WorkerSpawned(*key, self.pids))
                return
            what = self.random.random()
            if what < 0.7:
                self.send(ev.WorkerReady(*key))
            elif what < 0.8:
                self.send(ev.WorkerRecycle(*key, "max-requests"))
            elif what < 0.85:
                self.send(ev.RequestStuck(*key, (ev.BusyCore(0, "GET /", 9.0, 1, True),)))
            elif what < 0.87:
                self.send(ev.WorkerFailed(*key, "Traceback"))
            elif what < 0.9:
                self.send(ev.WorkerChecking(*key))
            else:
                self.worker_dies(key, self.random.choice((0, 9, 256)))
        elif choice < 0.75:
            self.tickets += 1
            self.open.add(self.tickets)
            self.send(ev.ReloadRequested("reload command", self.tickets, self.random.choice((0.0, 0.0, 15.0))))
        elif choice < 0.76:
            self.tickets += 1
            self.open.add(self.tickets)
            self.send(ev.RollbackRequested("rollback command", self.tickets))
        elif choice < 0.77:
            each = [ev.Answered(number, 100, self.random.choice((0, 50))) for number in self.generations]
            self.send(ev.AnswersCounted(tuple(each)))
        elif choice < 0.775:
            self.tickets += 1
            self.open.add(self.tickets)
            self.send(ev.UpgradeRequested("upgrade command", self.tickets))
        elif choice < 0.785 and self.is_trying:
            self.is_trying = False
            self.send(ev.UpgradeChecked(self.random.random() < 0.7, "2"))
        elif choice < 0.8:
            harmless = ("SIGHUP", "SIGUSR1", "SIGTSTP", "SIGUSR2")
            self.send(ev.Signal(self.random.choice(SIGNALS if stops else harmless)))
        else:
            self.now += self.random.choice((0.01, 0.3, 2.0, 20.0))
            self.send(ev.Tick())

    def behave(self) -> None:
        """From now on every process does what it is asked, and nobody asks for anything."""
        if self.fleet.paused:
            self.send(ev.PauseRequested(False))
        for _ in range(300):
            if self.is_trying:
                self.is_trying = False
                self.send(ev.UpgradeChecked(True, "2"))
            for key in sorted(self.workers):
                self.behave_as_worker(key)
            for number in sorted(self.generations):
                if self.generations.get(number) == "importing":
                    self.generations[number] = "ready"
                    self.send(ev.Imported(number, 1.0))
                one = self.fleet.generation(number)
                if number in self.generations and (one is None or one.state == "retiring"):
                    if not self.fleet.workers_of(number):
                        self.generation_dies(number, 0)
            self.now += 1.0
            self.send(ev.Tick())

    def behave_as_worker(self, key: tuple[int, int]) -> None:
        handle = self.fleet.worker(*key)
        if key in self.workers and not self.workers[key]:
            self.pids += 1
            self.workers[key] = self.pids
            self.send(ev.WorkerSpawned(*key, self.pids))
        elif key in self.workers and handle is not None:
            if handle.state == "starting":
                self.send(ev.WorkerReady(*key))
            elif handle.state != "ready":
                self.worker_dies(key, 0)

    def wind_down(self) -> None:
        """Stop, and let everything that is told to leave do so."""
        self.send(ev.Signal("SIGTERM"))
        for _ in range(1000):
            if self.exit is not None:
                return
            for key in sorted(self.workers):
                if key in self.workers:
                    self.worker_dies(key, 0)
            for number in sorted(self.generations):
                if number in self.generations:
                    self.generation_dies(number, 0)
            self.now += 1.0
            self.send(ev.Tick())


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_the_fleet_holds_together_and_ends(seed: int) -> None:
    machine = Machine(seed)
    machine.send(ev.Begin())
    for _ in range(400):
        if machine.exit is not None:
            break
        machine.something(stops=seed % 3 == 0)
    machine.wind_down()
    assert machine.exit is not None
    assert not machine.open


@pytest.mark.parametrize("seed", range(100, 150))
def test_whatever_happened_an_instance_that_is_left_alone_comes_to_rest(seed: int) -> None:
    machine = Machine(seed)
    machine.send(ev.Begin())
    for _ in range(300):
        if machine.exit is None:
            machine.something(stops=False)
    if machine.exit is not None:
        return  # The start had failed.
    machine.behave()
    fleet = machine.fleet
    assert fleet.mode == "serving" and not machine.open and not fleet.upgrade and not fleet.reload_queued
    assert [one.state for one in fleet.generations] == ["serving"]
    assert sorted(one.worker for one in fleet.workers if one.takes_requests) == [*range(1, fleet.rules.processes + 1)]
    assert len(fleet.workers) == fleet.rules.processes and fleet.timers == ()
