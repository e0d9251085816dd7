"""The list of pairs as it grows: environment, command line, positional files, then what `inherit` names.

Options about reading (directives) are obeyed here, at the place where they stand: files are read, blocks decide which
pairs count, `set` adds pairs. The rest of the pairs is only put in order; what they mean is found out in `load`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.config import magic, pairs
from penstock.config.argv import BOOLEAN_WORDS, Given, Positional, Word
from penstock.config.declared import Declared, declared
from penstock.config.environment import parse_environment
from penstock.config.files import STANDARD_INPUT, ConfigFile, FileReader, Refused, has_scheme, reason
from penstock.config.findings import Finding, Level, Origin
from penstock.config.pairs import DEFAULT_SECTION, Kind, Malformed, Pair, kind_of
from penstock.config.placeholders import expand_one
from penstock.config.settings import Entry
from penstock.config.surroundings import Surroundings
from penstock.options.configuration import BLOCK_ENDS, BLOCK_OPENERS
from penstock.options.known import known_names
from penstock.options.table import BY_NAME
from penstock.values import dataclass, replace

if TYPE_CHECKING:
    # What logic needs is imported when the first block begins.
    from penstock.config.logic import Block

_ENDS = frozenset({"end", *BLOCK_ENDS})
"""uWSGI takes any of them for any block; `end` is no option there, and works all the same."""
MOST_FILES = 1000
MOST_ENTRIES = 100_000
_DEEPEST = 16
_KINDS: dict[str, Kind] = {"ini": "ini", "json": "json", "toml": "toml", "xml": "xml", "yaml": "yaml"}
"""Option -> what the file that it names holds."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a configuration may come from."""

    words: Sequence[Word]
    """The command line, read by `parse_argv`."""
    environ: Mapping[str, str]
    surroundings: Surroundings
    reader: FileReader
    is_reload: bool = False
    """The configuration is read again by a running instance; `if-reload` asks for it."""


class _End(Exception):
    """Reading is over before its end."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line of a text that was put together from several files comes from."""

    first: int
    """The first line of the whole text that is the piece's alone."""
    name: str
    number: int = 1
    """What number that line has in the piece: 2 where the first one was joined to the piece before it."""


