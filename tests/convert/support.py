"""What the tests of `convert` share: a conversion of a text in memory, and what a text says."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.config.files import ConfigFile
from penstock.config.pairs import Kind
from penstock.config.settings import Settings
from penstock.convert.check import World, settings_of
from penstock.convert.conversion import Conversion, convert
from penstock.convert.writing import Target
from penstock.options.table import BY_NAME
from tests.config.support import surroundings

ENVIRON = {"HERE": "/srv/here", "N": "3", "EMPTY": ""}


def world(environ: Mapping[str, str] = ENVIRON) -> World:
    return World(environ, surroundings("/nowhere"))


def file(text: str, kind: str) -> ConfigFile:
    return ConfigFile(f"app.{kind}", f"/srv/app/app.{kind}", 7, text)


def converted(text: str, source: Kind, target: Target, section: str = "", *, expand: bool = False) -> Conversion:
    return convert(file(text, source), source, target, section, world(), expand=expand)


def meaning(text: str, kind: Kind, section: str = "") -> dict[str, list[object]]:
    """Each option with its values, each placeholder with its texts, in order: what must not change.

    The file has one name and path whatever it holds, so that `%p` does not differ either.
    """
    settings = settings_of(ConfigFile("app", "/srv/app/app.x", 7, text), kind, section, world())
    return said(settings)


def said(settings: Settings) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for name, every in settings.settings.items():
        if BY_NAME[name].role == "setting":
            found[name] = [one.value for one in every]
    for entry in settings.entries:
        if entry.key not in BY_NAME:
            found.setdefault(f"={entry.key}", []).append(entry.value)
    # What is said of a line is said once, and two lines of one kind of file may be one line, an array, of another.
    # Before the colon stands the key, for which `convert` writes the option's own name.
    errors = {(one.code, one.message.partition(": ")[2]) for one in settings.findings if one.level == "error"}
    found["errors"] = sorted(errors)
    return found
