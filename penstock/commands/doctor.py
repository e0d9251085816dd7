"""`penstock doctor`: configuration, host, nginx, Django and the running instance looked at together; and mended.

Prints what came out of `penstock.doctor.examination` for somebody who was woken up by it: the worst first, each with
what shows it and what to type.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from penstock.commands import configuration
from penstock.commands.target import Refused, exists, read_pid
from penstock.commands.terminal import PLAIN_STYLE, Style, plain, style, width, wrap, write
from penstock.config.findings import Level
from penstock.config.pairs import kind_of
from penstock.doctor.checks.chain import ways
from penstock.doctor.diagnosis import LEVELS, Diagnosis
from penstock.doctor.examination import Examination, Wanted, examine_all
from penstock.doctor.facts import Facts
from penstock.doctor.mending import MendError, mend, shown
from penstock.master.control_client import ControlError, request
from penstock.master.pidfile import is_instance
from penstock.plan.machine import Machine
from penstock.project.django_facts import DjangoFacts
from penstock.project.found import NoProject
from penstock.project.found import find as find_project
from penstock.values import dataclass

SUMMARY = "look at configuration, host, nginx, Django and the running instance together, and say what is wrong"
USAGE = "[--json] [--fix [--yes]] [--no-import] [--no-request] [--nginx FILE] [--root DIR] FILE | FOLDER | PIDFILE"

TEXT = """\
usage: penstock doctor [--json] [--fix [--yes]] [--no-import] [--no-request] [--nginx FILE] [--root DIR]
                       [FILE | FOLDER | PIDFILE | OPTION ...]

  penstock doctor app.ini          the configuration, and everything around it
  penstock doctor                  the project in this directory
  penstock doctor /run/app.pid     the instance with this pid file

Nothing is changed without --fix. The application is imported as at a start, in a process of its own and as its own
user. Exit status: 0 nothing is wrong, 1 warnings, 2 errors, or nothing could be looked at.

  --fix          show what can safely be mended, ask, and do it; then look again
  --yes          do not ask
  --json         print {"findings": [...], "not_looked_at": [...]}
  --no-import    do not import the application
  --no-request   send no request through nginx to the application
  --nginx FILE   the main file of nginx, if it is not that of the installed one
  --root DIR     look for the files of services below DIR, as in an image
"""

NOTHING_LOOKED_AT = 2
USUAL_FILES = ("penstock.ini", "penstock.toml", "penstock.yaml", "uwsgi.ini")
PATIENCE_S = 10.0

_WORDS: dict[Level, tuple[str, str]] = {"error": ("error", "error"), "warning": ("warning", "warning"),
                                        "note": ("note", "note")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Asked:
    """The command line, read."""

    words: tuple[str, ...]
    folder: str
    pid: int | None
    is_json: bool
    fixes: bool
    is_sure: bool
    imports: bool
    requests: bool
    root: str
    nginx: str


def run(arguments: Sequence[str]) -> int:
    """Examine, print, and mend if that was asked for; the exit status."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(TEXT)
        return 0
    try:
        asked = _read(arguments)
        wanted = _wanted(asked)
    except Refused as refused:
        print(f"[penstock] {refused}", file=sys.stderr)
        return NOTHING_LOOKED_AT
    examination = examine_all(wanted, _progress(asked))
    _clear(asked)
    if asked.is_json:
        write([json.dumps(examination.as_json_value(), indent=2)])
    else:
        write(as_text(examination, width(), style()))
    if asked.fixes and _fix(examination, asked):
        examination = examine_all(wanted, _progress(asked))
        _clear(asked)
        if not asked.is_json:
            write(["", *as_text(examination, width(), style())])
    return examination.exit_status


# -- what is asked for -------------------------------------------------------------------------------------------------


