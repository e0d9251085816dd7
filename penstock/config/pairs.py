"""What every kind of configuration file comes down to: pairs in their order, each with its line.

The readers (`ini`, `yaml_file`, `json_file`, `xml_file`, `toml_file`) are pure: text in, a `Section` out. They are
imported only when a file of their kind is read.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Literal, cast

from penstock.config.findings import Level
from penstock.values import dataclass

Kind = Literal["ini", "yaml", "json", "xml", "toml"]

SUFFIXES: dict[str, Kind] = {
    ".ini": "ini",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".js": "json",
    ".xml": "xml",
    ".toml": "toml",
}
"""How the name of a configuration file ends, and what it holds then."""

READERS: dict[Kind, str] = {
    "ini": "penstock.config.ini",
    "yaml": "penstock.config.yaml_file",
    "json": "penstock.config.json_file",
    "xml": "penstock.config.xml_file",
    "toml": "penstock.config.toml_file",
}
"""Kind -> module with `read(text, section)`."""

DEFAULT_SECTION = "uwsgi"


@dataclass(frozen=True, slots=True)
class Pair:
    """One option with its value, and the line (from 1) that it stands on."""

    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say about a line, which is no reason to stop reading."""

    level: Level
    code: str
    message: str
    line: int
    cure: str


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a file."""

    items: list[Pair | Remark]
    others: tuple[str, ...] | None = None
    """Where the file does not have the wanted section: the names of those it has; else None."""


class Malformed(Exception):
    """A text is not what a file of its kind has to be: what is wrong, on which line, and what to do."""

    def __init__(self, message: str, line: int, cure: str) -> None:
        self.line = line
        self.cure = cure
        super().__init__(message)


def kind_of(name: str) -> Kind | None:
    """Tell the kind of a file by the end of its name; None where uWSGI would not know either."""
    dot = name.rfind(".")
    return SUFFIXES.get(name[dot:]) if dot >= 0 else None


def read(kind: Kind, text: str, section: str) -> Section:
    """Read the section of this name, or the usual one for "". Raises Malformed."""
    reader = cast("Callable[[str, str], Section]", import_module(READERS[kind]).read)
    return reader(text, section)
