"""The order of sources: environment, command line, then positional files; each value in place, later ones win.

`load` is the way from text to `Settings`. Options that read files (`ini`) are replaced by what the files hold at the
place where they stand, as in uWSGI; then placeholders are filled in, unknown keys are told from slips, and texts become
values. All problems are collected before anything is raised.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from penstock.config import ini, magic
from penstock.config.argv import BOOLEAN_WORDS, Given, Positional, Word
from penstock.config.convert import FALSE_WORDS, convert
from penstock.config.environment import parse_environment
from penstock.config.files import ConfigFile, FileReader, reason
from penstock.config.findings import ConfigError, Finding, Level, Origin
from penstock.config.placeholders import expand, expand_one
from penstock.config.settings import Entry, Setting, Settings
from penstock.config.surroundings import Surroundings
from penstock.options.known import HARMLESS, NOT_IGNORABLE, Family, family_of, instead_of, known_names
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME

DEFAULT_SECTION = "uwsgi"
INI_SUFFIX = ".ini"
OTHER_SUFFIXES = (".xml", ".yaml", ".yml", ".json", ".js", ".toml")
_BLOCK_ENDS = frozenset({"end", "end-for", "end-if", "endfor", "endif"})
_CONFLICT_MARKERS = ("<<<<<<<", ">>>>>>>", "|||||||")
_DEEPEST = 16


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a configuration may come from."""

    words: Sequence[Word]
    """The command line, read by `parse_argv`."""
    environ: Mapping[str, str]
    surroundings: Surroundings
    reader: FileReader


def load(sources: Sources) -> Settings:
    """Read a whole configuration.

    Raises ConfigError, with everything that is wrong, if it can not be used.
    """
    collector = _Collector(sources)
    collector.collect()
    entries, findings, used, failed = expand(collector.entries, sources.environ, sources.reader)
    collector.findings += findings
    settings = _convert_all([one for one in entries if (one.key, one.origin) not in failed], collector.findings)
    _find_overridden(settings, collector.findings)
    strict = settings.get("strict", ())
    _find_unknown(entries, used, bool(strict and strict[-1].value), collector.findings)
    found = _in_reading_order(collector.findings)
    if any(finding.level == "error" for finding in found):
        raise ConfigError(found)
    return Settings(tuple(entries), MappingProxyType(settings), tuple(collector.files), found)


