"""Placeholders: `$(NAME)` from the environment, `@(file)` from a file, `%(key)` from the configuration itself.

Three passes in this order over all values, once everything is read, so that a placeholder may name a key that stands
further down. In each pass the innermost placeholder comes first, what was put in is read again, and what names nothing
stays as it is. The one place that reads something is `@(file)`, through the reader it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from penstock.config.convert import BRACES
from penstock.config.files import FileReader, Refused, reason
from penstock.config.findings import Finding, Origin
from penstock.config.settings import Entry
from penstock.options.log_variables import is_log_variable
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME
from penstock.values import replace

MOST_REPLACEMENTS = 1000
"""In one value; more can only be a placeholder that contains itself."""
LARGEST_VALUE = 1 << 18

LOG_FORMATS = frozenset({"log-format", "logformat"})
"""In these `%(name)` is first of all a variable of the log line."""

_OPERATORS = frozenset({"+", "-", "*", "/"})
_STEPS = {"++": 1, "--": -1}
_DEEPEST_GROUP = 50
_MARKS = {symbol: rf"[{symbol}()]" for symbol in "$@%"}


class Expanded(NamedTuple):
    """All values with their placeholders filled in."""

    entries: list[Entry]
    findings: list[Finding]
    used: frozenset[str]
    """Every name that a `%(...)` mentions, whether or not it is set."""
    failed: frozenset[tuple[str, Origin]]
    """Key and place of each value that has an error, so that nothing else need be said about it."""


def expand(
    entries: list[Entry], environ: Mapping[str, str], reader: FileReader, *, allow_urls: bool = False
) -> Expanded:
    """Fill in every placeholder."""
    expander = _Expander(entries, environ, reader, allow_urls=allow_urls)
    expander.run()
    return Expanded(expander.entries, list(expander.findings), frozenset(expander.used), frozenset(expander.failed))


class Filled(NamedTuple):
    """One value with its placeholders filled in."""

    value: str | None
    """None where that failed, which the findings explain."""
    findings: list[Finding]
    used: set[str]
    """As in `Expanded`."""


def expand_one(
    entry: Entry, entries: list[Entry], environ: Mapping[str, str], reader: FileReader, *, allow_urls: bool = False
) -> Filled:
    """Fill in the placeholders of one value with what is known so far, for options that are obeyed while reading."""
    if not _has_any(entry.value or ""):
        return Filled(entry.value or "", [], set())
    expander = _Expander(entries, environ, reader, allow_urls=allow_urls)
    value = expander.finish(entry)
    failed = any(finding.level == "error" for finding in expander.findings)
    return Filled(None if failed else value, list(expander.findings), expander.used)


class _Expander:
    def __init__(
        self, entries: list[Entry], environ: Mapping[str, str], reader: FileReader, *, allow_urls: bool = False
    ) -> None:
        self.entries = list(entries)
        self.environ = environ
        self.reader = reader
        self.allow_urls = allow_urls
        self.findings: dict[Finding, None] = {}
        """In the order in which they were met; the same one may be met several times."""
        self.used: set[str] = set()
        self.failed: set[tuple[str, Origin]] = set()
        self.said_environment: dict[str, str] = {}
        self.firsts: dict[str, Entry] = {}
        """The first entry of each key: unlike for options, that one counts."""

    def run(self) -> None:
        self._collect_said_environment()
        everything = range(len(self.entries))
        self.firsts = self._first_of_each()
        for one_pass in (self._environment_pass, self._file_pass, self._key_pass):
            for index in everything:
                self._apply(one_pass, index)

    def finish(self, entry: Entry) -> str:
        """Fill in one value with what the entries are so far."""
        self._collect_said_environment()
        self.firsts = self._first_of_each()
        value = entry.value or ""
        for one_pass in (self._environment_pass, self._file_pass, self._key_pass):
            value = one_pass(entry, value)
        return value

    def _first_of_each(self) -> dict[str, Entry]:
        firsts: dict[str, Entry] = {}
        for entry in self.entries:
            firsts.setdefault(entry.key, entry)
        return firsts

    def _apply(self, one_pass: Callable[[Entry, str], str], index: int) -> None:
        entry = self.entries[index]
        if entry.is_obeyed or entry.value is None or not _has_any(entry.value):
            return
        value = one_pass(entry, entry.value)
        if value != entry.value:
            self.entries[index] = replace(entry, value=value)
            if self.firsts.get(entry.key) is entry:
                self.firsts[entry.key] = self.entries[index]

    def _collect_said_environment(self) -> None:
        """`env = NAME=VALUE` lines count for `$(NAME)` too, where the real environment has no such variable."""
        for entry in self.entries:
            if entry.key != "env":
                continue
            name, equals, value = (entry.value or "").partition("=")
            if equals:
                self.said_environment[name] = self._fill(entry, value, "$", self._environment_value, quiet=True)

    def _warn(self, entry: Entry, code: str, message: str, cure: str) -> None:
        self.findings[Finding("warning", code, message, entry.origin, cure)] = None

    def _error(self, entry: Entry, code: str, message: str, cure: str) -> None:
        self.failed.add((entry.key, entry.origin))
        self.findings[Finding("error", code, message, entry.origin, cure)] = None

    # The three passes

    def _environment_pass(self, entry: Entry, value: str) -> str:
        option = BY_NAME.get(entry.key)
        braces = re.search(BRACES, value) if option is not None and not option.has_variables else None
        if braces is not None and option is not None and option.is_number and braces[0] == value:
            # The error about the number says it.
            braces = None
        if braces is not None:
            self._warn(
                entry,
                "placeholder-braces",
                f"{entry.key}: {braces[0]} stays as it is",
                f"the variable of the environment is written $({braces[1]})",
            )
        return self._fill(entry, value, "$", self._environment_value)

    def _file_pass(self, entry: Entry, value: str) -> str:
        return self._fill(entry, value, "@", self._file_value)

    def _key_pass(self, entry: Entry, value: str) -> str:
        return self._fill(entry, value, "%", self._key_value)

    def _fill(
        self,
        entry: Entry,
        value: str,
        symbol: str,
        look_up: Callable[[Entry, str, bool], str | None],
        quiet: bool = False,
    ) -> str:
        """Replace each `symbol(...)` from the left until none is left that stands for something."""
        position = 0
        replaced = 0
        names_nothing: set[str] = set()
        while (span := _next(value, symbol, position)) is not None:
            start, end = span
            name = value[start + 2 : end]
            found = None if name in names_nothing else look_up(entry, name, quiet)
            if found is None:
                names_nothing.add(name)
                position = end
                continue
            value = value[:start] + found + value[end + 1 :]
            # One symbol back: what was put in may complete the placeholder around it.
            position = max(0, value.rfind(symbol, 0, start))
            replaced += 1
            if replaced > MOST_REPLACEMENTS or len(value) > LARGEST_VALUE:
                self._error(
                    entry, "placeholder-loop", f"{entry.key}: a placeholder contains itself", "break the circle"
                )
                break
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
        try:
            text = self.reader.read(name, allow_urls=self.allow_urls).text
        except Refused as refused:
            self._error(entry, refused.code, f"{entry.key}: {refused}", refused.cure)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            self._error(entry, "no-file", f"{entry.key}: can not read {name}: {why}", "name a file that can be read")
        else:
            return text[:-1] if text.endswith(("\n", "\r")) else text
        return None

    def _key_value(self, entry: Entry, inside: str, quiet: bool) -> str | None:
        if entry.key in LOG_FORMATS and (is_log_variable(inside)):
            return None
        if " " not in inside:
            return self._single_key(entry, inside)
        return _Expression(self._known_or_nothing).evaluate(inside)

    def _single_key(self, entry: Entry, name: str) -> str | None:
        self.used.add(name)
        value = self._first(name)
        if value is None and entry.key not in LOG_FORMATS:
            guess = nearest(name, {other.key for other in self.entries if other.key})
            cure = f"did you mean %({guess})?" if guess else f"add a line {name} = VALUE"
            if name == "_":
                cure = "it stands for something only between for or if and its end"
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
        """The first occurrence counts, and where that has no value there is none."""
        first = self.firsts.get(name)
        return first.value if first is not None else None


def _has_any(value: str) -> bool:
    """Tell whether there may be anything to fill in, or to say about braces."""
    return "(" in value or "${" in value


def _next(value: str, symbol: str, position: int) -> tuple[int, int] | None:
    """Find the next placeholder: the place of its symbol and of its closing bracket.

    As in uWSGI's reader another symbol inside begins a placeholder of its own, so that the innermost is found first;
    brackets inside are counted, and one with nothing in it is none.
    """
    start = value.find(symbol + "(", position)
    while start >= 0:
        depth = 0
        for mark in re.compile(_MARKS[symbol]).finditer(value, start + 2):
            if mark[0] == symbol:
                break
            if mark[0] == "(":
                depth += 1
            elif depth:
                depth -= 1
            elif mark.start() == start + 2:
                break
            else:
                return start, mark.start()
        else:
            return None
        start = value.find(symbol + "(", mark.start())
    return None


class _Expression:
    """`%(a b)` joins, `%(a + 1)` counts: from left to right, with brackets for groups, in whole numbers."""

    def __init__(self, look_up: Callable[[str], str]) -> None:
        self._look_up = look_up

    def evaluate(self, text: str) -> str | None:
        """None where there is nothing to join or to count."""
        tokens = [token for token in text.replace("(", " ( ").replace(")", " ) ").split(" ") if token]
        return self._group(list(reversed(tokens)), 0)

    def _group(self, tokens: list[str], depth: int) -> str | None:
        result: str | None = None
        operator = ""
        while tokens:
            token = tokens.pop()
            if token == ")":
                break
            if token in _STEPS:
                result = None if result is None else str(_wrapped(_number(result) + _STEPS[token]))
                operator = ""
                continue
            if token in _OPERATORS:
                operator = token
                continue
            is_group = token == "(" and depth < _DEEPEST_GROUP
            operand = (self._group(tokens, depth + 1) or "") if is_group else self._operand(token)
            result = _combine(result or "", operator, operand)
            operator = ""
        return result

    def _operand(self, token: str) -> str:
        return token if token.isascii() and token.isdigit() else self._look_up(token)


_LEADING_NUMBER = r"[ \t\n\v\f\r]*([+-]?)([0-9]+)"


def _number(text: str) -> int:
    """Read leading digits as C's strtoll does: nothing is 0, and what is too large is the largest there is."""
    match = re.match(_LEADING_NUMBER, text)
    if match is None:
        return 0
    digits = match[2].lstrip("0")
    number = int(digits or "0") if len(digits) <= 19 else 1 << 63
    return max(-number, -(1 << 63)) if match[1] == "-" else min(number, (1 << 63) - 1)


def _wrapped(number: int) -> int:
    """Keep 64 bits, as the sum of two numbers does in C."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _combine(left: str, operator: str, right: str) -> str:
    if not operator:
        return left + right
    a, b = _number(left), _number(right)
    if operator == "+":
        return str(_wrapped(a + b))
    if operator == "-":
        return str(_wrapped(a - b))
    if operator == "*":
        return str(_wrapped(a * b))
    return str(_wrapped(abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1))) if b else "0"
