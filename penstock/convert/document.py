"""What stands in a configuration file, whatever its kind: comments, options as they were written, sections.

Keys and values are in the notation of an ini file: `%d` is a magic variable, and a percent sign that would be taken for
one is `%%`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from penstock.config.pairs import Kind
from penstock.options.configuration import BLOCK_ENDS, BLOCK_OPENERS
from penstock.options.option import Option
from penstock.options.table import BY_NAME
from penstock.values import dataclass

MAGIC = frozenset("odspcenxijODSPCENXIJ0123456789vVhbtTkuUgG[%")
"""Letters that mean something behind a percent sign; see `penstock.config.magic`."""

_PAIR = re.compile(r"%(.)", re.DOTALL)
_NAMES = re.compile(r"[^\s()]+")
_ASKING = frozenset({"blacklist", "get", "if-not-opt", "if-opt", "whitelist"})
"""Options whose value names others."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A line for people; None is an empty one."""

    text: str | None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """An option or a placeholder with its value."""

    key: str
    value: str
    line: int = 0

    @property
    def option(self) -> Option | None:
        """The row of the table; None for a placeholder and for what Penstock does not know."""
        return BY_NAME.get(self.key)

    @property
    def name(self) -> str:
        """The name of the table for an alias."""
        option = self.option
        return option.name if option is not None else self.key


Item = Comment | Said


@dataclass(frozen=True, slots=True)
class Part:
    """A section."""

    name: str
    items: tuple[Item, ...]

    @property
    def said(self) -> Iterator[Said]:
        """The options without the comments."""
        return (item for item in self.items if isinstance(item, Said))


@dataclass(frozen=True, slots=True)
class Document:
    """A file."""

    kind: Kind
    name: str
    """As it was given."""
    parts: tuple[Part, ...]

    @property
    def said(self) -> Iterator[Said]:
        """Every option of every section."""
        return (said for part in self.parts for said in part.said)

    def part(self, name: str) -> Part | None:
        """The section of this name."""
        return next((part for part in self.parts if part.name == name), None)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that whoever converts a file should know; `line` is one of the source, 0 for none."""

    text: str
    line: int = 0


class NotSaid(Exception):
    """A document can not be written as this kind of file: what stands in the way, its line, and what to do."""

    def __init__(self, message: str, line: int, cure: str) -> None:
        self.line = line
        self.cure = cure
        super().__init__(message)


def by_magic(text: str, replace: Callable[[str], str | None]) -> str:
    """Replace magic variables: `replace` is asked for each letter, and None leaves it as it is."""

    def one(match: re.Match[str]) -> str:
        new = replace(match[1]) if match[1] in MAGIC else None
        return match[0] if new is None else new

    return _PAIR.sub(one, text)


def literal(text: str) -> str:
    """Write a text so that no part of it is a magic variable."""
    result: list[str] = []
    position = 0
    while (percent := text.find("%", position)) >= 0:
        result.append(text[position : percent + 1])
        if text[percent + 1 : percent + 2] in MAGIC and percent + 1 < len(text):
            result.append("%")
        position = percent + 1
    return "".join([*result, text[position:]])


def has_magic(text: str) -> bool:
    """Whether a magic variable stands there, `%%` not counted."""
    return any(match[1] in MAGIC and match[1] != "%" for match in _PAIR.finditer(text))


def is_filled_in(text: str) -> bool:
    """Whether anything of a value is only known when the configuration is used."""
    return any(mark in text for mark in ("%", "$(", "@("))


def mentioned(items: Iterable[Said]) -> frozenset[str]:
    """Every name that `%(name)` or an option such as if-opt asks for, with all spellings of an option."""
    names: set[str] = set()
    for said in items:
        text = said.value
        if "%(" in text:
            # Not exactly what a placeholder names, but never less.
            names.update(word for group in text.split("%(")[1:] for word in _NAMES.findall(group))
        if said.name in _ASKING:
            names.update(word.partition("=")[0] for word in text.split())
        if said.name in ("declare-option", "declare-option2"):
            names.update(part.partition("=")[0] for part in text.replace(";", "=", 1).split(";"))
            names.update(re.findall(r"[\w-]+", text))
    return frozenset(names | {other for name in names if name in BY_NAME for other in BY_NAME[name].names})


def is_block_mark(key: str) -> bool:
    """Whether an option begins or ends a block."""
    return key in BLOCK_OPENERS or key in BLOCK_ENDS or key in ("end", "else")