def _in_reading_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Put findings of one file in the order of its lines; files and other sources stay in the order they were met."""
    places = list(dict.fromkeys(finding.origin.name if finding.origin else "" for finding in findings))
    return tuple(
        sorted(findings, key=lambda f: (places.index(f.origin.name), f.origin.line) if f.origin else (len(places), 0))
    )


class _Collector:
    """The list of pairs as it grows, and the files that are being read."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.entries: list[Entry] = []
        self.findings: list[Finding] = []
        self.files: list[str] = []
        self._open: list[tuple[str, str]] = []
        self._last_file = ""
        self._first_letters: dict[str, str] = {}

    def collect(self) -> None:
        """Take every source in its order."""
        for word in (*parse_environment(self._sources.environ), *self._sources.words):
            if isinstance(word, Finding):
                self.findings.append(word)
            elif isinstance(word, Given):
                self._add(Entry(word.key, word.value, word.origin))
        for word in self._sources.words:
            if isinstance(word, Positional):
                self._positional(word)

    def _problem(self, level: Level, code: str, message: str, origin: Origin, cure: str) -> None:
        self.findings.append(Finding(level, code, message, origin, cure))

    def _positional(self, word: Positional) -> None:
        name = self._split_section(word.word)[0]
        if name.endswith(INI_SUFFIX):
            self._read_ini(word.word, word.origin)
        elif name.endswith(OTHER_SUFFIXES):
            kind = name.rpartition(".")[2]
            cure = "write it as an ini file"
            self._problem("error", "unsupported-format", f"{kind} files are not supported yet", word.origin, cure)
        else:
            self._problem(
                "error",
                "not-a-config-file",
                "this is neither an option nor an ini file",
                word.origin,
                _cure_for(word.word),
            )

    # Pairs

    def _add(self, entry: Entry) -> None:
        """Append a pair and obey it at once if it is about reading."""
        option = BY_NAME.get(entry.key)
        if option is not None and option.role == "command" and entry.origin.source == "file":
            cure = f"run penstock --{option.name}"
            self._problem("warning", "command-in-file", f"{entry.key} is ignored in a file", entry.origin, cure)
            return
        self.entries.append(entry)
        if option is None or option.role != "directive":
            return
        if option.name == "ini":
            name = self._known_so_far(entry)
            if name is not None:
                self._read_ini(name, entry.origin)
        elif option.name in ("set", "set-ph"):
            self._set(option.name, entry)

    def _known_so_far(self, entry: Entry) -> str | None:
        """Fill in the placeholders of a name; None where that failed, which the pass over all values will say."""
        value, findings = expand_one(
            entry.value or "", entry, self.entries, self._sources.environ, self._sources.reader
        )
        return None if any(finding.level == "error" for finding in findings) else value

    def _set(self, directive: str, entry: Entry) -> None:
        key, equals, value = (entry.value or "").partition("=")
        if not equals:
            return
        if directive == "set-ph" and (key in BY_NAME or key in known_names()):
            message = f"{key} is an option and can not be a placeholder"
            self._problem("error", "placeholder-is-option", message, entry.origin, "use set, or another name")
            return
        self._add(Entry(key, value, entry.origin, is_placeholder=True))

    # Files

    def _split_section(self, name: str) -> tuple[str, str]:
        """`FILE:SECTION`, `:SECTION` of the file read last, or just a file (whose name may hold a colon)."""
        if ":" not in name or self._sources.reader.exists(name):
            return name, ""
        file, _, section = name.rpartition(":")
        return (file or self._last_file), section

    def _read_ini(self, name: str, origin: Origin) -> None:
        """Add the pairs of one section of a file."""
        if "://" in name:
            message = f"can not read {name}: schemes are not supported yet"
            self._problem("error", "unsupported-scheme", message, origin, "name a plain file")
            return
        file_name, section = self._split_section(name)
        wanted = section or DEFAULT_SECTION
        if (file_name, wanted) in self._open or len(self._open) >= _DEEPEST:
            message = f"[{wanted}] of {file_name} reads itself"
            self._problem("error", "include-loop", message, origin, "remove the ini line")
            return
        file = self._read(file_name, origin)
        if file is None:
            return
        self.files.append(name if not name.startswith(":") else file_name + name)
        self._open.append((file_name, wanted))
        self._last_file = file_name
        self._section(file, section, wanted, origin)
        self._open.pop()

    def _read(self, name: str, origin: Origin) -> ConfigFile | None:
        if not name:
            self._problem("error", "no-file", "no file is named", origin, "write ini = FILE")
            return None
        try:
            return self._sources.reader.read(name)
        except OSError as error:
            where = (
                f"it was looked for in {self._sources.surroundings.cwd}" if not os.path.isabs(name) else "name another"
            )
            self._problem("error", "no-file", f"can not read {name}: {reason(error)}", origin, where)
        except ValueError as error:
            self._problem("error", "not-text", f"can not read {name}: {error}", origin, "save it as plain UTF-8 text")
        return None

    def _section(self, file: ConfigFile, section: str, wanted: str, origin: Origin) -> None:
        """Walk through a file; pairs of other sections are passed over."""
        about_file = magic.file_letters(file, section)
        self._first_letters = self._first_letters or about_file
        table = magic.letters(about_file, self._first_letters, self._sources.surroundings)
        current: str | None = None
        seen: list[str] = []
        for number, raw in ini.split_lines(file.text):
            if ini.is_comment(raw):
                continue
            place = Origin("file", file.name, number)
            text, unknown = magic.substitute(raw, table)
            line = ini.parse_line(text, number)
            if line is None:
                continue
            if line.kind == "open-section":
                cure = f"write [{line.key}]"
                self._problem("error", "section-not-closed", f"[{line.key} has no closing bracket", place, cure)
            if line.kind != "pair":
                current = line.key
                seen.append(line.key)
                continue
            if current is None:
                cure = f"put [{wanted}] on a line above it"
                self._problem("warning", "outside-section", f"{line.key} is ignored, no section has begun", place, cure)
            elif current == wanted:
                self._pair(line, place, unknown)
        if wanted not in seen:
            there = ", ".join(f"[{name}]" for name in dict.fromkeys(seen)) or "no section at all"
            cure = (
                f"put [{wanted}] on its first line"
                if not seen
                else f"add [{wanted}], or name one: {file.name}:{seen[0]}"
            )
            self._problem("error", "no-section", f"{file.name} has no section [{wanted}], but {there}", origin, cure)

    def _pair(self, line: ini.Line, place: Origin, unknown: list[str]) -> None:
        for letter in unknown:
            message = f"{line.key}: {letter} has no meaning and stays as it is"
            self._problem("warning", "magic-unknown", message, place, "write %% for a percent sign")
        if line.key.startswith(_CONFLICT_MARKERS) or (not line.key and line.value.startswith("=====")):
            cure = "keep one side and remove the markers"
            self._problem("warning", "conflict-marker", "a merge conflict was left here", place, cure)
        elif not line.key:
            cure = "remove the line, or give the option's name"
            self._problem("warning", "empty-key", "there is no name before the equals sign", place, cure)
        else:
            self._add(Entry(line.key, line.value, place))


