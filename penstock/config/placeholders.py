"""Placeholders: `$(NAME)` from the environment, `@(file)` from a file, `%(key)` from the configuration itself.

Three passes in this order over all values, once everything is read, so that a placeholder may name a key that stands
further down. The one place that reads something is `@(file)`, through the reader it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from penstock.config.files import FileReader, reason
from penstock.config.findings import Finding, Origin
from penstock.config.settings import Entry
from penstock.options.known import BLOCKS
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME

MOST_REPLACEMENTS = 1000
"""In one value; more can only be a placeholder that contains itself."""
LARGEST_VALUE = 1 << 20

LOG_FORMATS = frozenset({"log-format", "logformat"})
"""In these `%(name)` is first of all a variable of the log line."""

LOG_VARIABLES = frozenset(
    (
        "addr",
        "cl",
        "core",
        "ctime",
        "epoch",
        "ftime",
        "headers",
        "host",
        "hsize",
        "ioerr",
        "ltime",
        "method",
        "micros",
        "modifier1",
        "modifier2",
        "msecs",
        "pid",
        "pktsize",
        "proto",
        "referer",
        "rerr",
        "rss",
        "rssM",
        "rsize",
        "secs",
        "size",
        "status",
        "switches",
        "time",
        "tmicros",
        "tmsecs",
        "uagent",
        "uri",
        "user",
        "vars",
        "vsz",
        "vszM",
        "werr",
        "wid",
    )
)

_BRACES = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A variable as the shell writes it."""
_OPERATORS = frozenset({"+", "-", "*", "/"})
_STEPS = {"++": 1, "--": -1}
_DEEPEST_GROUP = 50


class Expanded(NamedTuple):
    """All values with their placeholders filled in."""

    entries: list[Entry]
    findings: list[Finding]
    used: frozenset[str]
    """Every name that a `%(...)` mentions, whether or not it is set."""
    failed: frozenset[tuple[str, Origin]]
    """Key and place of each value that has an error, so that nothing else need be said about it."""


def expand(entries: list[Entry], environ: Mapping[str, str], reader: FileReader) -> Expanded:
    """Fill in every placeholder."""
    expander = _Expander(entries, environ, reader)
    expander.run()
    return Expanded(expander.entries, expander.findings, frozenset(expander.used), frozenset(expander.failed))


def expand_one(
    value: str, entry: Entry, entries: list[Entry], environ: Mapping[str, str], reader: FileReader
) -> tuple[str, list[Finding]]:
    """Fill in the placeholders of one value with what is known so far, for options that are obeyed while reading."""
    expander = _Expander([*entries, replace(entry, key="", value=value)], environ, reader)
    return expander.finish_last(), expander.findings


