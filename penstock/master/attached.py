"""Programs beside the workers (`attach-daemon` and its relatives): when one is started, stopped and started again.

- They begin when the app has been imported for the first time, beside the first workers.
- One that ends is started again, later and later if it does not live long.
- A reload that has come through stops the old ones before it starts the new ones: two at once are for programs that
  know of each other, and most do not.
- The end of the instance waits until its last worker is gone, whose requests may need them, stops them, and kills after
  `reload-mercy`. None comes back from then on.
- One with a pid file (`smart-attach-daemon`) belongs to itself: it is looked for, started when it is not there, and
  outlives reloads and the instance.
"""

from __future__ import annotations

import os
import signal

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.fleet import Program, Rules, Timer, TimerKind
from penstock.master.turn import Turn
from penstock.plan.process_types import ProgramPlan
from penstock.values import replace

SHORT_LIFE_S = 5.0
"""A program that lived for less makes the next pause longer."""

BACKOFF_FIRST_S = 0.5


def pause_s(failures: int, longest_s: float) -> float:
    """Tell how long to wait before a program is started again after so many short lives in a row.

    >>> [pause_s(n, 300.0) for n in (0, 1, 2, 3, 100)]
    [0.0, 0.5, 1.0, 2.0, 300.0]
    """
    if failures <= 0:
        return 0.0
    return min(longest_s, float(BACKOFF_FIRST_S * 2 ** min(failures - 1, 20)))


