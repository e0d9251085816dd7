"""Document -> Document of another kind with the same meaning, and everything that is worth saying about it.

Aliases become the names of the table unless something in the file asks for an option by its name; a comment behind a
number gets a line of its own; what reads another section of the same file reads it from the new kind of file; what
Penstock does not support keeps its line, with a comment above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.config.convert import convert
from penstock.config.findings import Origin
from penstock.config.pairs import DEFAULT_SECTION, SUFFIXES, Kind
from penstock.convert.document import (
    Comment,
    Document,
    Item,
    Note,
    Part,
    Said,
    by_magic,
    is_block_mark,
    is_filled_in,
    mentioned,
)
from penstock.options import unsupported
from penstock.options.known import known_names
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME
from penstock.values import dataclass, replace

_READS = ("ini", "json", "toml", "xml", "yaml")
_ANY_KIND = ("config", "include", "inherit")
_WITH_COMMENT = re.compile(r"(.*?\S)[ \t]+[;#][;#\s]*(.*)", re.DOTALL)
_ONE_PLACEHOLDER = re.compile(r"%k|[%$]\([^()]*\)")
_OF_THE_FILE = {"p": "path", "o": "name", "s": "base name", "e": "extension", "i": "inode", "j": "hash of the path"}
"""Magic variables that another file gives another value, and what they are."""


@dataclass(frozen=True, slots=True)
class Translated:
    """The new document, and what to tell about it."""

    document: Document
    notes: tuple[Note, ...]
    """What is not as it was in the file."""
    differs: tuple[Note, ...]
    """What Penstock does in another way than uWSGI, or does not do."""


def translate(source: Document, kind: Kind, section: str = "") -> Translated:
    """Make a document of another kind; `section` is the one to begin with, "" for the usual one."""
    return _Translation(source, kind, section).run()


class _Translation:
    def __init__(self, source: Document, kind: Kind, section: str) -> None:
        self.source = source
        self.kind = kind
        self.start = section or DEFAULT_SECTION
        self.notes: list[Note] = []
        self.differs: dict[str, Note] = {}
        self.mentioned = mentioned(source.said)
        self.own = self._own_options()
        self.reached = self._reached(self.start)
        self.names = self._names()

    def run(self) -> Translated:
        parts: list[Part] = []
        for part in self.source.parts:
            if self.start != DEFAULT_SECTION and part.name not in self.reached:
                continue
            parts.append(Part(self.names.get(part.name, part.name), tuple(self._items(part))))
        for old, new in self.names.items():
            if old != self.start and old != new:
                self.notes.append(Note(f"section [{old}] is called {new} now: the name is taken there"))
        if self.names.get(self.start, self.start) != DEFAULT_SECTION:
            self.notes.append(Note(f"start it with {_stem(self.source.name)}.{self.kind}:{self.start}"))
        self._note_magic()
        document = Document(self.kind, self.source.name, tuple(parts))
        return Translated(document, tuple(self.notes), tuple(self.differs.values()))

    # What is there

    def _own_options(self) -> frozenset[str]:
        """Options that the file declares for itself."""
        declaring = (said for said in self.source.said if said.name in ("declare-option", "declare-option2"))
        return frozenset(said.value.partition("=")[0] for said in declaring)

    def _reached(self, start: str) -> set[str]:
        """The sections that are read when one starts with `start`."""
        reached: set[str] = set()
        waiting = [start]
        while waiting:
            name = waiting.pop()
            part = self.source.part(name)
            if part is None or name in reached:
                continue
            reached.add(name)
            waiting += [said.value[1:] for said in part.said if self._is_own_section(part, said)]
        return reached

    def _names(self) -> dict[str, str]:
        """New names of sections, where the old one can not stay."""
        names: dict[str, str] = {}
        if self.start != DEFAULT_SECTION and DEFAULT_SECTION not in self.reached:
            names[self.start] = DEFAULT_SECTION
        if self.kind == "toml":
            taken = {said.key for said in self.source.said}
            for part in self.source.parts:
                is_taken = part.name in taken or part.name in BY_NAME or part.name in known_names()
                if part.name not in names and part.name != DEFAULT_SECTION and is_taken:
                    names[part.name] = f"{part.name}-section"
        return names

    def _is_own_section(self, part: Part, said: Said) -> bool:
        """Whether an option reads a section of this very file: `ini = :base`, unless another file came before it."""
        if said.name not in (*_ANY_KIND, self.source.kind) or not said.value.startswith(":"):
            return False
        for other in part.said:
            if other is said:
                break
            if other.name in (*_READS, *_ANY_KIND) and not other.value.startswith(":"):
                return False
        return True

    # One section

    def _items(self, part: Part) -> Iterator[Item]:
        previous = ""
        for item in part.items:
            if isinstance(item, Comment):
                previous = item.text or ""
                yield item
                continue
            for new in self._said(part, item):
                if isinstance(new, Comment) and new.text == previous:
                    continue
                yield new
            previous = ""

    def _said(self, part: Part, said: Said) -> Iterator[Item]:
        if part.name in self.reached:
            yield from self._remarks(said)
        said, words = self._without_comment(self._renamed(said))
        if words:
            yield Comment(words, said.line)
        yield self._redirected(part, said)

    def _renamed(self, said: Said) -> Said:
        option = said.option
        is_reader = option is not None and option.name in _READS
        if option is None or said.key in self.mentioned or (option.role == "directive" and not is_reader):
            return said
        return replace(said, key=option.name)

    def _without_comment(self, said: Said) -> tuple[Said, str]:
        """Take a comment off a value that it is no part of."""
        option = said.option
        match = _WITH_COMMENT.fullmatch(said.value)
        if option is None or match is None or said.key in self.mentioned:
            return said, ""
        if option.is_number and _ONE_PLACEHOLDER.fullmatch(match[1]):
            return replace(said, value=match[1]), match[2].strip()
        origin = Origin("file", self.source.name, said.line)
        with_it, findings = convert(option, said.key, said.value, origin)
        without, others = convert(option, said.key, match[1], origin)
        is_no_part = any(one.code == "text-after-value" for one in findings) and not others
        # A placeholder may bring a comment of its own.
        if with_it != without or not is_no_part or (is_filled_in(match[1]) and option.type == "address"):
            return said, ""
        return replace(said, value=match[1]), match[2].strip()

    def _redirected(self, part: Part, said: Said) -> Said:
        """Let what reads a section of this file read it from the new one."""
        if self._is_own_section(part, said):
            key = self.kind if said.name == self.source.kind else said.key
            name = said.value[1:]
            return replace(said, key=key, value=":" + self.names.get(name, name))
        name = said.option.name if said.option is not None else ""
        if name in (*_READS, *_ANY_KIND) and self.source.kind != self.kind:
            words = said.value.rpartition(":")[0] or said.value
            if words in ("%p", "%d%s", "%o", self.source.name):
                self.notes.append(Note(f"{said.key} = {said.value} reads the old file; name the new one", said.line))
            elif any(said.value.partition(":")[0].endswith(suffix) for suffix in SUFFIXES):
                message = f"{said.key} = {said.value}: that file is still read, and is converted by itself"
                self.notes.append(Note(message, said.line))
        return said

    # What is said

    def _remarks(self, said: Said) -> Iterator[Comment]:
        option = said.option
        if option is not None:
            if option.verdict == "differs":
                self.differs.setdefault(option.name, Note(f"{option.name}: {option.note}", said.line))
            elif option.verdict == "not-needed":
                message = f"{option.name} is not needed: {option.note}"
                self.differs.setdefault(option.name, Note(message, said.line))
        elif said.key in known_names():
            row = unsupported.find(said.key)
            instead = f"; {row.instead}" if row is not None and row.instead else ""
            message = f"{said.key}: Penstock does not support it{instead}"
            self.differs.setdefault(said.key, Note(message, said.line))
            yield Comment(message)
        elif not self._is_placeholder(said.key):
            guess = nearest(said.key)
            message = f"{said.key}: there is no such option" + (f"; did you mean {guess}?" if guess else "")
            self.differs.setdefault(said.key, Note(message, said.line))
            yield Comment(message)

    def _is_placeholder(self, key: str) -> bool:
        return key in self.mentioned or key in self.own or is_block_mark(key) or is_filled_in(key)

    def _note_magic(self) -> None:
        """Say which magic variables of the file itself have another value in another file."""
        said_of: set[str] = set()

        def look(letter: str) -> None:
            small = letter.lower() if letter.isalpha() else letter
            if small in _OF_THE_FILE and letter not in said_of and not (small == "e" and self.kind == self.source.kind):
                said_of.add(letter)
                message = f"%{letter} is the {_OF_THE_FILE[small]} of the new file now"
                self.notes.append(Note(message, said.line))

        for said in self.source.said:
            by_magic(said.value, look)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0] or name
