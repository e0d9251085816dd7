"""`penstock help [OPTION]`: every option by section, or all about one. Made from the option table."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from penstock.commands import COMMANDS, find
from penstock.options import table
from penstock.options.option import Option
from penstock.options.suggest import nearest

if TYPE_CHECKING:
    from penstock.options.unsupported import Unsupported

SUMMARY = "show this help, or all about one option"
USAGE = "[OPTION]"

SHORT_USAGE = """\
usage: penstock [OPTION ...] [FILE.ini]

  penstock --http :8000 --module project.wsgi   serve a Django project
  penstock app.ini                              serve what a file says
  penstock --help                               every option
"""

_NARROWEST, _WIDEST = 60, 110
_HEADING, _NAME, _PLAIN = "\x1b[1m", "\x1b[36m", "\x1b[0m"
_LEFT = 34
"""Columns for the names; a longer one has its text on the next line."""


def run(arguments: Sequence[str]) -> int:
    """Print the help; 1 when the option that was asked for does not exist."""
    style = _Style(sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    width = min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)
    if not arguments:
        _print(overview(width, style))
        return 0
    name = arguments[0].lstrip("-")
    option = table.find(name) or table.BY_SHORT.get(name)
    if option is not None:
        _print(details(option, width, style))
        return 0
    # Imported late: whoever asks for the help of an option of the table reads nothing about the others.
    from penstock.options.unsupported import find as find_unsupported

    row = find_unsupported(name)
    if row is not None:
        _print(details_of_unsupported(row, width, style))
        return 0
    print(f"[penstock] {_not_found(name)}", file=sys.stderr)
    return 1


class _Style:
    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def heading(self, text: str) -> str:
        return f"{_HEADING}{text}{_PLAIN}" if self._coloured else text

    def name(self, text: str) -> str:
        return f"{_NAME}{text}{_PLAIN}" if self._coloured else text


PLAIN_STYLE = _Style(False)


def overview(width: int, style: _Style = PLAIN_STYLE) -> Iterator[str]:
    """Every option under the heading of its section, with the commands at the end."""
    yield SHORT_USAGE.rstrip()
    yield ""
    yield from _wrap(
        "An option stands in a file as name = value, on the command line as --name value, and in the environment as "
        "PENSTOCK_NAME or UWSGI_NAME. Lines marked with = are accepted because uWSGI has them and need nothing here.",
        width,
        "",
    )
    for section in table.SECTIONS:
        if section.name == "commands":
            continue
        yield ""
        yield style.heading(section.title)
        for option in section.options:
            yield from _entry(_left_side(option), _right_side(option), width, style)
    yield ""
    yield style.heading("Commands (also as an option: --reload PIDFILE)")
    for name in COMMANDS:
        command = find(name)
        yield from _entry(f"{name} {command.USAGE}".rstrip(), command.SUMMARY, width, style)


def details(option: Option, width: int, style: _Style = PLAIN_STYLE) -> Iterator[str]:
    """All that the table says about one option."""
    yield style.heading(_left_side(option).strip())
    yield from _wrap(option.help[0].upper() + option.help[1:] + ".", width, "  ")
    if option.aliases:
        yield f"  Also called: {', '.join(option.aliases)}"
    if option.default is not None and option.type != "flag":
        yield f"  Default: {option.default}"
    elif option.type == "flag":
        yield f"  Default: {'on' if option.default else 'off'}"
    if option.repeatable:
        yield "  May be given several times."
    if option.role == "setting":
        yield f"  A change takes effect at a {option.applies}."
    yield from _wrap(_compared(option), width, "  ")
    yield f"  Since version {option.since}."


def details_of_unsupported(row: Unsupported, width: int, style: _Style = PLAIN_STYLE) -> Iterator[str]:
    """All that is known about an option of uWSGI that is not here."""
    short = f"-{row.short}, " if row.short else "    "
    value = {"none": "", "optional": "[=VALUE]", "required": " VALUE"}[row.argument]
    yield style.heading(f"{short}--{row.names[0]}{value}".strip())
    if row.family.outlook == "later":
        yield "  Not supported yet."
    else:
        yield "  Not supported."
    yield from _wrap(f"In uWSGI it {row.does}.", width, "  ")
    if len(row.names) > 1:
        yield f"  Also called: {', '.join(row.names[1:])}"
    if row.family.effect == "stops":
        yield from _wrap(f"A start with it is refused: without it {row.family.why}.", width, "  ")
    else:
        yield from _wrap(f"A start with it ignores it: here {row.family.why}.", width, "  ")
    yield from _wrap(f"Instead: {row.instead}.", width, "  ")


def _compared(option: Option) -> str:
    if option.verdict == "same":
        return "The same as in uWSGI."
    if option.verdict == "new":
        return "uWSGI has no such option."
    if option.verdict == "not-needed":
        return f"Accepted and not needed here: {option.note}."
    return f"Compared with uWSGI: {option.note}."


def _left_side(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    value = option.placeholder
    if option.argument == "optional":
        value = f"[={value}]"
    elif value:
        value = f" {value}"
    return f"{short}--{option.name}{value}"


def _right_side(option: Option) -> str:
    if option.verdict == "not-needed":
        return f"= {option.note}"
    also = f" (also: {', '.join(option.aliases)})" if option.aliases else ""
    default = ""
    if option.default is not None and option.type != "flag" and "default" not in option.help:
        default = f" (default: {option.default})"
    elif option.type == "flag" and option.default is True:
        default = " (on by default)" if "unless" not in option.help else ""
    return option.help + default + also


def _entry(left: str, right: str, width: int, style: _Style) -> Iterator[str]:
    lines = textwrap.wrap(right, width - _LEFT - 2) or [""]
    if len(left) + 2 > _LEFT:
        yield f"  {style.name(left)}"
    else:
        yield f"  {style.name(left)}{' ' * (_LEFT - len(left))}{lines.pop(0)}"
    for line in lines:
        yield f"  {' ' * _LEFT}{line}"


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent)


def _not_found(name: str) -> str:
    guess = nearest(name)
    return f"there is no option {name}" + (f"; did you mean {guess}?" if guess else "; penstock help lists them all")


def _print(lines: Iterator[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
