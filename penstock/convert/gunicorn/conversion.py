"""gunicorn's file, its variable GUNICORN_CMD_ARGS and a command line, in the order in which they count, to a text."""

from __future__ import annotations

import shlex

from penstock.config.files import FileReader
from penstock.config.pairs import Malformed
from penstock.convert import writing
from penstock.convert.conversion import Conversion, Refused
from penstock.convert.document import Note, NotSaid
from penstock.convert.gunicorn import command_line, config_file, mapping
from penstock.convert.gunicorn.values import Given, Unread
from penstock.convert.translate import translate

ENVIRONMENT = "GUNICORN_CMD_ARGS"
OWN_FILE = "gunicorn.conf.py"
"""What gunicorn reads where no file is named."""


def convert_file(reader: FileReader, name: str, environment: str, target: writing.Target) -> Conversion:
    """Convert `gunicorn.conf.py` with what GUNICORN_CMD_ARGS says. Raises OSError, ValueError, Malformed or Refused."""
    given, unread = config_file.read(reader.read(name).text)
    more, other = _environment(environment)
    return _written([*given, *more], [*unread, *other], name, target)


def convert_line(reader: FileReader, line: str, environment: str, target: writing.Target) -> Conversion:
    """Convert a command line, with the file that it names. Raises OSError, ValueError, Malformed or Refused."""
    try:
        variables, words = command_line.split(line)
    except ValueError as error:
        raise Refused(f"the command line can not be read: {error}") from None
    mine = next((one.partition("=")[2] for one in variables if one.startswith(f"{ENVIRONMENT}=")), environment)
    from_environment, unread = _environment(mine)
    from_line, others = command_line.read(words, "the command line")
    file = next((one.value for one in (*reversed(from_line), *from_environment) if one.name == "config"), None)
    given: list[Given] = []
    beside: list[Note] = []
    if isinstance(file, str) and file.startswith("python:"):
        raise Refused(f"{file} is a module, which would have to be run; name the file that it is")
    if isinstance(file, str):
        try:
            found, not_read = config_file.read(reader.read(file.removeprefix("file:")).text)
        except Malformed as malformed:
            raise Refused(f"{file}:{malformed.line}: {malformed}; {malformed.cure}") from None
        given += found
        unread = [*not_read, *unread]
    elif file is None and reader.exists(OWN_FILE):
        given, not_read = config_file.read(reader.read(OWN_FILE).text)
        unread = [*not_read, *unread]
        beside.append(Note(f"what {OWN_FILE} of this directory says is in it, too: gunicorn reads it by itself"))
    done = _written([*given, *from_environment, *from_line], [*unread, *others], _shown(line), target)
    own = [one for one in variables if not one.startswith(f"{ENVIRONMENT}=")]
    notes = [Note(f"{one} is set in front of the command; set it where Penstock is started") for one in own]
    return Conversion(done.text, (*beside, *done.notes, *notes), done.differs)


def _shown(line: str) -> str:
    return " ".join(line.split())[:200]


def _environment(value: str) -> tuple[list[Given], list[Unread]]:
    try:
        return command_line.read(shlex.split(value), ENVIRONMENT)
    except ValueError as error:
        raise Refused(f"{ENVIRONMENT} can not be read: {error}") from None


def _written(given: list[Given], unread: list[Unread], name: str, target: writing.Target) -> Conversion:
    mapped = mapping.document(given, unread, name)
    try:
        text = writing.write(translate(mapped.document, target).document)
    except NotSaid as reason:
        raise Refused(f"{name}:{reason.line}: {reason}; {reason.cure}") from None
    return Conversion(text, mapped.notes, mapped.differs)
