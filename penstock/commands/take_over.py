"""The other end of an upgrade: a program that was executed in place of an older one, or is only tried.

Not for people: `PENSTOCK_TAKE_OVER` asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import penstock
from penstock.commands.serve import catalogue
from penstock.config.findings import ConfigError, ConfigExit
from penstock.master import handover, log
from penstock.master.luggage import HandoverError
from penstock.master.packing import Before
from penstock.master.start import take_over
from penstock.plan.begun import Begun
from penstock.plan.resolve import PlanError
from penstock.plan.types import InheritedSocket

CAN_NOT = 1


def run(
    asked: str,
    begin: Callable[[Mapping[str, Any]], Begun],
    serve: Callable[[Sequence[InheritedSocket]], int],
) -> int:
    """Do what the variable asks for, and return the exit status.

    `begin` makes the command line's beginning of what was packed of it; `serve` starts anew.
    """
    what, _, fd = asked.partition(":")
    found: dict[str, Any] = {}
    try:
        found = handover.read(int(fd) if fd.isascii() and fd.isdigit() else -1)
        before = Before.read(str(found.get("version")), handover.state_of(found))
        try:
            begun = begin(before.begun)
        except (KeyError, TypeError) as error:
            raise HandoverError(f"what began the instance is of another shape: {error!r}") from error
        if what == handover.TAKE:
            return take_over(before, begun.reread, catalogue)
        return _check(begun)
    except HandoverError as error:
        if what != handover.TAKE or not found:
            return _refuse(str(error))
        log.write(f"*** the upgrade went wrong, the instance starts anew on the same sockets: {error} ***")
        return serve(handover.salvage(found))


def _check(begun: Begun) -> int:
    """Try everything that could fail later."""
    try:
        begun.reread(_say)
        catalogue()
    except (ConfigError, PlanError) as error:
        for finding in error.findings:
            _say(f"{finding.level}: {finding}")
        return _refuse("the configuration can not be read by it")
    except ConfigExit:
        return _refuse("the configuration only asks for an answer")
    except ImportError as error:
        return _refuse(f"its engine can not be loaded by {sys.executable}: {error}")
    sys.stdout.write(f"{penstock.__version__}\n")
    sys.stdout.flush()
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _refuse(why: str) -> int:
    _say(why)
    return CAN_NOT
