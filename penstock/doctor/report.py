"""A configuration looked at from all sides: every finding, and what becomes of each option.

`examine` reads it as a start would, makes the plan, and adds what only somebody who asks wants to know. It starts,
binds and imports nothing, and what the configuration names need not exist: that is a finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from penstock.config.collect import Sources
from penstock.config.findings import Finding, Level, Origin
from penstock.config.load import changes_nothing, read
from penstock.config.repeated import outranked
from penstock.config.ruled import broken
from penstock.config.settings import Entry, Settings
from penstock.doctor.catalogue import about
from penstock.options.advice import ADVICE
from penstock.options.known import known_names
from penstock.options.rules import RULES
from penstock.options.secrets import shown, without_secrets
from penstock.options.table import BY_NAME
from penstock.options.unsupported import find as find_unsupported
from penstock.plan.machine import Machine
from penstock.plan.resolve import attempt
from penstock.plan.survey import survey
from penstock.plan.types import Plan
from penstock.values import dataclass, replace

Word = Literal["supported", "not-needed", "not-supported", "unknown", "placeholder"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
_WHO_ASKS = frozenset({"not-root", "runs-as-root"})
"""True of whoever checks, and perhaps not of whoever starts: a note here."""
_ABSENT = frozenset({"no-app", "no-listener", "one-at-a-time"})
"""What is missing may stand in a part that could not be read."""
_SWITCHED_OFF = "it is switched off, or says what is so anyway"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one pair of the configuration."""

    name: str
    value: str
    origin: Origin
    word: Word
    differs: str = ""
    """What is different from uWSGI, where it is."""
    reason: str = ""
    """Why it is not needed, or what to use instead."""


@dataclass(frozen=True, slots=True)
class Report:
    """All there is to say."""

    settings: Settings
    plan: Plan | None
    """None if there are errors, or if nobody asked for this machine."""
    findings: tuple[Finding, ...]
    """The worst first, and each kind in reading order."""
    verdicts: tuple[Verdict, ...]
    pairs: Mapping[Origin, Sequence[Entry]]
    """Place -> the pairs that stand there."""
    intended: Plan | None = None
    """What a start would try, whether or not it would get there; None where the configuration makes no plan."""

    def of(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def exit_status(self) -> int:
        """0, 1 for warnings, 2 for errors."""
        return 2 if self.of("error") else 1 if self.of("warning") else 0

    @property
    def counts(self) -> Mapping[Word, int]:
        """How many pairs have each verdict."""
        return Counter(verdict.word for verdict in self.verdicts)

    def pair_of(self, finding: Finding) -> Entry | None:
        """Find the pair that stands where a finding points to; of several on one line the one that it mentions."""
        there = self.pairs.get(finding.origin, ()) if finding.origin is not None else ()
        wanted = about(finding.code)
        for entry in there:
            option = BY_NAME.get(entry.key)
            if finding.message.startswith(entry.key) or (option is not None and option.name == wanted):
                return entry
        return there[0] if there else None

    def option_of(self, finding: Finding) -> str:
        """Name the option that a finding is about, as it was written; empty where it is about none."""
        pair = self.pair_of(finding)
        if pair is not None:
            return pair.key
        place = finding.origin
        if place is None or place.source == "default":
            return about(finding.code)
        if place.source == "environment":
            return place.name.partition("_")[2].lower().replace("_", "-")
        return place.name.lstrip("-").partition("=")[0] if place.name.startswith("-") else ""

    def as_json_value(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "findings": [self._finding(finding) for finding in self.findings],
            "options": [
                {
                    "name": verdict.name,
                    "value": verdict.value,
                    "file": _file(verdict.origin),
                    "line": _line(verdict.origin),
                    "verdict": verdict.word,
                }
                for verdict in self.verdicts
            ],
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        place = finding.origin
        is_elsewhere = place is not None and place.source != "file"
        return {
            "id": finding.code,
            "severity": finding.level,
            "file": _file(place),
            "line": _line(place),
            "option": self.option_of(finding),
            "message": without_secrets(f"{place}: {finding.message}" if is_elsewhere else finding.message),
            "fix": finding.cure,
        }


def examine(sources: Sources, machine: Machine | None) -> Report:
    """Look at a configuration; with `machine` of None only at what is written in it."""
    settings = read(sources)
    found = [*settings.findings, *outranked(settings.settings)]
    plan: Plan | None = None
    if settings.entries:
        if machine is None:
            found += broken(RULES, settings)
        else:
            plan, more = attempt(settings, machine)
            found += more
        found += broken(ADVICE, settings)
        if machine is not None:
            found += survey(settings, machine)
    is_partly_read = any(finding.level == "error" for finding in settings.findings)
    kept = [
        replace(finding, level="note") if finding.code in _WHO_ASKS else finding
        for finding in dict.fromkeys(found)
        if not (is_partly_read and finding.code in _ABSENT)
    ]
    has_errors = any(finding.level == "error" for finding in kept)
    verdicts = tuple(_verdict(entry, settings) for entry in settings.entries)
    pairs: dict[Origin, list[Entry]] = {}
    for entry in settings.entries:
        pairs.setdefault(entry.origin, []).append(entry)
    return Report(settings, None if has_errors else plan, _in_order(kept), verdicts, pairs, plan)


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by level, then by file and line; files stay in the order in which they are first met."""
    found = list(findings)
    places = list(dict.fromkeys(finding.origin.name for finding in found if finding.origin is not None))

    def key(finding: Finding) -> tuple[int, int, int]:
        place = finding.origin
        at = (places.index(place.name), place.line) if place is not None else (len(places), 0)
        return (LEVELS.index(finding.level), *at)

    return tuple(sorted(found, key=key))


def _verdict(entry: Entry, settings: Settings) -> Verdict:
    value = "true" if entry.value is None else str(shown(entry.key, entry.value))
    option = BY_NAME.get(entry.key)
    if option is not None:
        if option.verdict == "not-needed":
            return Verdict(entry.key, value, entry.origin, "not-needed", reason=option.note)
        differs = option.note if option.verdict == "differs" else ""
        return Verdict(entry.key, value, entry.origin, "supported", differs=differs)
    if entry.key in known_names():
        if changes_nothing(entry):
            return Verdict(entry.key, value, entry.origin, "not-needed", reason=_SWITCHED_OFF)
        row = find_unsupported(entry.key)
        return Verdict(entry.key, value, entry.origin, "not-supported", reason=row.instead if row is not None else "")
    kind = settings.others.get(entry.key, "unknown")
    word: Word = "supported" if kind == "declared" or entry.key == "end" else kind
    return Verdict(entry.key, value, entry.origin, word)


def _file(place: Origin | None) -> str | None:
    return place.name if place is not None and place.source == "file" else None


def _line(place: Origin | None) -> int | None:
    return place.line if place is not None and place.source == "file" and place.line else None
