"""The whole of a master as one JSON value and a set of descriptors, and a master made of them again (an upgrade)."""

from __future__ import annotations

import selectors
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.master import events as ev
from penstock.master import handover
from penstock.master.control import ControlServer
from penstock.master.fifo import MasterFifo
from penstock.master.fleet import Fleet, from_json, to_json
from penstock.master.generation_link import GenerationLink
from penstock.master.long_requests import LongRequests
from penstock.master.luggage import HandoverError, Luggage, Unpacked
from penstock.master.notify import Told
from penstock.master.privileges import Identity
from penstock.master.programs import Programs
from penstock.master.sockets import BoundListener
from penstock.master.touch import TouchWatch
from penstock.master.trial import Trial
from penstock.observe.scoreboard import Layout, ThreadRow
from penstock.observe.stats import Ended
from penstock.plan.types import ListenerPlan, Plan, from_json_value, to_json_value
from penstock.values import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Before:
    """What an earlier program of this process has handed over, read as values. Nothing is opened for it."""

    version: str
    fleet: Fleet
    first_plan: Plan
    """Of the start: parts of it were carried out and can not change."""
    plan: Plan
    told: Told
    owner: tuple[int, int] | None
    become: Identity | None
    ended: dict[int, Ended]
    begun: Mapping[str, Any]
    """What the command line needs to go on."""
    packed: Mapping[str, Any]
    """All of it, with the descriptors."""

    @classmethod
    def read(cls, version: str, state: Mapping[str, Any]) -> Before:
        """Read a state as values.

        Raises:
            HandoverError: it has something that is not known here, or lacks something.
        """
        try:
            for link in state["links"]:
                from_json_value(Plan, link["plan"])
                Layout.of(link["layout"])
                for one in link["listeners"]:
                    from_json_value(ListenerPlan, one["plan"])
            identity = state["become"]
            return cls(
                version,
                from_json(state["fleet"]),
                from_json_value(Plan, state["first_plan"]),
                from_json_value(Plan, state["plan"]),
                Told(**state["told"]),
                tuple(state["owner"]) if state["owner"] is not None else None,
                Identity(**{**identity, "more_groups": tuple(identity["more_groups"])}) if identity else None,
                {int(worker): ended_from(value) for worker, value in state["ended"].items()},
                state["begun"],
                state,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HandoverError(
                f"the state of Penstock {version} has another shape ({type(error).__name__}: {error}): "
                "stop and start the instance"
            ) from error


def ended_from(value: Mapping[str, Any]) -> Ended:
    """Make the sums of an ended worker out of what `asdict` has made of them."""
    parts: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
    parts["threads"] = tuple(ThreadRow(**row) for row in value["threads"])
    return Ended(**parts)


class Packing:
    """What a master hands over, and takes over. The attributes are the master's, where each is explained."""

    fleet: Fleet
    _plan: Plan
    _listeners: tuple[BoundListener, ...]
    _selector: selectors.BaseSelector
    _links: dict[int, GenerationLink]
    _ended: dict[int, Ended]
    _fifo: MasterFifo
    _programs: Programs
    _long_requests: LongRequests
    _lifeline_read: int
    _lifeline_write: int
    _handoff: tuple[socket.socket, socket.socket]
    _locks_fd: int
    _control: ControlServer | None
    _trial: Trial | None
    _given: Any
    """Its belongings; their type is the master's."""
    _touch: TouchWatch
    _touch_reopen: TouchWatch
    _touch_rotate: TouchWatch
    _touch_workers: tuple[TouchWatch, TouchWatch]
    _touch_hooks: TouchWatch
    _touch_programs: TouchWatch

    def watches(self) -> dict[str, TouchWatch]:
        """Name everything that is watched for being touched."""
        workers, chain = self._touch_workers
        named = {"reload": self._touch, "reopen": self._touch_reopen, "rotate": self._touch_rotate, "workers": workers}
        return {**named, "chain": chain, "hooks": self._touch_hooks, "programs": self._touch_programs}

    def take(self, event: ev.Event) -> None:
        """Let the policy decide about an event."""
        raise AssertionError("the loop is what decides with the policy")

    def check_upgrade(self) -> None:
        """Try the Penstock that is installed now."""
        if self._trial is not None:
            # It was killed, and its end has not been seen yet.
            self._trial.close()
            self._trial = None
        try:
            content = self.pack(is_trial=True)
            self._trial = Trial(content, self._given.begun["cwd"], self._selector)
        except (OSError, HandoverError) as error:
            self.take(ev.UpgradeChecked(False, str(error)))

    def upgrade(self) -> None:
        """Become it."""
        try:
            content = self.pack(is_trial=False)
        except (OSError, HandoverError) as error:
            self.take(ev.UpgradeFailed(str(error)))
            return
        self._given.supervisor.close()
        try:
            handover.execute(content, self._given.begun["cwd"])
        except OSError as error:
            if self._given.logs is not None:
                self._given.logs.go_on()
            self.take(ev.UpgradeFailed(f"{sys.executable} can not be executed: {error.strerror}"))

    def pack(self, is_trial: bool) -> dict[str, Any]:
        """Put everything into what goes over.

        But for a trial the logs are not forwarded any more from here on.

        Raises:
            HandoverError: something can not go over now.
        """
        given, luggage = self._given, Luggage()
        state = {
            "fleet": to_json(self.fleet),
            "first_plan": to_json_value(given.plan),
            "plan": to_json_value(self._plan),
            "told": asdict(given.supervisor.told),
            "owner": given.owner,
            "become": asdict(given.become) if given.become is not None else None,
            "ended": {worker: asdict(one) for worker, one in self._ended.items()},
            "begun": given.begun,
            "listeners": [luggage.take_listener(one) for one in self._listeners],
            "stats": luggage.take_listener(given.stats) if given.stats is not None else None,
            "admin": luggage.take_listener(given.admin) if given.admin is not None else None,
            "control": self._control.pack(luggage) if self._control is not None else None,
            "links": [link.pack(luggage) for link in self._links.values()],
            "watches": {name: watch.pack() for name, watch in self.watches().items()},
            "fifo": self._fifo.pack(luggage),
            "programs": self._programs.pack(),
            "stuck": self._long_requests.pack(),
            "lifeline": [luggage.take(self._lifeline_read), luggage.take(self._lifeline_write)],
            "handoff": [luggage.take(end.fileno()) for end in self._handoff],
            "locks": luggage.take(self._locks_fd),
            "pid_files": given.pack_pid_files(luggage),
            "logs": given.logs.pack(luggage, pauses=not is_trial) if given.logs is not None else None,
        }
        return handover.document(state, self._listeners, luggage, given.supervisor.told.variables())

    def unpack(self, before: Before, unpacked: Unpacked, register: Callable[[GenerationLink], None]) -> None:
        """Go on with what came over; `register` makes the loop hear a generation and its workers."""
        packed = before.packed
        self.fleet, self._plan, self._ended = before.fleet, before.plan, dict(before.ended)
        self._listeners = tuple(unpacked.listener(one) for one in packed["listeners"])
        self._fifo.unpack(packed["fifo"])
        self._programs.unpack(packed["programs"])
        self._long_requests.unpack(packed["stuck"])
        for name, watch in self.watches().items():
            if name in packed["watches"]:
                watch.unpack(packed["watches"][name])
        if self._control is not None:
            self._control.unpack(packed["control"], unpacked)
        for one in packed["links"]:
            link = GenerationLink.unpack(one, unpacked)
            self._links[link.number] = link
            register(link)


def own_sockets(before: Before, unpacked: Unpacked) -> dict[str, Any]:
    """Take what the master itself answers on: `stats`, `admin` and `control`."""
    packed, control = before.packed, before.packed["control"]
    found: dict[str, Any] = {name: packed[name] and unpacked.listener(packed[name]) for name in ("stats", "admin")}
    return {**found, "control": control and (unpacked.socket(control["listener"]), Path(control["path"]))}