def _read(arguments: Sequence[str]) -> _Asked:
    words, flags = configuration.take_flags(arguments, "--json", "--fix", "--yes", "--no-import", "--no-request")
    root = os.path.abspath(_take(words, "--root", "/"))
    nginx = _take(words, "--nginx", "")
    if not os.path.isdir(root):
        raise Refused(NOTHING_LOOKED_AT, f"--root = {root}: there is no such directory")
    pid: int | None = None
    folder = words[0] if words and os.path.isdir(words[0]) else "."
    if len(words) <= 1 and not (words and words[0].startswith("-")):
        words, pid = _named(words[0] if words else ".", bool(words))
    return _Asked(
        words=tuple(words),
        folder=os.path.abspath(folder),
        pid=pid,
        is_json="--json" in flags,
        fixes="--fix" in flags,
        is_sure="--yes" in flags,
        imports="--no-import" not in flags,
        requests="--no-request" not in flags,
        root=root,
        nginx=os.path.abspath(nginx) if nginx else "",
    )


def _take(words: list[str], name: str, default: str) -> str:
    """Take an option and its value out of the words, in both of its forms; the last one counts."""
    found = default
    while (place := next((at for at, word in enumerate(words) if word.partition("=")[0] == name), None)) is not None:
        _, equals, value = words[place].partition("=")
        del words[place]
        found = value if equals else words.pop(place) if place < len(words) else ""
        if not found:
            raise Refused(NOTHING_LOOKED_AT, f"{name} takes a {'file' if name == '--nginx' else 'directory'}")
    return found


def _named(word: str, is_given: bool) -> tuple[list[str], int | None]:
    """Tell a folder, a pid file and a configuration apart."""
    if os.path.isdir(word):
        found = [os.path.join(word, name) for name in USUAL_FILES if os.path.isfile(os.path.join(word, name))]
        if found:
            return [os.path.normpath(found[0])], None
        if not is_given and _has_environment():
            return [], None
        try:
            project = find_project(word, os.environ)
        except NoProject as error:
            where = "this directory" if word == "." else word
            cure = "name the configuration, or the folder of a project"
            raise Refused(
                NOTHING_LOOKED_AT, f"{where} has no {' or '.join(USUAL_FILES)}, and {error}; {cure}"
            ) from error
        # A configuration of uWSGI is one of ours.
        return [os.path.relpath(path) for path in project.uwsgi_files[:1]], None
    if kind_of(word.partition(":")[0]) is not None or not os.path.isfile(word):
        return [word], None
    try:
        pid = read_pid(word)
    except (OSError, ValueError) as error:
        raise Refused(NOTHING_LOOKED_AT, f"{word} is neither a configuration nor a pid file: {error}") from error
    if not exists(pid) or not is_instance(pid):
        raise Refused(NOTHING_LOOKED_AT, f"{word} names process {pid}, which is no running instance; {word} is stale")
    answer = Masters().ask(pid, "status")
    command = answer.get("command") if isinstance(answer, dict) else None
    if not isinstance(command, dict):
        raise Refused(NOTHING_LOOKED_AT, f"the master {pid} does not tell how it was started: name its configuration")
    os.chdir(command["cwd"])
    return [str(each) for each in command["words"]], pid


def _has_environment() -> bool:
    return any(name.startswith(("UWSGI_", "PENSTOCK_")) for name in os.environ)


def _wanted(asked: _Asked) -> Wanted:
    sources = configuration.sources(asked.words)
    return Wanted(
        words=asked.words,
        folder=asked.folder,
        sources=sources,
        environ=dict(os.environ),
        machine=Machine.here(),
        masters=Masters(),
        pid=asked.pid,
        root=asked.root,
        imports=asked.imports,
        requests=asked.requests,
        nginx_file=asked.nginx,
    )


class Masters:
    """Running instances, asked by their control sockets."""

    def pid_of(self, path: str) -> int | str:
        """The living master that a pid file names, or why there is none."""
        try:
            pid = read_pid(path)
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            return f"it can not be read: {error}"
        if not exists(pid):
            return f"it names process {pid}, which is gone"
        return pid if is_instance(pid) else f"it names process {pid}, which is another program"

    def ask(self, pid: int, command: str) -> dict[str, Any] | str:
        """What a master answers, or why it does not."""
        try:
            return request(pid, command, timeout_s=PATIENCE_S)
        except ControlError as error:
            return str(error)


def _progress(asked: _Asked) -> Any:
    """On a terminal, say what is being looked at; it is wiped out again."""
    if asked.is_json or not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"\r\x1b[Klooking at {text} ...", end="", file=sys.stderr, flush=True)


def _clear(asked: _Asked) -> None:
    if not asked.is_json and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# -- text --------------------------------------------------------------------------------------------------------------


