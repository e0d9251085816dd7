"""What a setting of gunicorn is found to be: a value of Python, or a text that is finished where it is used."""

from __future__ import annotations

from penstock.convert.document import literal
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A value that is only known on the machine that it is used on, in the notation of a configuration file."""

    text: str
    is_number: bool = False
    variable: str = ""
    """The environment variable that it is, and nothing else, without a default."""
    ends_in_slash: bool = False
    """It is a directory with a slash at its end, as `%d` is."""


Value = None | bool | int | str | Text | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that was written somewhere."""

    name: str
    value: Value
    where: str
    """What is shown as its place: a line of the file, a word of the command line."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read as data."""

    what: str
    why: str
    line: int


def written(value: Value) -> str | None:
    """Write a value as a configuration file has it; None for what is no single value."""
    if isinstance(value, Text):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return literal(str(value))
    return None


def items(value: Value) -> list[Value]:
    """Take a list apart, or a text with commas as gunicorn does."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return [] if value is None else [value]