class Attached(Turn):
    """The life of each program."""

    # --- together

    def start_programs(self, rules: Rules) -> None:
        """Begin with every program of a configuration, once no old one is left."""
        for plan in rules.programs:
            number = self.fleet.last_program + 1
            programs = (*self.fleet.programs, Program(number, plan))
            self.fleet = replace(self.fleet, last_program=number, programs=programs)
        self.begin_pending()

    def reload_programs(self, rules: Rules) -> None:
        """Go over to the programs of a configuration that has been read again."""
        wanted = list(rules.programs)
        for program in self.fleet.programs:
            kept = program.plan in wanted and (program.plan.pidfile or (program.plan.reload_signal and program.pid))
            if kept:
                wanted.remove(program.plan)
                if program.plan.reload_signal and program.state == "running":
                    self.do(act.SignalProgram(program.pid, program.plan.reload_signal))
            else:
                self.stop_program(program)
        self.start_programs(replace(rules, programs=tuple(wanted)))

    def begin_pending(self) -> None:
        if self.is_ending() or any(one.state in ("stopping", "killed") for one in self.fleet.programs):
            return
        for program in self.fleet.programs:
            if program.state == "pending":
                self.begin_program(program)

    def stop_programs(self) -> None:
        """Let every program go, because the instance ends."""
        for program in self.fleet.programs:
            self.stop_program(program)

    def kill_programs(self) -> None:
        self.stop_programs()
        for program in self.fleet.programs:
            self.kill_program(program)

    # --- one

    def begin_program(self, program: Program) -> None:
        """Start a program, or first look whether it runs already."""
        if program.plan.pidfile:
            self.put_program(replace(program, state="sought"))
            self.do(act.LookForProgram(program.number, program.plan.pidfile))
        else:
            self.launch_program(program)

    def launch_program(self, program: Program) -> None:
        self.put_program(replace(program, state="running", pid=0, started_at=self.now, starts=program.starts + 1))
        self.log(f'[uwsgi-daemons] spawning "{program.plan.command}"')
        self.do(act.StartProgram(program.number, program.plan))

    def stop_program(self, program: Program) -> None:
        """Ask a program to leave; one that belongs to itself, or does not run, is forgotten."""
        if program.state in ("stopping", "killed"):
            return
        if program.plan.pidfile or program.state != "running":
            self.drop_program(program)
            return
        self.put_program(replace(program, state="stopping"))
        self.set_program_timer(self.mercy_s(), "program-kill", program)
        if program.pid:
            self.do(act.SignalProgram(program.pid, program.plan.stop_signal))

    def kill_program(self, program: Program) -> None:
        self.put_program(replace(program, state="killed"))
        if program.pid:
            self.do(act.SignalProgram(program.pid, signal.SIGKILL))

    def is_ending(self) -> bool:
        """Whether nothing is to be started any more."""
        return self.fleet.mode in ("draining", "stopping", "ended")

    def mercy_s(self) -> float:
        return self.fleet.rules.program_mercy_s

    def again(self, program: Program, is_quick: bool) -> None:
        """Start a program again, after a pause that grows with its short lives."""
        failures = program.failures + 1 if is_quick else 0
        delay = pause_s(failures, program.plan.longest_backoff_s)
        program = replace(program, state="waiting", pid=0, failures=failures)
        self.put_program(program)
        if delay:
            self.log(f'[uwsgi-daemons] "{program.plan.command}" is started again in {delay:g} seconds')
            self.set_program_timer(delay, "program", program)
        else:
            self.begin_program(program)

    # --- events

    def program_started(self, event: ev.ProgramStarted) -> None:
        program = self.fleet.program(event.number)
        if program is None:
            return
        self.put_program(replace(program, pid=event.pid))
        if program.state in ("stopping", "killed"):
            # It was to leave before its start was answered.
            kill = program.state == "killed"
            self.do(act.SignalProgram(event.pid, signal.SIGKILL if kill else program.plan.stop_signal))

    def program_exited(self, event: ev.ProgramExited) -> None:
        program = self.fleet.program(event.number)
        if program is None:
            return
        plan, how = program.plan, ending(event.status)
        if program.state in ("stopping", "killed") or self.is_ending():
            self.log(f'[uwsgi-daemons] "{plan.command}" (pid: {program.pid}) has ended')
            self.drop_program(program)
            self.begin_pending()
        elif plan.ends_instance:
            self.log(f'[uwsgi-daemons] "{plan.command}" (pid: {program.pid}) ended, {how}, and the instance with it')
            self.drop_program(program)
            self.end_with_program(plan)
        elif plan.pidfile and not plan.writes_pidfile and event.status == 0:
            # It has put itself into the background, and is writing its pid file.
            self.put_program(replace(program, state="elsewhere", pid=0))
            self.set_program_timer(plan.check_s, "program", program)
        else:
            self.log(f'[uwsgi-daemons] "{plan.command}" (pid: {program.pid}) ended: {how}')
            self.again(program, self.now - program.started_at < SHORT_LIFE_S)

    def program_not_started(self, event: ev.ProgramNotStarted) -> None:
        program = self.fleet.program(event.number)
        if program is None:
            return
        self.log(f'[uwsgi-daemons] "{program.plan.command}" can not be started: {event.reason}')
        if program.state in ("stopping", "killed") or self.is_ending():
            self.drop_program(program)
            self.begin_pending()
        else:
            self.again(program, is_quick=True)

    def program_seen(self, event: ev.ProgramSeen) -> None:
        program = self.fleet.program(event.number)
        if program is None or program.state not in ("sought", "elsewhere") or self.is_ending():
            return
        if not event.pid:
            self.launch_program(program)
            return
        if program.pid != event.pid:
            self.log(f'[uwsgi-daemons] "{program.plan.command}" runs (pid: {event.pid})')
        self.put_program(replace(program, state="elsewhere", pid=event.pid, failures=0))
        self.set_program_timer(program.plan.check_s, "program", program)

    def program_touched(self, path: str) -> None:
        for program in self.fleet.programs:
            if path in program.plan.touch and program.state == "running" and program.pid:
                plan = program.plan
                number = plan.reload_signal or plan.stop_signal
                self.log(f'[uwsgi-daemons] {path} has been touched: "{plan.command}" gets signal {number}')
                self.do(act.SignalProgram(program.pid, number))

    def program_due(self, number: int) -> None:
        """A pause is over, or it is time to look at a pid file."""
        program = self.fleet.program(number)
        if program is None:
            return
        if program.state == "waiting":
            self.begin_program(program)
        elif program.state == "elsewhere":
            self.do(act.LookForProgram(number, program.plan.pidfile))

    def program_overdue(self, number: int) -> None:
        program = self.fleet.program(number)
        if program is not None and program.state == "stopping":
            self.log(f'[uwsgi-daemons] "{program.plan.command}" (pid: {program.pid}) does not leave: it is killed')
            self.kill_program(program)

    def end_with_program(self, plan: ProgramPlan) -> None:
        """End the instance (`attach-control-daemon`): how is the policy's."""
        raise AssertionError("the policy says how an instance ends")

    # --- the fleet's part

    def set_program_timer(self, delay_s: float, kind: TimerKind, program: Program) -> None:
        timer = Timer(self.now + delay_s, kind, program=program.number)
        self.fleet = replace(self.fleet, timers=(*self.fleet.timers, timer))

    def put_program(self, program: Program) -> None:
        self.fleet = replace(
            self.fleet,
            programs=tuple(program if other.number == program.number else other for other in self.fleet.programs),
        )

    def drop_program(self, program: Program) -> None:
        self.fleet = replace(
            self.fleet,
            programs=tuple(other for other in self.fleet.programs if other.number != program.number),
            timers=tuple(timer for timer in self.fleet.timers if timer.program != program.number),
        )


def ending(status: int | None) -> str:
    """Say how a program ended.

    >>> ending(256), ending(15)
    ('exit status 1', 'signal 15')
    """
    code = os.waitstatus_to_exitcode(status) if status is not None else 0
    return f"signal {-code}" if code < 0 else f"exit status {code}"
