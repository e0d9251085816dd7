"""`penstock check FILE`: what is wrong with a configuration, and what becomes of each option, without starting it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

from penstock.commands import configuration
from penstock.commands.terminal import PLAIN_STYLE, Style, plain, style, width, wrap, write
from penstock.config.findings import Finding, Level
from penstock.config.settings import Entry
from penstock.doctor.report import LEVELS, Report, Verdict, Word, examine
from penstock.options.secrets import shown, without_secrets
from penstock.options.table import BY_NAME
from penstock.plan.machine import Machine

SUMMARY = "say what is wrong with a configuration, without starting it"
USAGE = "[--json] [--config-only] OPTION ... | FILE"

TEXT = """\
usage: penstock check [--json] [--config-only] FILE | - | OPTION ...

  penstock check app.ini                    a file; - reads an ini file from standard input
  penstock check --http :8000 --module app  a command line
  penstock check --ini app.ini --threads 4  both

Nothing is started, imported or changed. Takes what a start takes. Exit status: 0, 1 with warnings, 2 with errors.

  --json         print {"findings": [...], "options": [...]}
  --config-only  look only at what is written, not at this machine: for a file that is meant for another one
                 (a configuration in JSON is read with --json=FILE or as app.json)
"""

NO_CONFIGURATION = 2

_TITLES: dict[Level, tuple[str, str]] = {
    "error": ("Errors", "error"),
    "warning": ("Warnings", "warning"),
    "note": ("Notes", "note"),
}
_COUNTED: tuple[tuple[Word, str], ...] = (
    ("supported", "supported"),
    ("not-needed", "not needed"),
    ("not-supported", "not supported"),
    ("unknown", "unknown"),
    ("placeholder", "placeholder"),
)


def run(arguments: Sequence[str]) -> int:
    """Print the report; its exit status."""
    words, flags = configuration.take_flags(arguments, "--json", "--config-only", "--help", "-h")
    if flags & {"--help", "-h"}:
        sys.stdout.write(TEXT)
        return 0
    sources = configuration.sources(words)
    if sources is None:
        sys.stderr.write(TEXT)
        return NO_CONFIGURATION
    report = examine(sources, None if "--config-only" in flags else Machine.here())
    if "--json" in flags:
        write([json.dumps(report.as_json_value(), indent=2)])
    else:
        write(as_text(report, width(), style()))
    return report.exit_status


def as_text(report: Report, columns: int, style: Style = PLAIN_STYLE) -> Iterator[str]:
    """The report for people: what is wrong, what is different, and what it comes to."""
    for level in LEVELS:
        found = report.of(level)
        if found:
            title, kind = _TITLES[level]
            yield style.mark(kind, title)
            for finding in found:
                yield from _finding(finding, report, columns, style)
            yield ""
    yield from _remarks("Not needed here", _grouped(report.verdicts, "not-needed"), columns, style)
    yield from _remarks("Different from uWSGI", _grouped(report.verdicts, "supported"), columns, style)
    yield _summary(report)
    yield _outcome(report, style)


def _finding(finding: Finding, report: Report, columns: int, style: Style) -> Iterator[str]:
    pair = report.pair_of(finding)
    what = _shown(pair) if pair is not None else ""
    place = str(finding.origin) if finding.origin is not None else ""
    head = "  ".join(part for part in (style.heading(plain(place)), style.name(plain(what))) if part)
    tag = style.mark("dim", f"[{finding.code}]")
    why = plain(without_secrets(_without_pair(finding.message, pair)))
    if head:
        yield f"  {head}"
        yield from wrap(f"{why} {tag}", columns, "      ")
    else:
        yield from wrap(f"{why} {tag}", columns, "      ", "  ")
    if finding.cure:
        yield from wrap(plain(finding.cure), columns, "           ", "      fix: ")


def _without_pair(message: str, pair: Entry | None) -> str:
    """Take `name = value: ` from the beginning: it stands in the line above, perhaps with another name."""
    if pair is None:
        return message
    option = BY_NAME.get(pair.key)
    for name in (pair.key, option.name if option is not None else pair.key):
        value, colon, rest = message.removeprefix(f"{name} = ").partition(": ")
        if message.startswith(f"{name} = ") and colon and (value == pair.value or " " not in value):
            return rest
    return message


def _shown(pair: Entry) -> str:
    return pair.key if pair.value is None else f"{pair.key} = {shown(pair.key, pair.value)}"


def _grouped(verdicts: Sequence[Verdict], word: Word) -> list[tuple[str, list[Verdict]]]:
    """Put pairs together about which the same is to be said, in the order of the first."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        text = verdict.reason if word == "not-needed" else verdict.differs
        if verdict.word == word and text:
            groups.setdefault(text, []).append(verdict)
    return list(groups.items())


def _remarks(title: str, groups: Sequence[tuple[str, list[Verdict]]], columns: int, style: Style) -> Iterator[str]:
    if not groups:
        return
    yield style.heading(title)
    names = [", ".join(dict.fromkeys(verdict.name for verdict in members)) for _, members in groups]
    left = min(max(map(len, names)), 24)
    for name, (text, members) in zip(names, groups, strict=True):
        place = str(members[0].origin) if members[0].origin.source == "file" else ""
        shown = plain(f"{text} ({place})" if place else text)
        first = f"  {plain(name):<{left}}  "
        lines = wrap(shown, columns, " " * (left + 4), first)
        if len(name) > left:
            lines = [f"  {plain(name)}", *wrap(shown, columns, " " * (left + 4))]
        yield lines[0].replace(plain(name), style.name(plain(name)), 1)
        yield from lines[1:]
    yield ""


def _summary(report: Report) -> str:
    """Count: `42 options: 35 supported, 4 not needed, 2 not supported, 1 unknown`."""
    total = len(report.verdicts)
    counts = report.counts
    parts = [f"{counts[word]} {text}" for word, text in _COUNTED if counts.get(word)]
    return f"{_number(total, 'option')}: {', '.join(parts)}" if parts else "no options"


def _outcome(report: Report, style: Style) -> str:
    """Say in one line what it comes to."""
    errors, warnings = len(report.of("error")), len(report.of("warning"))
    if errors:
        also = f" and {_number(warnings, 'warning')}" if warnings else ""
        return style.mark("error", f"it would not start: {_number(errors, 'error')}{also}")
    if warnings:
        return style.mark("warning", f"it can be started, with {_number(warnings, 'warning')}")
    return style.mark("good", "nothing is wrong with it")


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
