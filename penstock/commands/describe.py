"""What the tables say about one option, as lines: the one home of it for `help` and `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.commands.terminal import PLAIN_STYLE, Style, wrap
from penstock.options.option import Option

if TYPE_CHECKING:
    from penstock.options.unsupported import Unsupported


def left_side(option: Option) -> str:
    """Write an option as on the command line, with its letter."""
    short = f"-{option.short}, " if option.short else "    "
    value = option.placeholder
    if option.argument == "optional":
        value = f"[={value}]"
    elif value:
        value = f" {value}"
    return f"{short}--{option.name}{value}"


def details(option: Option, columns: int, style: Style = PLAIN_STYLE) -> Iterator[str]:
    """All that the table says about one option."""
    yield style.heading(left_side(option).strip())
    yield from wrap(option.help[0].upper() + option.help[1:] + ".", columns, "  ")
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
    yield from wrap(_compared(option), columns, "  ")
    yield f"  Since version {option.since}."


def details_of_unsupported(row: Unsupported, columns: int, style: Style = PLAIN_STYLE) -> Iterator[str]:
    """All that is known about an option of uWSGI that is not here."""
    short = f"-{row.short}, " if row.short else "    "
    value = {"none": "", "optional": "[=VALUE]", "required": " VALUE"}[row.argument]
    yield style.heading(f"{short}--{row.names[0]}{value}".strip())
    if row.family.outlook == "later":
        yield "  Not supported yet."
    else:
        yield "  Not supported."
    yield from wrap(f"In uWSGI it {row.does}.", columns, "  ")
    if len(row.names) > 1:
        yield f"  Also called: {', '.join(row.names[1:])}"
    if row.family.effect == "stops":
        yield from wrap(f"A start with it is refused: without it {row.family.why}.", columns, "  ")
    else:
        yield from wrap(f"A start with it ignores it: here {row.family.why}.", columns, "  ")
    yield from wrap(f"Instead: {row.instead}.", columns, "  ")


def _compared(option: Option) -> str:
    if option.verdict == "same":
        return "The same as in uWSGI."
    if option.verdict == "new":
        return "uWSGI has no such option."
    if option.verdict == "not-needed":
        return f"Accepted and not needed here: {option.note}."
    return f"Compared with uWSGI: {option.note}."