def as_text(examination: Examination, columns: int, style: Style = PLAIN_STYLE) -> Iterator[str]:
    """What came out, for people."""
    yield style.heading(plain(_what(examination.facts)))
    for way in ways(examination.facts):
        yield style.mark("dim", plain(way))
    yield ""
    serious = [one for one in examination.diagnoses if one.level != "note"]
    notes = [one for one in examination.diagnoses if one.level == "note"]
    for one in serious:
        yield from _diagnosis(one, columns, style)
        yield ""
    if notes:
        yield style.mark("note", "Good to know")
        for one in notes:
            place = f"{one.evidence[0].place}: " if one.evidence and one.evidence[0].place else ""
            yield from wrap(plain(f"{place}{one.cause} [{one.code}]"), columns, "    ", "  ")
        yield ""
    if examination.blind:
        yield style.heading("Not looked at")
        for unseen in examination.blind:
            yield from wrap(plain(f"{unseen.what}: {unseen.why}"), columns, "    ", "  ")
        yield ""
    yield _outcome(examination, style)


def _what(facts: Facts) -> str:
    """What was looked at: `app.ini, instance 4711 (Penstock 0.1.0), nginx 1.22.1, Django 5.2`."""
    files = facts.report.settings.files if facts.report is not None else ()
    parts = [", ".join(files) or facts.chdir]
    if facts.instance is not None:
        version = f" (Penstock {facts.instance.version})" if facts.instance.version else ""
        parts.append(f"instance {facts.instance.pid}{version}")
    if facts.nginx is not None:
        parts.append(f"nginx {facts.nginx.version}".strip())
    if isinstance(facts.django, DjangoFacts):
        parts.append(f"Django {facts.django.django_version}")
    return ", ".join(parts)


def _diagnosis(one: Diagnosis, columns: int, style: Style) -> Iterator[str]:
    word = _WORDS[one.level][0]
    first, *rest = wrap(plain(f"{word}: {one.cause} [{one.code}]"), columns, "  ", "")
    yield first.replace(word, style.mark(one.level, word), 1)
    yield from rest
    left = min(max((len(plain(each.place)) for each in one.evidence), default=0), 44)
    for each in one.evidence:
        place = plain(each.place)
        yield from wrap(
            f"{place:<{left}}  {plain(each.value)}" if left else plain(each.value), columns, " " * (left + 6), "    "
        )
    if one.cure:
        yield from wrap(plain(one.cure), columns, "         ", "    fix: ")
    for command in one.commands:
        yield f"      $ {style.name(plain(command))}"


def _outcome(examination: Examination, style: Style) -> str:
    counts = {level: sum(one.level == level for one in examination.diagnoses) for level in LEVELS}
    parts = [_number(counts[level], _WORDS[level][0]) for level in ("error", "warning") if counts[level]]
    mended = sum(one.mend is not None for one in examination.diagnoses)
    also = f"; --fix mends {mended} of them" if mended else ""
    if not parts:
        return style.mark("good", "nothing is wrong with what could be looked at")
    return style.mark("error" if counts["error"] else "warning", " and ".join(parts)) + also


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


# -- mending -----------------------------------------------------------------------------------------------------------


def _fix(examination: Examination, asked: _Asked) -> bool:
    """Show what would be done, ask, and do it; whether anything was done."""
    out = sys.stderr if asked.is_json else sys.stdout
    found = [one for one in examination.diagnoses if one.mend is not None]
    if not found:
        print("[penstock] nothing of this can safely be mended by itself", file=out)
        return False
    for one in found:
        print(f"\n{plain(one.cause)}", file=out)
        for line in shown(one.mend):
            print(f"  {plain(line)}", file=out)
    if not asked.is_sure:
        if not sys.stdin.isatty():
            print("\n[penstock] nothing was changed: --fix --yes does this without asking", file=out)
            return False
        print("\nDo this? [y/N] ", end="", file=out, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("[penstock] nothing was changed", file=out)
            return False
    done = False
    for one in found:
        try:
            mend(one.mend, subprocess.run)
            done = True
            print(f"[penstock] mended: {plain(one.cause)}", file=out)
        except MendError as error:
            print(f"[penstock] not mended: {plain(one.cause)}: {error}", file=out)
    return done