class _Expander:
    def __init__(self, entries: list[Entry], environ: Mapping[str, str], reader: FileReader) -> None:
        self.entries = list(entries)
        self.environ = environ
        self.reader = reader
        self.findings: list[Finding] = []
        self.used: set[str] = set()
        self.failed: set[tuple[str, Origin]] = set()
        self.said_environment: dict[str, str] = {}

    def run(self) -> None:
        self._collect_said_environment()
        everything = range(len(self.entries))
        for one_pass in (self._environment_pass, self._file_pass, self._key_pass):
            for index in everything:
                self._apply(one_pass, index)

    def finish_last(self) -> str:
        self._collect_said_environment()
        for one_pass in (self._environment_pass, self._file_pass, self._key_pass):
            self._apply(one_pass, len(self.entries) - 1)
        return self.entries[-1].value or ""

    def _apply(self, one_pass: Callable[[Entry, str], str], index: int) -> None:
        entry = self.entries[index]
        if entry.value is not None:
            self.entries[index] = replace(entry, value=one_pass(entry, entry.value))

    def _collect_said_environment(self) -> None:
        """`env = NAME=VALUE` lines count for `$(NAME)` too, where the real environment has no such variable."""
        for entry in self.entries:
            name, equals, value = (entry.value or "").partition("=")
            if entry.key == "env" and equals:
                self.said_environment[name] = self._fill(entry, value, "$(", self._environment_value, quiet=True)

    def _warn(self, entry: Entry, code: str, message: str, cure: str) -> None:
        finding = Finding("warning", code, message, entry.origin, cure)
        if finding not in self.findings:
            self.findings.append(finding)

    def _error(self, entry: Entry, code: str, message: str, cure: str) -> None:
        self.failed.add((entry.key, entry.origin))
        self.findings.append(Finding("error", code, message, entry.origin, cure))

    # The three passes

    def _environment_pass(self, entry: Entry, value: str) -> str:
        braces = _BRACES.search(value) if entry.key in BY_NAME else None
        if braces is not None:
            self._warn(
                entry,
                "placeholder-braces",
                f"{entry.key}: {braces[0]} stays as it is",
                f"the variable of the environment is written $({braces[1]})",
            )
        return self._fill(entry, value, "$(", self._environment_value)

    def _file_pass(self, entry: Entry, value: str) -> str:
        return self._fill(entry, value, "@(", self._file_value)

    def _key_pass(self, entry: Entry, value: str) -> str:
        return self._fill(entry, value, "%(", self._key_value, rescan=True)

    def _fill(
        self,
        entry: Entry,
        value: str,
        opening: str,
        look_up: Callable[[Entry, str, bool], str | None],
        rescan: bool = False,
        quiet: bool = False,
    ) -> str:
        """Replace each `opening...)`; with `rescan` what was put in is read again."""
        position = 0
        for _ in range(MOST_REPLACEMENTS):
            start = value.find(opening, position)
            end = _closing(value, start + len(opening)) if start >= 0 else -1
            if end < 0:
                return value
            found = look_up(entry, value[start + len(opening) : end], quiet)
            if found is None:
                position = start + len(opening)
                continue
            value = value[:start] + found + value[end + 1 :]
            position = start if rescan else start + len(found)
            if len(value) > LARGEST_VALUE:
                break
        if opening == "%(":
            self._error(entry, "placeholder-loop", f"{entry.key}: a placeholder contains itself", "break the circle")
        return value

    # What each kind stands for

    def _environment_value(self, entry: Entry, name: str, quiet: bool) -> str | None:
        """`NAME`, and as in uWSGI 2.1 `NAME-default` (if unset) and `NAME:-default` (if unset or empty)."""
        if name in self.environ:
            return self.environ[name]
        if name in self.said_environment:
            return self.said_environment[name]
        plain, dash, default = name.partition("-")
        if dash:
            value = self.environ.get(plain.removesuffix(":"), self.said_environment.get(plain.removesuffix(":")))
            return default if value is None or (plain.endswith(":") and not value) else value
        if not quiet:
            self._warn(
                entry,
                "placeholder-env-unset",
                f"{entry.key}: the environment variable {name} is not set, so $({name}) stays as it is",
                "set it, or write a default: $(" + name + ":-VALUE)",
            )
        return None

    def _file_value(self, entry: Entry, name: str, quiet: bool) -> str | None:
        if "://" in name:
            self._error(
                entry, "unsupported-scheme", f"{entry.key}: @({name}) is not supported yet", "name a plain file"
            )
            return None
        try:
            return self.reader.read(name).text.removesuffix("\n")
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            self._error(entry, "no-file", f"{entry.key}: can not read {name}: {why}", "name a file that can be read")
            return None

    def _key_value(self, entry: Entry, inside: str, quiet: bool) -> str | None:
        if entry.key in LOG_FORMATS and (inside in LOG_VARIABLES or inside.startswith(("var.", "metric."))):
            return None
        if " " not in inside:
            return self._single_key(entry, inside)
        return _Expression(self._known_or_nothing).evaluate(inside)

    def _single_key(self, entry: Entry, name: str) -> str | None:
        self.used.add(name)
        value = self._first(name)
        in_a_block = name == "_" and any(other.key in BLOCKS for other in self.entries)
        if value is None and entry.key not in LOG_FORMATS and not in_a_block:
            guess = nearest(name, {other.key for other in self.entries if other.key})
            cure = f"did you mean %({guess})?" if guess else f"add a line {name} = VALUE"
            self._warn(
                entry,
                "placeholder-unknown",
                f"{entry.key}: nothing is called {name}, so %({name}) stays as it is",
                cure,
            )
        return value

    def _known_or_nothing(self, name: str) -> str:
        self.used.add(name)
        return self._first(name) or ""

    def _first(self, name: str) -> str | None:
        """The first occurrence counts, unlike for options themselves; one without a value is not there."""
        return next((e.value for e in self.entries if e.key == name and e.value is not None), None)


def _closing(value: str, start: int) -> int:
    """Find the bracket that closes the one before `start`, or -1."""
    depth = 1
    for index in range(start, len(value)):
        if value[index] == "(":
            depth += 1
        elif value[index] == ")":
            depth -= 1
            if depth == 0:
                return index
    return -1


class _Expression:
    """`%(a b)` joins, `%(a + 1)` counts: from left to right, with brackets for groups, in whole numbers."""

    def __init__(self, look_up: Callable[[str], str]) -> None:
        self._look_up = look_up

    def evaluate(self, text: str) -> str:
        tokens = text.replace("(", " ( ").replace(")", " ) ").split()
        return self._group(list(reversed(tokens)), 0)

    def _group(self, tokens: list[str], depth: int) -> str:
        result = ""
        operator = ""
        while tokens:
            token = tokens.pop()
            if token == ")":
                break
            if token in _STEPS:
                result = str(_number(result) + _STEPS[token])
                continue
            if token in _OPERATORS:
                operator = token
                continue
            is_group = token == "(" and depth < _DEEPEST_GROUP
            operand = self._group(tokens, depth + 1) if is_group else self._operand(token)
            result = _combine(result, operator, operand)
            operator = ""
        return result

    def _operand(self, token: str) -> str:
        return token if token.isascii() and token.isdigit() else self._look_up(token)


def _number(text: str) -> int:
    """Read leading digits as C's atoi does; nothing is 0."""
    text = text.strip()
    sign = -1 if text.startswith("-") else 1
    digits = ""
    for character in text.lstrip("+-"):
        if not ("0" <= character <= "9") or len(digits) > 18:
            break
        digits += character
    return sign * int(digits or "0")


def _combine(left: str, operator: str, right: str) -> str:
    if not operator:
        return left + right
    a, b = _number(left), _number(right)
    if operator == "+":
        return str(a + b)
    if operator == "-":
        return str(a - b)
    if operator == "*":
        return str(a * b)
    return str(abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)) if b else "0"
