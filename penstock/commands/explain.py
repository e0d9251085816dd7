"""`penstock explain OPTION [FILE ...]`: what an option does and what a configuration makes of it; or a finding.

What the tables say is `describe`'s; here is what the configuration adds: the value, where it was set, what it
overrides, and what is wrong with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from penstock.commands import configuration
from penstock.commands.describe import details, details_of_unsupported
from penstock.commands.terminal import PLAIN_STYLE, Style, plain, style, width, wrap, write
from penstock.config.findings import Finding
from penstock.config.settings import Entry
from penstock.doctor import catalogue
from penstock.doctor.report import Report, examine
from penstock.options import table
from penstock.options.option import Option, Value
from penstock.options.secrets import shown, without_secrets
from penstock.options.suggest import nearest
from penstock.options.unsupported import find as find_unsupported
from penstock.plan.machine import Machine

SUMMARY = "explain an option, with its value in a configuration, or a finding"
USAGE = "OPTION [FILE | OPTION ...]"

TEXT = """\
usage: penstock explain OPTION [FILE | - | OPTION ...]

  penstock explain harakiri            what it does, its default, how it differs from uWSGI
  penstock explain harakiri app.ini    and the value there: where it was set, what it overrides
  penstock explain no-module           what a finding of penstock check means
"""


def run(arguments: Sequence[str]) -> int:
    """Print what there is to say; 1 when nobody knows the name, 2 when the configuration can not be read."""
    words = list(arguments)
    if not words or words[0] in ("--help", "-h"):
        (sys.stdout if words else sys.stderr).write(TEXT)
        return 0 if words else 1
    name = words[0].lstrip("-").partition("=")[0]
    option = table.find(name) or table.BY_SHORT.get(name)
    sources = configuration.sources(words[1:]) if words[1:] else None
    report = examine(sources, Machine.here()) if sources is not None else None
    lines = list(_described(name, option, report, width(), style()))
    if not lines:
        sys.stderr.write(f"[penstock] {plain(_not_found(name))}\n")
        return 1
    write(lines)
    return configuration.CAN_NOT_LOOK if report is not None and _unread(report) else 0


def _unread(report: Report) -> list[Finding]:
    """What kept a part of the configuration from being read, so that nobody knows what is set there."""
    return [finding for finding in report.findings if finding.code in _UNREAD]


def _described(
    name: str, option: Option | None, report: Report | None, columns: int, style: Style = PLAIN_STYLE
) -> Iterator[str]:
    """Everything about a name: from the tables, then from the configuration; nothing if nobody knows it."""
    row = find_unsupported(name) if option is None else None
    finding = catalogue.find(name)
    if option is not None:
        yield from details(option, columns, style)
    elif row is not None:
        yield from details_of_unsupported(row, columns, style)
    elif finding is None:
        yield from _own(name, report, style)
    if finding is not None:
        # A few options and findings share their name.
        yield from _finding(finding, columns, style)
    if report is None:
        return
    names = option.names if option is not None else row.names if row is not None else (name,)
    said = [entry for entry in report.settings.entries if entry.key in names]
    if option is not None or row is not None or said:
        if option is not None or row is not None:
            yield ""
        yield style.heading("In this configuration" if report.settings.files else "With these options")
        yield from _said(said, option, report, columns, style)


def _finding(row: catalogue.Row, columns: int, style: Style) -> Iterator[str]:
    """What a finding means."""
    yield style.heading(row.code)
    yield from wrap(f"A finding of penstock check ({row.level or 'error or warning'}).", columns, "  ")
    yield from wrap(row.meaning[0].upper() + row.meaning[1:] + ".", columns, "  ")
    yield from wrap(f"What to do: {row.fix}.", columns, "  ")


def _own(name: str, report: Report | None, style: Style) -> Iterator[str]:
    """The heading of a name that is the configuration's own."""
    if report is not None and any(entry.key == name for entry in report.settings.entries):
        yield style.heading(plain(name))


def _told(finding: Finding, columns: int, style: Style) -> list[str]:
    """A finding among what is said of a name."""
    mark = style.mark(finding.level, f"  {finding.level}: ")
    return wrap(plain(without_secrets(str(finding))), columns, "    ", mark)


def _said(said: Sequence[Entry], option: Option | None, report: Report, columns: int, style: Style) -> Iterator[str]:
    """Where the name stands, which of its values counts, and what is wrong with it."""
    unread = _unread(report)
    for finding in unread:
        yield from _told(finding, columns, style)
    if not said and not unread:
        yield from wrap(f"It is not set{_default(option)}.", columns, "  ")
    for entry in said:
        value = "" if entry.value is None else f" = {shown(entry.key, entry.value)}"
        last = entry is said[-1] or option is None or option.repeatable
        note = "" if last else style.mark("dim", f"   (overridden by {plain(str(said[-1].origin))})")
        yield f"  {plain(str(entry.origin))}: {style.name(plain(entry.key + value))}{note}"
    if option is not None and said and not option.repeatable:
        value_read = report.settings.value(option.name)
        written = said[-1].value
        if value_read is not None and _spelled(value_read, option) != written:
            yield from wrap(f"Read as {plain(str(shown(option.name, _spelled(value_read, option))))}.", columns, "  ")
    kind = report.settings.others.get(said[0].key) if said else None
    if kind is not None:
        yield from wrap(_KINDS[kind], columns, "  ")
    names = {entry.key for entry in said} | ({option.name} if option is not None else set())
    for finding in report.findings:
        if report.option_of(finding) in names and finding not in unread:
            yield from _told(finding, columns, style)


_UNREAD = frozenset({"malformed", "no-file", "no-section", "not-a-config-file", "not-text"})
_KINDS = {
    "declared": "It is declared there by declare-option.",
    "placeholder": "It is no option: %(NAME) elsewhere stands for its value.",
    "unknown": "It is no option, and no %(NAME) uses it.",
}


def _default(option: Option | None) -> str:
    if option is None or option.default is None:
        return ""
    return f": the default is {_spelled(option.default, option)}"


def _spelled(value: Value, option: Option) -> str:
    """Write a value as it would stand in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if option.type in ("mode", "umask") and isinstance(value, int):
        return f"{value:03o}"
    return next((word for word, number in option.words if value == number == -1), str(value))


def _not_found(name: str) -> str:
    guess = nearest(name)
    return f"there is no option {name}" + (f"; did you mean {guess}?" if guess else "; penstock help lists them all")
