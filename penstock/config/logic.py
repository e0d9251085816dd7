"""Blocks: `for`, `if-...` and their ends, which decide whether, how often and with which `%(_)` an option counts.

As in uWSGI a block is asked again for each option in it, and one with several items repeats each option before the next
one: `for = a b` over `env = X=%(_)` and `env = Y=%(_)` gives X=a, X=b, Y=a, Y=b. There is one level only. `else` is
Penstock's own: it goes by what the block said when it began.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from penstock.config.files import FileReader, reason
from penstock.config.findings import Finding, Level, Origin
from penstock.config.settings import Entry
from penstock.config.surroundings import Surroundings
from penstock.options.known import is_built_in_plugin
from penstock.options.table import BY_NAME
from penstock.values import dataclass

MOST_ITEMS = 10_000

Items = list[str | None]
"""What `%(_)` stands for each time; None leaves it as it is. Nothing: the options in the block do not count."""


@dataclass(frozen=True, slots=True)
class World:
    """What a block may ask about."""

    environ: Mapping[str, str]
    surroundings: Surroundings
    reader: FileReader
    is_reload: bool
    entries: Sequence[Entry]
    """Everything so far; it grows while the block is open."""


class Block:
    """One that was opened."""

    def __init__(self, entry: Entry, value: str, world: World) -> None:
        self.entry = entry
        self.findings: list[Finding] = []
        self.depth = 1
        """More when others were opened inside, which is an error, so that their ends are not taken for this one's."""
        self._kind = BY_NAME[entry.key].name
        self._value = value
        self._world = world
        self._held: bool | None = None
        self._in_else = False
        self._fixed: Items | None = None
        if self._kind.startswith("for"):
            self._fixed = self._repeated()
        elif self._kind.endswith("hostname-match"):
            self._fixed = self._host_matches()

    @property
    def origin(self) -> Origin:
        """Where it was opened."""
        return self.entry.origin

    def turn(self) -> None:
        """Go on with what is behind `else`."""
        if self._held is None:
            self._held = bool(self.items())
        self._in_else = not self._in_else

    def items(self) -> Items:
        """Say what the next option is repeated for."""
        if self._in_else:
            return [] if self._held else [None]
        items = self._fixed if self._fixed is not None else self._condition()
        if self._held is None:
            self._held = bool(items)
        return items

    def _problem(self, message: str, cure: str, level: Level = "error", code: str = "bad-logic") -> None:
        self.findings.append(Finding(level, code, f"{self.entry.key}: {message}", self.origin, cure))

    # for

    def _repeated(self) -> Items:
        items = _REPEATED[self._kind](self)
        if len(items) > MOST_ITEMS:
            self._problem(f"repeats its options {len(items)} times", f"{MOST_ITEMS} is the most")
            return []
        return items

    def _words(self) -> Items:
        return [word for word in self._value.split(" ") if word]

    def _times(self) -> Items:
        digits = re.match(r"[ \t]*\+?([0-9]+)", self._value)
        if digits is None:
            self._problem(f"{self._value} is not a number", "write for-times = 3")
            return []
        times = int(digits[1][:12])
        return [str(number) for number in range(1, min(times, MOST_ITEMS + 1) + 1)]

    def _paths(self) -> Items:
        return list(self._world.reader.paths(self._value))

    def _lines(self) -> Items:
        try:
            return list(self._world.reader.lines(self._value))
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            cure = "the options up to endfor do not count"
            self._problem(f"can not read {self._value}: {why}", cure, "warning", "no-file")
            return []

    # if

    def _condition(self) -> Items:
        negative = self._kind.startswith("if-not-")
        what = self._kind.removeprefix("if-").removeprefix("not-")
        if what in ("env", "opt"):
            return self._equal(self._known(what), negative)
        holds = _CONDITIONS[what](self)
        return ([None] if what == "reload" else [self._value]) if holds != negative else []

    def _known(self, what: str) -> str | None:
        name = self._value.partition("=")[0]
        if what == "env":
            return self._world.environ.get(name)
        return next((entry.value for entry in self._world.entries if entry.key == name), None)

    def _equal(self, value: str | None, negative: bool) -> Items:
        """`NAME` or `NAME=VALUE` against a value, None where there is none."""
        _, equals, wanted = self._value.partition("=")
        holds = value is not None and (not equals or value == wanted)
        return [value] if holds != negative else []

    def _host_matches(self) -> Items:
        try:
            holds = re.search(self._value, self._world.surroundings.hostname) is not None
        except (re.error, OverflowError, RecursionError) as error:
            self._problem(f"{self._value} is not a regular expression: {error}", "correct it")
            return []
        return [self._value] if holds != self._kind.startswith("if-not-") else []

    def _readable(self) -> bool:
        return self._world.reader.is_readable(self._value)

    def _is_file(self) -> bool:
        return self._world.reader.is_file(self._value)

    def _is_dir(self) -> bool:
        return self._world.reader.is_dir(self._value)

    def _plugin(self) -> bool:
        return is_built_in_plugin(self._value)

    def _hostname(self) -> bool:
        return self._value == self._world.surroundings.hostname

    def _reload(self) -> bool:
        return self._world.is_reload


_REPEATED: dict[str, Callable[[Block], Items]] = {
    "for": Block._words,
    "for-glob": Block._paths,
    "for-readline": Block._lines,
    "for-times": Block._times,
}
_CONDITIONS: dict[str, Callable[[Block], bool]] = {
    "dir": Block._is_dir,
    "exists": Block._readable,
    "file": Block._is_file,
    "hostname": Block._hostname,
    "plugin": Block._plugin,
    "reload": Block._reload,
}
