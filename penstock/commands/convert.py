"""`penstock convert FILE --to KIND`: write a configuration as another kind of file, or gunicorn's as Penstock's.

The text goes to standard output or to a file of its own, and what is to know about it to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import cast

from penstock.commands.whole_file import write_whole
from penstock.config.files import STANDARD_INPUT, FileReader, reason
from penstock.config.files import Refused as NotRead
from penstock.config.pairs import Kind, Malformed, kind_of
from penstock.config.surroundings import Surroundings
from penstock.convert.check import World
from penstock.convert.conversion import Conversion, Refused, convert
from penstock.convert.document import Note
from penstock.convert.gunicorn import conversion as gunicorn
from penstock.convert.writing import TARGETS, Target
from penstock.values import dataclass

SUMMARY = "write a configuration as another kind of file: uWSGI's, Penstock's, or gunicorn's"
USAGE = "FILE --to ini|toml|yaml|json [--output FILE]"

OK = 0
FAILED = 1
_SOURCES = ("ini", "yaml", "json", "xml", "toml", "gunicorn")
TEXT = f"""\
usage: penstock convert FILE[:SECTION] --to KIND
       penstock convert gunicorn.conf.py --to KIND
       penstock convert --gunicorn 'gunicorn -w 4 project.wsgi' --to KIND

  --to KIND        what to write: {", ".join(TARGETS)}
  --from KIND      what FILE holds, where its name does not tell (- is standard input): {", ".join(_SOURCES)}
  --output FILE    write there instead of standard output
  --force          replace that file if it exists
  --expand         fill in placeholders, decide blocks, read what is included: the result is for this machine
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What was asked for."""

    file: str = ""
    command_line: str | None = None
    source: str = ""
    target: Target = "ini"
    output: str = ""
    force: bool = False
    expand: bool = False


class _Slip(Exception):
    """The arguments make no sense: why."""


def run(arguments: Sequence[str]) -> int:
    """Convert, and tell what is to know; 1 when nothing was written."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(TEXT)
        return OK
    try:
        request = _parse(list(arguments))
        if request.output and not request.force and os.path.lexists(request.output):
            raise _Slip(f"{request.output} exists already; name another file, or add --force to replace it")
        done = _convert(request)
        _write(request, done.text)
    except _Slip as slip:
        return _fail(str(slip))
    except Refused as refused:
        return _fail(*refused.reasons)
    except Malformed as malformed:
        return _fail(f"{request.file}:{malformed.line}: {malformed}; {malformed.cure}")
    except NotRead as refused:
        return _fail(f"{refused}; {refused.cure}")
    except OSError as error:
        if not (error.filename or request.output):
            # Standard output, of which the command line tells for all commands.
            raise
        return _fail(f"{error.filename or request.output}: {reason(error)}")
    except ValueError as error:
        return _fail(f"can not read {request.file}: {error}")
    where = "standard input" if request.file == STANDARD_INPUT else _without_section(request.file) or "gunicorn.conf.py"
    _tell("what is not as it was", done.notes, where)
    _tell("what is to know about Penstock", done.differs, where)
    return OK


def _parse(words: list[str]) -> _Request:
    said: dict[str, str] = {}
    flags: set[str] = set()
    files: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--force", "--expand") and not equals:
            flags.add(name)
        elif name in ("--to", "--from", "--output", "-o", "--gunicorn"):
            if not equals and not words:
                raise _Slip(f"{name} needs a value; penstock convert --help tells which")
            said["--output" if name == "-o" else name] = value if equals else words.pop(0)
        elif word.startswith("-") and word != STANDARD_INPUT:
            raise _Slip(f"there is no option {name}; penstock convert --help lists them")
        else:
            files.append(word)
    target = said.get("--to") or kind_of(said.get("--output", "")) or ("ini" if "--gunicorn" in said else "")
    if target not in TARGETS:
        what = f"can not write {target}" if target else "it is not said what to write"
        raise _Slip(f"{what}; add --to {', --to '.join(TARGETS[:-1])} or --to {TARGETS[-1]}")
    if len(files) > 1 or (files and "--gunicorn" in said) or not (files or "--gunicorn" in said):
        raise _Slip(f"one file is converted at a time\n{TEXT.rstrip()}")
    file = files[0] if files else ""
    source = said.get("--from", "")
    if source and source not in _SOURCES:
        raise _Slip(f"can not read {source}; it is one of {', '.join(_SOURCES)}")
    return _Request(
        file=file,
        command_line=said.get("--gunicorn"),
        source=source or ("gunicorn" if file.endswith(".py") else kind_of(_without_section(file)) or ""),
        target=target,
        output=said.get("--output", ""),
        force="--force" in flags,
        expand="--expand" in flags,
    )


def _without_section(name: str) -> str:
    return name if os.path.exists(name) else name.rpartition(":")[0] or name


def _convert(request: _Request) -> Conversion:
    """Raises whatever keeps it from being done."""
    surroundings = Surroundings.here()
    environ = dict(os.environ)
    reader = FileReader(surroundings.cwd, runs_commands=False)
    environment = environ.get(gunicorn.ENVIRONMENT, "")
    if request.command_line is not None:
        return gunicorn.convert_line(reader, request.command_line, environment, request.target)
    if request.source == "gunicorn":
        return gunicorn.convert_file(reader, request.file, environment, request.target)
    if not request.source:
        raise _Slip(f"the name of {request.file} does not tell what it holds; add --from {', --from '.join(_SOURCES)}")
    name = _without_section(request.file)
    file = reader.read(name)
    section = request.file[len(name) + 1 :]
    return convert(
        file,
        cast(Kind, request.source),
        request.target,
        section,
        World(environ, surroundings),
        expand=request.expand,
    )


def _write(request: _Request, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    if not request.output:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    write_whole(request.output, data, replaces=request.force)


def _tell(title: str, notes: Iterable[Note], where: str) -> None:
    lines = [f"  {where}:{note.line}: {note.text}" if note.line else f"  {note.text}" for note in notes]
    if lines:
        _say(f"{title}:", *lines)


def _fail(*messages: str) -> int:
    _say(*(f"[penstock] {message}" for message in messages), "[penstock] nothing was written")
    return FAILED


def _say(*lines: str) -> None:
    for line in lines:
        print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
