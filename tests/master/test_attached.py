"""Programs beside the workers, with a fake clock: started, started again, stopped, and never started again."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.plan.process_types import ProgramPlan
from tests.master.world import EXIT_0, KILLED, World, of, only, told

REDIS = ProgramPlan("redis-server", longest_backoff_s=8.0)
SMART = ProgramPlan("memcached -d", pidfile="/run/m.pid")
EXIT_1 = 1 << 8


class Programs(World):
    """A world in which programs that are started get a pid."""

    def answer(self, asked: list[act.Action]) -> list[int]:
        """Say that every program that was asked for runs; return their pids."""
        pids = []
        for one in of(asked, act.StartProgram):
            pids.append(self.pid())
            self.send(ev.ProgramStarted(one.number, pids[-1]))
        return pids


def serving(*programs: ProgramPlan, **changes: object) -> tuple[Programs, list[int]]:
    world = Programs(programs=programs, **changes)
    world.serve()
    return world, world.answer(world.asked)


def number(world: World) -> int:
    return world.fleet.programs[-1].number


def test_they_begin_when_the_app_is_imported_beside_the_workers() -> None:
    world = Programs(programs=(REDIS,))
    world.send(ev.Begin())
    assert of(world.started(1), act.StartProgram) == []
    asked = world.imported(1)
    assert only(asked, act.StartProgram).program == REDIS and of(asked, act.SpawnWorker)


def test_app_that_does_not_import_starts_none() -> None:
    world = Programs(programs=(REDIS,))
    world.send(ev.Begin())
    world.started(1)
    world.send(ev.ImportFailed(1, "no"))
    world.exit_all(1)
    assert of(world.asked, act.StartProgram) == [] and of(world.asked, act.Exit)


def test_one_that_lived_long_is_started_again_at_once() -> None:
    world, _ = serving(REDIS)
    world.advance(60)
    only(world.send(ev.ProgramExited(number(world), EXIT_1)), act.StartProgram)
    assert '"redis-server" (pid: 104) ended: exit status 1' in world.log


def test_pauses_between_short_lives_grow_to_the_longest() -> None:
    world, _ = serving(REDIS)
    pauses = []
    for _ in range(7):
        assert of(world.send(ev.ProgramExited(number(world), KILLED)), act.StartProgram) == []
        begin = world.now
        while not (asked := of(world.advance(0.25), act.StartProgram)):
            pass
        world.answer(list(asked))
        pauses.append(world.now - begin)
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]


def test_one_that_can_not_be_started_is_tried_again_later() -> None:
    world = Programs(programs=(REDIS,)).serve()
    assert of(world.send(ev.ProgramNotStarted(number(world), "no more processes")), act.StartProgram) == []
    assert only(world.advance(0.6), act.StartProgram).program == REDIS


def test_drain_stops_programs_when_the_last_worker_is_gone_and_starts_none_again() -> None:
    world, (pid,) = serving(REDIS)
    assert of(world.send(ev.Signal("SIGTERM")), act.SignalProgram) == []
    world.exits(world.worker(1))
    assert only(world.exits(world.worker(2)), act.SignalProgram) == act.SignalProgram(pid, 15)
    world.send(ev.GenerationExited(1, EXIT_0))
    assert of(world.asked, act.Exit) == [], "the program is still there"
    before = len(of(world.asked, act.StartProgram))
    only(world.send(ev.ProgramExited(number(world), EXIT_0)), act.Exit)
    assert len(of(world.asked, act.StartProgram)) == before


def test_one_that_ends_while_the_instance_drains_stays_away() -> None:
    world, _ = serving(REDIS)
    world.advance(60)
    world.send(ev.Signal("SIGTERM"))
    asked = world.send(ev.ProgramExited(number(world), KILLED))
    assert of(asked + world.advance(20), act.StartProgram) == []


def test_one_that_waits_to_be_started_is_forgotten_at_the_end() -> None:
    world, _ = serving(REDIS)
    world.send(ev.ProgramExited(number(world), KILLED))
    world.send(ev.Signal("SIGTERM"))
    only(world.exit_all(1), act.Exit)
    assert len(of(world.asked, act.StartProgram)) == 1


def test_mercy_ends_with_a_kill() -> None:
    world, (pid,) = serving(REDIS, program_mercy_s=7.0)
    world.send(ev.Signal("SIGQUIT"))
    assert act.SignalProgram(pid, 15) in world.asked
    assert of(world.advance(6.5), act.SignalProgram) == []
    assert only(world.advance(1), act.SignalProgram) == act.SignalProgram(pid, 9)
    world.exit_all(1)
    only(world.send(ev.ProgramExited(number(world), KILLED)), act.Exit)


def test_second_stop_kills_programs_too() -> None:
    world, (pid,) = serving(REDIS)
    world.send(ev.Signal("SIGINT"))
    world.now += 5
    assert act.SignalProgram(pid, 9) in world.send(ev.Signal("SIGINT"))


def test_start_that_is_answered_after_the_stop_is_stopped() -> None:
    world = Programs(programs=(REDIS,)).serve()
    world.send(ev.Signal("SIGQUIT"))
    asked = world.send(ev.ProgramStarted(number(world), 777))
    assert only(asked, act.SignalProgram) == act.SignalProgram(777, 15)


def test_reload_stops_the_old_one_before_it_starts_the_new_one() -> None:
    world, (pid,) = serving(REDIS)
    before = len(world.asked)
    assert world.reload() == 2
    asked = world.asked[before:]
    assert only(asked, act.SignalProgram) == act.SignalProgram(pid, 15) and of(asked, act.StartProgram) == []
    only(world.send(ev.ProgramExited(1, EXIT_0)), act.StartProgram)
    assert [one.number for one in world.fleet.programs] == [2]


def test_reload_that_fails_leaves_programs_alone() -> None:
    world, _ = serving(REDIS)
    world.send(ev.Signal("SIGHUP"))
    world.started(2)
    before = len(world.asked)
    world.send(ev.ImportFailed(2, "no"))
    assert of(world.asked[before:], act.SignalProgram) == []


def test_replaced_generation_process_leaves_programs_alone() -> None:
    world, _ = serving(REDIS)
    world.now += 60
    number_ = only(world.send(ev.GenerationExited(1, KILLED)), act.StartGeneration).generation
    world.started(number_)
    world.imported(number_)
    world.ready(number_)
    assert world.fleet.serving() and of(world.asked, act.SignalProgram) == []


def test_reload_signal_takes_the_place_of_a_stop() -> None:
    world, (pid,) = serving(ProgramPlan("x", reload_signal=1))
    before = len(world.asked)
    world.reload()
    assert only(world.asked[before:], act.SignalProgram) == act.SignalProgram(pid, 1)
    assert of(world.asked[before:], act.StartProgram) == []


def test_control_program_takes_the_instance_with_it() -> None:
    world, _ = serving(ProgramPlan("main", ends_instance=True))
    asked = world.send(ev.ProgramExited(number(world), EXIT_0))
    assert len(told(asked, "drain")) == 2
    only(world.exit_all(1), act.Exit)


def test_touched_file_stops_the_program_which_comes_back() -> None:
    world, (pid, _) = serving(ProgramPlan("x", touch=("/f",)), REDIS)
    world.now += 60
    assert only(world.send(ev.ProgramTouched("/f")), act.SignalProgram) == act.SignalProgram(pid, 15)
    assert only(world.send(ev.ProgramExited(1, KILLED)), act.StartProgram).program.command == "x"


def test_smart_one_that_runs_already_is_watched() -> None:
    world = Programs(programs=(SMART,)).serve()
    assert only(world.asked, act.LookForProgram).pidfile == "/run/m.pid" and of(world.asked, act.StartProgram) == []
    world.send(ev.ProgramSeen(1, 4711))
    only(world.advance(10), act.LookForProgram)
    assert of(world.send(ev.ProgramSeen(1, 4711)), act.StartProgram) == []
    world.advance(10)
    only(world.send(ev.ProgramSeen(1, 0)), act.StartProgram)


def test_smart_one_goes_to_the_background_and_is_given_time() -> None:
    world = Programs(programs=(SMART,)).serve()
    world.answer(world.send(ev.ProgramSeen(1, 0)))
    assert of(world.send(ev.ProgramExited(1, EXIT_0)), act.LookForProgram) == []
    only(world.advance(10), act.LookForProgram)
    world.send(ev.ProgramSeen(1, 4711))
    assert world.fleet.programs[0].state == "elsewhere"


def test_smart_one_survives_reload_and_stop() -> None:
    world = Programs(programs=(SMART, ProgramPlan("w", "/w.pid", writes_pidfile=True))).serve()
    world.answer(world.send(ev.ProgramSeen(2, 0)))
    world.send(ev.ProgramSeen(1, 4711))
    world.reload()
    assert [one.number for one in world.fleet.programs] == [1, 2]
    world.exit_all(1)
    world.send(ev.Signal("SIGTERM"))
    only(world.exit_all(2), act.Exit)
    assert of(world.asked, act.SignalProgram) == []
