"""Where a command line began: what makes its plan, at the start, at each reload and after an upgrade.

An upgrade reads the same words again, in another process image: what it can not find out a second time (the user that
the instance was before it changed, what standard input said) goes over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from penstock.config.argv import Word
from penstock.config.files import FileReader
from penstock.config.load import Sources, load
from penstock.config.surroundings import Surroundings
from penstock.plan.machine import Machine
from penstock.plan.resolve import resolve
from penstock.plan.types import InheritedSocket, Plan, from_json_value
from penstock.values import asdict, dataclass, replace

_OF_THE_PROCESS = ("cwd", "uid", "user", "gid", "group", "started_us", "binary")
"""Of the surroundings, what the process knew at its start and does not know any more."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A command line in its surroundings."""

    sources: Sources
    machine: Machine
    files: FileReader

    @classmethod
    def here(cls, parsed: Sequence[Word], environ: Mapping[str, str]) -> Begun:
        """Begin here and now. Raises NowhereError."""
        surroundings = Surroundings.here()
        files = FileReader(surroundings.cwd)
        return cls(Sources(parsed, environ, surroundings, files), Machine.here(), files)

    def reread(self, note: Callable[[str], None]) -> Plan:
        """Make the plan of a reload; `note` gets what there is to say about the configuration."""
        settings = load(replace(self.sources, is_reload=True))
        for finding in settings.findings:
            note(f"{finding.level}: {finding}")
        return resolve(settings, self.machine)

    def to_json(self) -> dict[str, Any]:
        """Pack what goes over an upgrade."""
        surroundings, machine = self.sources.surroundings, self.machine
        return {
            "cwd": surroundings.cwd,
            "surroundings": {name: getattr(surroundings, name) for name in _OF_THE_PROCESS},
            "euid": machine.euid,
            "is_under_systemd": machine.is_under_systemd,
            "inherited": [asdict(one) for one in machine.inherited],
            "standard_input": self.files.standard_input,
        }

    @classmethod
    def from_json(cls, packed: Mapping[str, Any], parsed: Sequence[Word], environ: Mapping[str, str]) -> Begun:
        """Go on from what `to_json` has packed.

        Raises:
            KeyError, TypeError: it is of another shape.
        """
        surroundings = replace(Surroundings.here(), **packed["surroundings"])
        files = FileReader(surroundings.cwd, standard_input=packed["standard_input"])
        inherited = tuple(from_json_value(InheritedSocket, one) for one in packed["inherited"])
        machine = replace(
            Machine.here(),
            cwd=surroundings.cwd,
            euid=packed["euid"],
            is_under_systemd=packed["is_under_systemd"],
            inherited=inherited,
        )
        return cls(Sources(parsed, environ, surroundings, files), machine, files)