class Collector:
    """Takes every source in its order; what it found stands in its fields."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.entries: list[Entry] = []
        self.at_once: list[Entry] = []
        """What declared options act with: before everything else, and not seen by placeholders."""
        self.declared: dict[str, Declared] = {}
        self.findings: list[Finding] = []
        self.files: list[str] = []
        self.kinds: list[Kind] = []
        self.output: list[str] = []
        self.used: set[str] = set()
        """Names that a `%(...)` of a directive mentions."""
        self.exit_status: int | None = None
        self.allows_urls = False
        self._open: list[tuple[str, str]] = []
        self._last_file = ""
        self._last_kind: Kind = "ini"
        self._letters: dict[str, str] = {}
        self._first_letters: dict[str, str] = {}
        self._before: list[str] = []
        self._after: list[str] = []
        self._forbidden: frozenset[str] = frozenset()
        self._allowed: frozenset[str] | None = None
        self._block: Block | None = None
        self._in_block = False
        """An option of the block is being done: what it adds has been through the block already."""
        self._declared_depth = 0

    def collect(self) -> None:
        """Take every source in its order."""
        try:
            self._collect()
        except _End:
            return
        if self._block is not None:
            cure = "add endif or endfor behind the last option that belongs to it"
            message = f"{self._block.entry.key} has no end, so it goes for everything behind it"
            self._problem("warning", "bad-logic", message, self._block.origin, cure)
            self._close_block()

    def _collect(self) -> None:
        for word in (*parse_environment(self._sources.environ), *self._sources.words):
            if isinstance(word, Finding):
                self.findings.append(word)
            elif isinstance(word, Given):
                self._take(Entry(word.key, word.value, word.origin))
        for word in self._sources.words:
            if isinstance(word, Positional):
                self._positional(word)
        index = 0
        while index < len(self.entries):
            # Not an iterator: what is inherited is added to the end, and may inherit in turn.
            entry = self.entries[index]
            if entry.key == "inherit" and not entry.is_obeyed:
                self._include(entry)
            index += 1

    def _problem(self, level: Level, code: str, message: str, origin: Origin, cure: str) -> None:
        finding = Finding(level, code, message, origin, cure)
        if finding not in self.findings[-20:]:
            self.findings.append(finding)

    def _positional(self, word: Positional) -> None:
        kind = kind_of(self._split_section(word.word)[0])
        if kind is not None:
            self._read_file(word.word, kind, word.origin)
        else:
            message = "this is neither an option nor a configuration file"
            self._problem("error", "not-a-config-file", message, word.origin, _cure_for(word.word))

    # Pairs

    def _take(self, entry: Entry) -> None:
        """Let a pair through the lists of what is forbidden, and through the block around it."""
        if entry.key in self._forbidden or (self._allowed is not None and entry.key not in self._allowed):
            which = "blacklist" if entry.key in self._forbidden else "whitelist"
            message = f"{entry.key} is forbidden here by {which}"
            self._problem("error", "forbidden-option", message, entry.origin, f"remove it, or change {which}")
            return
        if self._block is None or (self._in_block and entry.key not in BLOCK_OPENERS):
            self._add(entry)
        elif self._in_block:
            self._nested(self._block, entry)
        elif entry.key in _ENDS:
            self._block.depth -= 1
            if self._block.depth == 0:
                self._close_block()
                self._add(entry)
        elif entry.key in BLOCK_OPENERS:
            self._block.depth += 1
            self._nested(self._block, entry)
        elif self._block.depth == 1:
            self._repeat(self._block, entry)

    def _nested(self, block: Block, entry: Entry) -> None:
        message = f"{entry.key} stands inside {block.entry.key} ({block.origin}); blocks do not nest"
        self._problem("error", "bad-logic", message, entry.origin, "end that one first")

    def _repeat(self, block: Block, entry: Entry) -> None:
        if entry.key == "else":
            block.turn()
            message = "uWSGI has no else: there the options behind it belong to the block as those before it do"
            self._problem("warning", "else", message, entry.origin, "for both, write a second block with if-not-")
            return
        for item in block.items():
            value = entry.value if item is None or entry.value is None else entry.value.replace("%(_)", item)
            self._in_block = True
            self._add(replace(entry, value=value))
            self._in_block = False

    def _close_block(self) -> None:
        if self._block is not None:
            self.findings += self._block.findings
        self._block = None

    def _add(self, entry: Entry) -> None:
        """Append a pair and obey it at once if it is about reading."""
        option = BY_NAME.get(entry.key)
        self._count(entry.origin)
        if option is not None and option.role == "command" and entry.origin.source == "file":
            cure = f"run penstock --{option.name}"
            self._problem("warning", "command-in-file", f"{entry.key} is ignored in a file", entry.origin, cure)
            return
        obey = _OBEY.get(option.name) if option is not None and option.role == "directive" else None
        mine = self.declared.get(entry.key) if option is None and entry.key not in known_names() else None
        is_obeyed = obey is not None or (mine is not None and mine.is_immediate)
        self.entries.append(replace(entry, is_obeyed=is_obeyed))
        if obey is not None:
            obey(self, entry)
        elif mine is not None and mine.is_immediate:
            self._run_declared(mine, entry)

    def _count(self, origin: Origin) -> None:
        """Make sure that there is room for one more pair. Raises _End."""
        if len(self.entries) + len(self.at_once) >= MOST_ENTRIES:
            cure = "look for a loop that repeats too often"
            self._problem("error", "too-much", f"there are more than {MOST_ENTRIES} options", origin, cure)
            raise _End

    def _run_declared(self, mine: Declared, entry: Entry) -> None:
        """Act on a declared option: its parts are obeyed, or kept for `load`; they are no pairs of the list."""
        if self._declared_depth >= _DEEPEST:
            message = f"{entry.key} is declared by itself"
            self._problem("error", "bad-declaration", message, entry.origin, "break the circle")
            return
        self._declared_depth += 1
        for key, value in mine.pairs(entry.value):
            part = Entry(key, value, entry.origin)
            option = BY_NAME.get(key)
            obey = _OBEY.get(option.name) if option is not None and option.role == "directive" else None
            other = self.declared.get(key) if option is None and key not in known_names() else None
            if obey is not None:
                obey(self, part)
            elif other is not None:
                self._run_declared(other, part)
            else:
                self._count(entry.origin)
                self.at_once.append(part)
        self._declared_depth -= 1

    def _known_so_far(self, entry: Entry) -> str | None:
        """Fill in the placeholders of a value; None where that failed, which has been said then."""
        value, findings, used = expand_one(
            entry, self.entries, self._sources.environ, self._sources.reader, allow_urls=self.allows_urls
        )
        self.findings += [finding for finding in findings if finding not in self.findings]
        self.used |= used
        return value

    # Directives

    def _set(self, entry: Entry) -> None:
        key, equals, value = (entry.value or "").partition("=")
        if not equals:
            return
        if BY_NAME[entry.key].name == "set-ph" and (key in BY_NAME or key in known_names()):
            message = f"{key} is an option and can not be a placeholder"
            self._problem("error", "placeholder-is-option", message, entry.origin, "use set, or another name")
            return
        self._add(Entry(key, value, entry.origin, is_placeholder=True))

    def _resolve(self, entry: Entry) -> None:
        value = self._known_so_far(entry)
        key, equals, host = (value or "").partition("=")
        if not equals or not key:
            return
        try:
            address = self._sources.reader.address(host)
        except OSError as error:
            message = f"the address of {host} is not known: {reason(error)}"
            self._problem("error", "no-address", message, entry.origin, "name another host, or write its address")
            return
        self._add(Entry(key, address, entry.origin, is_placeholder=True))

    def _open_block(self, entry: Entry) -> None:
        from penstock.config.logic import Block, World

        value = self._known_so_far(entry)
        sources = self._sources
        world = World(sources.environ, sources.surroundings, sources.reader, sources.is_reload, self.entries)
        self._block = Block(entry, value or "", world)

    def _end_block(self, entry: Entry) -> None:
        """The block itself was closed before this pair was added; see `_take`."""

    def _declare(self, entry: Entry) -> None:
        name = BY_NAME[entry.key].name
        mine = declared(entry.value or "", is_immediate=name == "declare-option")
        if mine is None:
            cure = f"write {name} = NAME=KEY=VALUE;KEY=VALUE"
            self._problem("error", "bad-declaration", "this declares no option", entry.origin, cure)
            return
        if mine.bad_part is not None:
            message = f"{mine.name}: {mine.bad_part} has no equals sign, so it and what follows are left out"
            self._problem("warning", "bad-declaration", message, entry.origin, "write KEY=VALUE;KEY=VALUE")
        if mine.name in BY_NAME or mine.name in known_names():
            message = f"{mine.name} is an option already, and stays what it is"
            self._problem("warning", "bad-declaration", message, entry.origin, "choose another name")
        self.declared.setdefault(mine.name, mine)

    def _inject_before(self, entry: Entry) -> None:
        self._before += filter(None, [self._known_so_far(entry)])

    def _inject_after(self, entry: Entry) -> None:
        self._after += filter(None, [self._known_so_far(entry)])

    def _iprint(self, entry: Entry) -> None:
        self.output.append(self._known_so_far(entry) or "")

    def _exit(self, entry: Entry) -> None:
        value = self._known_so_far(entry) if entry.value is not None else "1"
        if value is None:
            return
        digits = value.strip().lstrip("+-0")[:3]
        self.exit_status = int(digits) % 256 if digits.isascii() and digits.isdigit() else 0
        cure = "remove it, or change what its block asks for"
        self._problem("error", "exit-asked", f"exit = {value}: the configuration ends here", entry.origin, cure)
        raise _End

    def _blacklist(self, entry: Entry) -> None:
        self._forbidden = frozenset((self._known_so_far(entry) or "").split(" "))

    def _end_blacklist(self, entry: Entry) -> None:
        self._forbidden = frozenset()

    def _whitelist(self, entry: Entry) -> None:
        self._allowed = frozenset((self._known_so_far(entry) or "").split(" "))

    def _end_whitelist(self, entry: Entry) -> None:
        self._allowed = None

    def _allow_urls(self, entry: Entry) -> None:
        self.allows_urls = (entry.value or "true").lower() in ("true", "1", "on", "yes")

    def _read_kind(self, entry: Entry) -> None:
        name = self._known_so_far(entry)
        if name is not None:
            self._read_file(name, _KINDS[BY_NAME[entry.key].name], entry.origin)

    def _include(self, entry: Entry) -> None:
        name = self._known_so_far(entry)
        if name is None:
            return
        file_name = self._split_section(name)[0]
        kind = self._last_kind if name.startswith(":") else kind_of(file_name)
        if kind is None:
            message = f"{entry.key} = {name}: its name does not tell what kind of file it is"
            self._problem("error", "not-a-config-file", message, entry.origin, _cure_for(name))
            return
        self._read_file(name, kind, entry.origin)

    # Files

    def _split_section(self, name: str) -> tuple[str, str]:
        """`FILE:SECTION`, `:SECTION` of the file read last, or just a file (whose name may hold a colon)."""
        scheme, mark, rest = name.partition("://") if has_scheme(name) else ("", "", name)
        slash = rest.rfind("/") if mark else -1
        colon = rest.rfind(":")
        if colon <= slash or (not mark and self._sources.reader.exists(name)):
            return name, ""
        return (scheme + mark + rest[:colon]) or self._last_file, rest[colon + 1 :]

    def _read_file(self, name: str, kind: Kind, origin: Origin) -> None:
        """Add the pairs of one section of a file."""
        file_name, section = self._split_section(name)
        wanted = section or DEFAULT_SECTION
        if (file_name, wanted) in self._open or len(self._open) >= _DEEPEST:
            message = f"[{wanted}] of {file_name} reads itself"
            self._problem("error", "include-loop", message, origin, f"remove the {kind} line")
            return
        if len(self.files) >= MOST_FILES:
            self._problem("error", "too-much", f"more than {MOST_FILES} files are read", origin, "look for a loop")
            raise _End
        file = self._read(file_name, origin)
        if file is None:
            return
        self.files.append(name if not name.startswith(":") else file_name + name)
        self.kinds.append(kind)
        self._open.append((file_name, wanted))
        self._last_file, self._last_kind = file_name, kind
        self._find_letters(file, name, section)
        self._section(file, kind, section, origin)
        self._open.pop()

    def _read(self, name: str, origin: Origin) -> ConfigFile | None:
        if not name:
            self._problem("error", "no-file", "no file is named", origin, "write ini = FILE")
            return None
        try:
            return self._sources.reader.read(name, allow_urls=self.allows_urls)
        except Refused as refused:
            self._problem("error", refused.code, str(refused), origin, refused.cure)
        except OSError as error:
            where = "name another"
            if isinstance(error, FileNotFoundError) and not os.path.isabs(name) and not has_scheme(name):
                where = f"it was looked for in {self._sources.surroundings.cwd}"
            self._problem("error", "no-file", f"can not read {name}: {reason(error)}", origin, where)
        except ValueError as error:
            self._problem("error", "not-text", f"can not read {name}: {error}", origin, "save it as plain UTF-8 text")
        return None

    def _find_letters(self, file: ConfigFile, name: str, section: str) -> None:
        """What is no file on disk keeps the letters of the one before it, and `:section` those of its file."""
        if name.startswith(":"):
            self._letters = {**self._letters, "o": "", "x": section}
        elif not file.path:
            self._letters = {**magic.NO_FILE, **self._letters, "o": file.name}
        else:
            self._letters = magic.file_letters(file, section)
            self._first_letters = self._first_letters or self._letters

    def _section(self, file: ConfigFile, kind: Kind, section: str, origin: Origin) -> None:
        text, places = self._inject(file, origin)
        table = magic.letters(self._letters, self._first_letters or magic.NO_FILE, self._sources.surroundings)
        escapes = magic.percent_escapes(text)
        text, unknown = magic.substitute_text(text, table)

        def place(line: int) -> Origin:
            if not line:
                return Origin("file", file.name)
            piece = places[bisect_right(places, line, key=lambda piece: piece.first) - 1]
            return Origin("file", piece.name, line - piece.first + piece.number)

        try:
            found = pairs.read(kind, text, section)
        except Malformed as malformed:
            self._problem("error", "malformed", str(malformed), place(malformed.line), malformed.cure)
            return
        for item in found.items:
            if isinstance(item, Pair):
                self._find_unknown_letters(item, unknown, place(item.line))
                self._find_escapes(item, escapes, place(item.line))
                if self._is_text(item, place(item.line)):
                    self._take(Entry(item.key, item.value, place(item.line)))
            else:
                self._problem(item.level, item.code, item.message, place(item.line), item.cure)
        if found.others is not None:
            self._no_section(file.name, kind, section or DEFAULT_SECTION, found.others, origin)

    def _no_section(self, name: str, kind: Kind, wanted: str, others: Sequence[str], origin: Origin) -> None:
        there = "but " + ", ".join(f"[{other}]" for other in others) if others else "and no other either"
        cure = f"add [{wanted}], or name one: {name}:{others[0]}" if others else f"put [{wanted}] on its first line"
        if kind != "ini" and not others:
            cure = f"put the options into {wanted}"
        self._problem("error", "no-section", f"{name} has no section [{wanted}], {there}", origin, cure)

    def _inject(self, file: ConfigFile, origin: Origin) -> tuple[str, list[_Place]]:
        """Put the texts of inject-before and inject-after around that of a file."""
        if not self._before and not self._after:
            return file.text, [_Place(1, file.name)]
        before = [self._read(name, origin) for name in self._before]
        after = [self._read(name, origin) for name in self._after]
        text = ""
        places: list[_Place] = []
        for piece in (*before, file, *after):
            if piece is not None:
                joined = bool(text) and not text.endswith("\n")
                places.append(_Place(text.count("\n") + 1 + joined, piece.name, 1 + joined))
                text += piece.text
        return text, places

    def _find_unknown_letters(self, pair: Pair, unknown: Mapping[int, list[str]], place: Origin) -> None:
        option = BY_NAME.get(pair.key)
        if option is not None and option.name == "log-date":
            # They are strftime's, for whom they stay; those that files give another meaning to are `magic-in-date`.
            return
        for letter in unknown.get(pair.line, ()):
            if letter in pair.value or letter in pair.key:
                message = f"{pair.key}: {letter} has no meaning and stays as it is"
                self._problem("warning", "magic-unknown", message, place, "write %% for a percent sign")

    def _find_escapes(self, pair: Pair, escapes: Mapping[int, list[str]], place: Origin) -> None:
        """A password in a URL is the usual victim."""
        if pair.line in escapes and (pair.key == "env" or "://" in pair.value):
            escape = escapes[pair.line][0]
            message = f"{pair.key}: {escape[:2]} of {escape} is a part of the file's own path, and was replaced by it"
            self._problem("warning", "percent-escape", message, place, f"write %{escape} where {escape} is meant")

    def _is_text(self, pair: Pair, place: Origin) -> bool:
        """Half of a surrogate pair, as an escape of JSON may hold, can not be part of any name or path."""
        try:
            (pair.key + pair.value).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            message = "the value holds half a character" if "\n" not in pair.key else "half a character"
            self._problem("error", "not-text", message, place, "write the whole character")
            return False
        return True


_OBEY: dict[str, Callable[[Collector, Entry], None]] = {
    "allow-config-urls": Collector._allow_urls,
    "blacklist": Collector._blacklist,
    "config": Collector._include,
    "declare-option": Collector._declare,
    "declare-option2": Collector._declare,
    "end-blacklist": Collector._end_blacklist,
    "end-if": Collector._end_block,
    "end-whitelist": Collector._end_whitelist,
    "exit": Collector._exit,
    "include": Collector._include,
    "inject-after": Collector._inject_after,
    "inject-before": Collector._inject_before,
    "iprint": Collector._iprint,
    "resolve": Collector._resolve,
    "set": Collector._set,
    "set-ph": Collector._set,
    "whitelist": Collector._whitelist,
    **dict.fromkeys(_KINDS, Collector._read_kind),
    **dict.fromkeys(sorted({BY_NAME[name].name for name in BLOCK_OPENERS}), Collector._open_block),
}
"""The directives that are obeyed where they stand; `inherit`, `get`, `print`, `show-config` and `strict` are not."""


def _cure_for(word: str) -> str:
    if word == STANDARD_INPUT:
        return "to read standard input say what it holds: --ini -"
    if word.lower() in BOOLEAN_WORDS:
        return f"a flag takes its value after an equals sign: --FLAG={word}"
    if word.endswith((".py", ".wsgi")):
        return f"to serve it write --wsgi-file {word}"
    if has_scheme(word) or word.endswith((".conf", ".cfg", ".config", ".uwsgi")):
        return f"to read it as an ini file write --ini {word}"
    return "configuration files end in .ini, .yaml, .json, .xml or .toml; penstock --help lists the options"
