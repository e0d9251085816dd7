"""What the doctor says: a cause, what shows it, and what mends it. Only values; `penstock.commands.doctor` prints them.

A diagnosis is a finding with proof. Its code has a row in the module of `penstock.doctor.checks` that makes it, or is
one of `penstock check`'s, which the doctor takes over.
"""

from __future__ import annotations

from typing import Any

from penstock.config.findings import Finding, Level
from penstock.options.secrets import without_secrets
from penstock.values import dataclass

LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen."""

    place: str
    """FILE:LINE, a path, a process, an address; empty where the text says it."""
    value: str
    """What stands there, or is so."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a line of a text file: the first `old` in it becomes `new`, which begins no other line."""

    path: str
    line: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mend:
    """What `--fix` does: it takes nothing away that somebody could miss, and may be done twice."""

    edits: tuple[Edit, ...] = ()
    """Done first; taken back if one of the commands fails."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Each with its arguments; no shell reads them."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that is wrong."""

    code: str
    level: Level
    """`error`: visitors are not served, or somebody else may do harm. `warning`: it will hurt. `note`: good to know."""
    cause: str
    evidence: tuple[Evidence, ...] = ()
    cure: str = ""
    """What to change, in words, with the place."""
    commands: tuple[str, ...] = ()
    """What to type, as it is typed."""
    mend: Mend | None = None
    """What may safely be done by itself."""

    def as_json_value(self) -> dict[str, Any]:
        """The diagnosis for programs."""
        return {
            "id": self.code,
            "severity": self.level,
            "cause": self.cause,
            "evidence": [{"place": one.place, "value": one.value} for one in self.evidence],
            "fix": self.cure,
            "commands": list(self.commands),
            "safe": self.mend is not None,
        }


@dataclass(frozen=True, slots=True)
class Blind:
    """Something that could not be looked at."""

    what: str
    why: str


def of_finding(finding: Finding, shown: str) -> Diagnosis:
    """Take over a finding about the configuration; `shown` is what stands at its place."""
    place = str(finding.origin) if finding.origin is not None else ""
    evidence = (Evidence(place, shown),) if place else ()
    return Diagnosis(finding.code, finding.level, without_secrets(finding.message), evidence, finding.cure)
