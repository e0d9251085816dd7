"""What uWSGI has and Penstock has not: for each such name what it does there, why it is not here, what to use instead.

The rows are data (`unsupported.tsv`): one line for an option, under the line of its family. They are read when such a
name is met, never at an ordinary start. An option that gets its row in the table loses its line here; `make generate`
deletes it, and a test sees that every name of uWSGI stands in exactly one of the two places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, cast

from penstock.options.known import known_names
from penstock.options.option import Argument
from penstock.values import dataclass

PATH = Path(__file__).with_name("unsupported.tsv")

Outlook = Literal["later", "never"]
Effect = Literal["ignored", "stops"]

_SHOWN = 3
"""So many options of a family are explained in one line; `penstock help NAME` explains each."""


@dataclass(frozen=True, slots=True)
class Family:
    """Options that are used together, so that one line about all of them is enough."""

    title: str
    outlook: Outlook
    """Whether it belongs to what is still to come."""
    effect: Effect
    """`stops`: a start without it would be unsafe, or would make something else of the configuration."""
    why: str
    """What is the case here (`ignored`), or what would happen without it (`stops`); a clause."""
    instead: str
    """What serves the same purpose today."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An option of uWSGI that is not here, under all its names."""

    names: tuple[str, ...]
    does: str
    """What uWSGI does with it, after "it"."""
    family: Family
    instead: str
    """What serves the same purpose today."""

    @property
    def argument(self) -> Argument:
        """Whether a value follows on the command line."""
        return known_names()[self.names[0]].argument

    @property
    def short(self) -> str:
        """Its letter, or nothing."""
        return next((known_names()[name].short for name in self.names if known_names()[name].short), "")


def parse(text: str) -> tuple[Unsupported, ...]:
    """Read the rows; they are in the order of their families."""
    rows: list[Unsupported] = []
    family: Family | None = None
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        first, *fields = line.split("\t")
        if first.startswith("@"):
            outlook, effect = cast(Outlook, fields[0]), cast(Effect, fields[1])
            family = Family(first[1:], outlook, effect, *fields[2:])
        elif family is not None:
            own = fields[1] if len(fields) > 1 else family.instead
            rows.append(Unsupported(tuple(first.split(",")), fields[0], family, own))
    return tuple(rows)


def without(text: str, supported: Iterable[str]) -> str:
    """Take the names out that have a row in the table by now, and families of which nothing is left."""
    gone = frozenset(supported)
    kept: list[str] = []
    for line in text.splitlines():
        if line.startswith("@") and kept and kept[-1].startswith("@"):
            kept.pop()
        if not line.startswith(("@", "#")):
            names, tab, rest = line.partition("\t")
            left = [name for name in names.split(",") if name not in gone]
            if not left:
                continue
            line = ",".join(left) + tab + rest
        kept.append(line)
    if kept and kept[-1].startswith("@"):
        kept.pop()
    return "\n".join(kept) + "\n"


@cache
def rows() -> tuple[Unsupported, ...]:
    """Every option that is not supported."""
    return parse(PATH.read_text(encoding="ascii"))


@cache
def _by_name() -> dict[str, Unsupported]:
    return {name: row for row in rows() for name in (*row.names, *([row.short] if row.short else []))}


def find(name: str) -> Unsupported | None:
    """Look up an option that is not supported, by any of its names or its letter."""
    return _by_name().get(name)


def explain(names: Sequence[str]) -> tuple[str, str]:
    """Say in one line what options of one family did and why they are not here, and in another what to use instead."""
    by_row: dict[tuple[str, ...], tuple[str, Unsupported]] = {}
    for name in names:
        row = _by_name()[name]
        by_row.setdefault(row.names, (name, row))
    told = list(by_row.values())
    family = told[0][1].family
    are, it = ("is", "it") if len(names) == 1 else ("are", "them")
    yet = " yet" if family.outlook == "later" else ""
    outcome = "can not be left out" if family.effect == "stops" else f"{are} ignored"
    if len(told) == 1:
        does = f"{'it' if len(names) == 1 else names[0]} {told[0][1].does}"
    else:
        does = ", ".join(f"{name} {row.does}" for name, row in told[:_SHOWN])
        if len(told) > _SHOWN:
            does += f" (penstock help {told[_SHOWN][0]} and so on for the others)"
    why = f"without {it} {family.why}" if family.effect == "stops" else f"here {family.why}"
    message = f"{listed(names)} {are} not supported{yet} and {outcome}: in uWSGI {does}; {why}"
    cures = list(dict.fromkeys(row.instead for _, row in told))
    if len(cures) == 1:
        return message, cures[0]
    return message, "; ".join(f"for {name}: {row.instead}" for name, row in told[:_SHOWN])


def listed(names: Sequence[str]) -> str:
    """Name several things in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
