"""`penstock help [OPTION]`: every option by section, made from the option table; all about one is `explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from penstock.commands import COMMANDS, find
from penstock.commands.describe import left_side
from penstock.commands.terminal import PLAIN_STYLE, Style, style, width, wrap, write
from penstock.options import commands, table
from penstock.options.option import Option

SUMMARY = "show this help, or all about one option"
USAGE = "[OPTION | COMMAND]"

SHORT_USAGE = """\
usage: penstock [OPTION ...] [FILE.ini]

  penstock --http :8000 --module project.wsgi   serve a Django project
  penstock app.ini                              serve what a file says
  penstock check app.ini                        say what is wrong with a file
  penstock doctor app.ini                       say what is wrong around it, too
  penstock --help                               every option and every command
"""

_LEFT = 34
"""Columns for the names; a longer one has its text on the next line."""


def run(arguments: Sequence[str]) -> int:
    """Print the help; 1 when nothing has the name that was asked for."""
    if not arguments:
        write(overview(width(), style()))
        return 0
    if arguments[0] in COMMANDS and table.find(arguments[0]) is None:
        return of_command(arguments[0])
    # Imported late: explaining reads configurations too, and the whole help needs none.
    from penstock.commands import explain

    return explain.run(arguments)


def of_command(name: str) -> int:
    """Print how a command is used: its own text, or what can be said in two lines."""
    command = find(name)
    usage = [f"usage: penstock {name} {command.USAGE}".rstrip(), f"  {command.SUMMARY}"]
    write([getattr(command, "TEXT", "\n".join(usage)).rstrip("\n")])
    return 0


def overview(columns: int, style: Style = PLAIN_STYLE) -> Iterator[str]:
    """Every option under the heading of its section, with the commands at the end."""
    yield SHORT_USAGE.rstrip()
    yield ""
    yield from wrap(
        "An option stands in a file as name = value, on the command line as --name value, and in the environment as "
        "PENSTOCK_NAME or UWSGI_NAME. Lines marked with = are accepted because uWSGI has them and need nothing here.",
        columns,
        "",
    )
    for section in table.SECTIONS:
        if section.name == "commands":
            continue
        yield ""
        yield style.heading(section.title)
        for option in section.options:
            yield from _entry(left_side(option), _right_side(option), columns, style)
    yield ""
    yield style.heading("Commands (those of uWSGI also as an option: --reload PIDFILE)")
    for name in COMMANDS:
        command = find(name)
        left = f"{name} {command.USAGE}".rstrip()
        # What does not fit into a line is told by the command's own help.
        yield from _entry(left if len(left) + 2 <= columns else f"{name} ...", command.SUMMARY, columns, style)
    for option in table.OPTIONS:
        if option in commands.OPTIONS and option.role != "command":
            yield from _entry(left_side(option), _right_side(option), columns, style)


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


def _entry(left: str, right: str, columns: int, style: Style) -> Iterator[str]:
    lines = textwrap.wrap(right, columns - _LEFT - 2) or [""]
    if len(left) + 2 > _LEFT:
        yield f"  {style.name(left)}"
    else:
        yield f"  {style.name(left)}{' ' * (_LEFT - len(left))}{lines.pop(0)}"
    for line in lines:
        yield f"  {' ' * _LEFT}{line}"