def _cure_for(word: str) -> str:
    if word.lower() in BOOLEAN_WORDS:
        return f"a flag takes its value after an equals sign: --FLAG={word}"
    if word.endswith((".py", ".wsgi")):
        return f"to serve it write --wsgi-file {word}"
    if word.endswith((".conf", ".cfg", ".config", ".uwsgi")):
        return f"to read it as an ini file write --ini {word}"
    return "configuration files end in .ini; penstock --help lists the options"


def _convert_all(entries: Sequence[Entry], findings: list[Finding]) -> dict[str, tuple[Setting, ...]]:
    """Turn every pair that is an option into its value, under the option's own name."""
    settings: dict[str, tuple[Setting, ...]] = {}
    for entry in entries:
        option = BY_NAME.get(entry.key)
        if option is None:
            continue
        value, found = convert(option, entry.key, entry.value, entry.origin)
        findings += found
        if value is not None:
            settings[option.name] = (*settings.get(option.name, ()), Setting(option, value, entry.origin))
    return settings


def _find_overridden(settings: Mapping[str, tuple[Setting, ...]], findings: list[Finding]) -> None:
    """A positional file beats the command line wherever it stands there; that surprises, so it is said."""
    for said in settings.values():
        last = said[-1]
        if last.option.repeatable or last.origin.source == "command line":
            continue
        for earlier in said[:-1]:
            if earlier.origin.source == "command line" and earlier.value != last.value:
                message = f"is overridden by {last.origin}"
                cure = "options of a file win over those before it; write --ini FILE first and the option after it"
                findings.append(Finding("warning", "overridden", message, earlier.origin, cure))


def _find_unknown(entries: Sequence[Entry], used: frozenset[str], strict: bool, findings: list[Finding]) -> None:
    """Tell slips from placeholders: a key that is no option is one only if `%(key)` is used or `set` made it."""
    unsupported: dict[Family | str, list[Entry]] = {}
    for entry in entries:
        if entry.key in BY_NAME:
            continue
        if entry.key in known_names():
            if entry.key in NOT_IGNORABLE:
                findings.append(_essential(entry))
            elif not _changes_nothing(entry):
                unsupported.setdefault(family_of(entry.key) or entry.key, []).append(entry)
        elif not entry.is_placeholder and entry.key not in used and entry.key not in _BLOCK_ENDS:
            guess = nearest(entry.key)
            cure = f"did you mean {guess}?" if guess else "remove it, or use it as %(" + entry.key + ")"
            findings.append(
                Finding(
                    "error" if strict else "warning",
                    "unknown-option",
                    f"there is no option {entry.key}" + ("" if strict else ", it is ignored"),
                    entry.origin,
                    cure,
                )
            )
    findings += map(_unsupported, unsupported.values())


def _essential(entry: Entry) -> Finding:
    """Say that an option can not be left out."""
    why = f"{entry.key} is not supported yet, and without it {NOT_IGNORABLE[entry.key]}"
    return Finding("error", "unsupported-essential", why, entry.origin, instead_of(entry.key) or f"remove {entry.key}")


def _changes_nothing(entry: Entry) -> bool:
    """Whether an option that is not supported yet is switched off, or says what is so anyway."""
    value = (entry.value or "").strip().lower()
    is_off = known_names()[entry.key].argument == "none" and value in FALSE_WORDS
    return is_off or entry.key in _BLOCK_ENDS or HARMLESS.get(entry.key) == value


def _unsupported(entries: Sequence[Entry]) -> Finding:
    """Say that uWSGI knows an option, or several of a family, and Penstock does not."""
    keys = list(dict.fromkeys(entry.key for entry in entries))
    if len(keys) == 1:
        what = f"{keys[0]}, Penstock does not support it yet: it is ignored"
    else:
        what = f"{', '.join(keys[:-1])} and {keys[-1]}, Penstock does not support them yet: they are ignored"
    return Finding("warning", "unsupported-option", f"uWSGI knows {what}", entries[0].origin, instead_of(keys[0]))
