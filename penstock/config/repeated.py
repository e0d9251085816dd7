"""An option that has one value and is given two in one file: the later line wins, which the earlier one does not show.

Not where that is meant: a block (`if-env`) that overrides what stands outside it, a file that is read on top of
another, and sections of one file that build on each other (`ini = :base`). For those who ask there is also what the
environment says in vain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from penstock.config.convert import FALSE_WORDS
from penstock.config.findings import Finding
from penstock.config.settings import Entry, Setting
from penstock.options.configuration import BLOCK_ENDS, BLOCK_OPENERS
from penstock.options.option import Option
from penstock.options.table import BY_NAME

_READERS = frozenset({"ini", "yaml", "json", "xml", "toml", "config", "include", "inherit"})


def repeated(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Find each line whose value a later line of the same file takes away."""
    layered = {entry.origin.name for entry in entries if _reads_a_section(entry)}
    first: dict[tuple[str, str], Entry] = {}
    in_block = False
    for entry in entries:
        if entry.key in BLOCK_OPENERS:
            in_block = True
        elif entry.key in BLOCK_ENDS or entry.key == "end":
            in_block = False
        option = BY_NAME.get(entry.key)
        if in_block or option is None or option.repeatable or option.role != "setting":
            continue
        if entry.origin.source != "file" or entry.is_placeholder or entry.origin.name in layered:
            continue
        before = first.get((option.name, entry.origin.name))
        first[option.name, entry.origin.name] = entry
        if before is None or before.origin.line == entry.origin.line:
            continue
        if _meaning(before, option) != _meaning(entry, option):
            message = f"{_shown(before)} is replaced by {_shown(entry)} in line {entry.origin.line}: the last counts"
            yield Finding("warning", "repeated-option", message, before.origin, "remove one of the two lines")


def outranked(settings: Mapping[str, tuple[Setting, ...]]) -> Iterator[Finding]:
    """Find variables of the environment that set an option, and do not count because something else sets it too."""
    for said in settings.values():
        last = said[-1]
        for earlier in () if last.option.repeatable else said[:-1]:
            if earlier.origin.source == "environment" != last.origin.source and earlier.value != last.value:
                message = f"the environment counts least: {last.option.name} is set by {last.origin} as well"
                cure = f"write {last.option.name} = $({earlier.origin.name}) there, or remove one of the two"
                yield Finding("note", "variable-overridden", message, earlier.origin, cure)


def _reads_a_section(entry: Entry) -> bool:
    option = BY_NAME.get(entry.key)
    return option is not None and option.name in _READERS and ":" in (entry.value or "")


def _meaning(entry: Entry, option: Option) -> str | bool:
    """What a pair says; for flags that is more than one spelling."""
    return (entry.value or "").lower() not in FALSE_WORDS if option.type == "flag" else entry.value or ""


def _shown(entry: Entry) -> str:
    return entry.key if entry.value is None else f"{entry.key} = {entry.value}"
