"""`penstock init [FOLDER]`: find the project in a folder, and write its first configuration.

Asks nothing: what there is to know is in the files, in Django's settings and on this machine. What was picked among
several is told, with how to say otherwise. An existing file is replaced only with `--force`, and then shown as a diff.
"""

from __future__ import annotations

import difflib
import grp
import os
import pwd
import re
import socket
import sys
from collections.abc import Iterator, Sequence

from penstock.commands.terminal import PLAIN_STYLE, Style, plain, style, width, wrap, write
from penstock.commands.whole_file import write_whole
from penstock.config.argv import parse_argv
from penstock.config.collect import Sources
from penstock.config.files import ConfigFile, FileReader, reason
from penstock.config.surroundings import NowhereError, Surroundings, usable_cpus
from penstock.convert.check import World
from penstock.convert.conversion import Refused, convert
from penstock.convert.writing import TARGETS
from penstock.doctor.checks.django import Served, is_allowed
from penstock.doctor.checks.django import check as judge
from penstock.doctor.report import examine
from penstock.observe.room import free_bytes
from penstock.options.secrets import without_secrets
from penstock.plan.machine import Machine, find_group
from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from penstock.project.found import NoProject, Project, find
from penstock.project.initial import NotWritable, Place, Size, Target, initial, size
from penstock.project.sources import SETTINGS_VARIABLE
from penstock.values import dataclass

SUMMARY = "find the project in a folder, and write a configuration for it"
USAGE = "[FOLDER] [--toml] [--print] [--force]"
TEXT = """\
usage: penstock init [FOLDER]

Finds the project in FOLDER (or here): Django by its manage.py, or a WSGI application (Flask and others); its settings,
its virtual environment. Writes penstock.ini there, with comments and with values for this machine.

  --to KIND           write another kind of file: ini, toml, yaml, json
  --toml              the same as --to toml
  --output FILE, -o   write there; its name tells the kind
  --print             print it, write nothing
  --force             replace the file if it is there; the difference is shown
  --settings MODULE   Django's settings, if not those that are found (else DJANGO_SETTINGS_MODULE)

An existing uwsgi.ini needs none of this: penstock uwsgi.ini runs it as it is.
"""

OK = 0
FAILED = 1
FIRST_PORT = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What was asked for."""

    folder: str = "."
    target: Target = "ini"
    output: str = ""
    prints: bool = False
    force: bool = False
    settings: str = ""


class _Slip(Exception):
    """It can not be done: why, and what to do."""


def run(arguments: Sequence[str]) -> int:
    """Write it, and tell what was found; 1 when nothing was written."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(TEXT)
        return OK
    try:
        return _init(_parse(list(arguments)))
    except NoProject as none:
        return _fail(none.reason, *(f"  looked for {line}" for line in none.looked), f"  fix: {none.cure}")
    except (_Slip, NotWritable, NowhereError) as slip:
        return _fail(str(slip))
    except Refused as refused:
        return _fail(*refused.reasons)


def _parse(words: list[str]) -> _Request:
    said: dict[str, str] = {}
    flags: set[str] = set()
    folders: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word in ("--force", "--print", "--toml"):
            flags.add(word)
        elif name in ("--to", "--output", "-o", "--settings"):
            if not equals and not words:
                raise _Slip(f"{name} needs a value; penstock init --help tells which")
            said["--output" if name == "-o" else name] = value if equals else words.pop(0)
        elif word.startswith("-"):
            raise _Slip(f"there is no option {name}; penstock init --help lists them")
        else:
            folders.append(word)
    if len(folders) > 1:
        raise _Slip(f"one project at a time; {len(folders)} folders were named: {', '.join(folders)}")
    suffix = os.path.splitext(said.get("--output", ""))[1].lstrip(".").replace("yml", "yaml")
    target = said.get("--to") or ("toml" if "--toml" in flags else "") or suffix or "ini"
    if target not in TARGETS:
        raise _Slip(f"can not write {target}; add --to {', --to '.join(TARGETS[:-1])} or --to {TARGETS[-1]}")
    settings = said.get("--settings", "")
    if settings and not all(part.isidentifier() for part in settings.split(".")):
        cure = settings.removesuffix(".py").strip("/").replace("/", ".")
        raise _Slip(f"--settings takes the name of a module, not {settings}; for example --settings {cure}")
    return _Request(
        folder=folders[0] if folders else ".",
        target=target,
        output=said.get("--output", ""),
        prints="--print" in flags,
        force="--force" in flags,
        settings=settings,
    )


def _init(request: _Request) -> int:
    # Before anything else: a working directory that is gone has a sentence of its own.
    surroundings = Surroundings.here()
    environ = dict(os.environ)
    if request.settings:
        environ[SETTINGS_VARIABLE] = request.settings
    machine = Machine.here()
    project = find(request.folder, environ, settings=request.settings or None, machine=machine)
    if project.framework == "asgi":
        raise _Slip(_asgi_only(project))
    path = os.path.abspath(request.output or os.path.join(project.root, f"penstock.{request.target}"))
    if not request.prints and not request.force and os.path.lexists(path):
        raise _Slip(f"{path} is there already; --force replaces it and shows the difference, --print only prints")
    answer = ask(project, environ=environ) if project.is_django else None
    facts = answer if isinstance(answer, DjangoFacts) else None
    free = free_bytes()
    workers = size(usable_cpus(), free.size_bytes if free is not None else None, facts.memory_bytes if facts else 0)
    ini = initial(project, facts, workers, _place(project, path, machine))
    text = _text(ini, path, request.target, surroundings, environ)
    if request.prints:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
        _tell(_found(project, answer, workers, PLAIN_STYLE))
        return OK
    lines = list(_found(project, answer, workers, style()))
    lines += _write(path, text, replaces=request.force)
    write(lines + list(_next(project, path, surroundings, environ, machine, facts)))
    return OK


def _asgi_only(project: Project) -> str:
    return (
        f"{project.asgi_file} has an ASGI application ({project.asgi}), and Penstock serves WSGI only as yet; where no "
        "websockets are needed a2wsgi makes WSGI of it: application = a2wsgi.ASGIMiddleware(app), and run this again"
    )


# -- the text ----------------------------------------------------------------------------------------------------------


def _text(ini: str, path: str, target: Target, surroundings: Surroundings, environ: dict[str, str]) -> str:
    """Write it as another kind of file, comments included where the kind has any."""
    if target == "ini":
        return ini
    file = ConfigFile(path, path, 0, ini)
    text = convert(file, "ini", target, "", World(environ, surroundings)).text
    if target in ("toml", "yaml"):
        # What can be uncommented, in the syntax of the kind.
        form = r"\1# \2 = '\3'" if target == "toml" else r"\1# \2: '\3'"
        text = re.sub(r"^( *)# ([a-z][a-z-]*) = (.*)$", form, text, flags=re.MULTILINE)
        text = text.replace("= 'true'", "= true").replace(": 'true'", ": true")
    return text


def _place(project: Project, path: str, machine: Machine) -> Place:
    run = os.path.join("/run", project.name)
    if not (os.path.isdir(run) and os.access(run, os.W_OK)):
        run = os.path.dirname(path)
    user, group = _owner(project.folder) if os.geteuid() == 0 else ("", "")
    return Place(
        file=path,
        run_folder=run,
        user=user,
        group=group,
        starter=machine.user_name(),
        nginx_group=_nginx_group(),
        port=_free_port(),
    )


def _owner(folder: str) -> tuple[str, str]:
    """Name the user and group that a project belongs to; nothing if that is root, or has no name."""
    status = os.stat(folder)
    if status.st_uid == 0:
        return "", ""
    try:
        return pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return "", ""


def _nginx_group() -> str:
    """Find the group that nginx has here, as Debian, Red Hat and nginx.org call it, if we may give it something."""
    for name in ("www-data", "nginx", "http"):
        number = find_group(name)
        if number is not None:
            return name if os.geteuid() == 0 or number in os.getgroups() else ""
    return ""


def _free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return FIRST_PORT


def _write(path: str, text: str, *, replaces: bool) -> Iterator[str]:
    """Write the file; the lines that tell of it."""
    data = text.encode("utf-8", "surrogateescape")
    before = _content(path) if replaces else None
    try:
        if before == data:
            return iter((f"{path} is as it should be",))
        write_whole(path, data, replaces=replaces)
    except FileExistsError:
        raise _Slip(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise _Slip(f"{path} can not be written: {reason(error)}; --output names another place") from None
    if before is None:
        return iter((f"wrote {plain(path)}",))
    old, new = before.decode("utf-8", "replace").splitlines(), text.splitlines()
    diff = difflib.unified_diff(old, new, f"{path} (before)", path, lineterm="")
    return iter((*map(plain, diff), f"replaced {plain(path)}"))


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _Slip(
            f"{path} is in the way and can not be read: {reason(error)}; --output names another place"
        ) from None


# -- what is told ------------------------------------------------------------------------------------------------------


def _found(project: Project, answer: DjangoFacts | Unanswered | None, workers: Size, style: Style) -> Iterator[str]:
    columns = width()

    def line(name: str, text: str) -> Iterator[str]:
        yield from wrap(plain(text), columns, " " * 15, f"  {style.name(name)}{' ' * (13 - len(name))}")

    kind = f"Django {answer.django_version}" if isinstance(answer, DjangoFacts) else project.library or "WSGI"
    yield from line("project", f"{kind} in {project.folder}")
    yield from line("application", project.wsgi or "django.core.wsgi:get_wsgi_application()")
    if project.settings:
        yield from line("settings", project.settings)
    where = f" ({project.environment.where})" if project.environment is not None else " (which runs Penstock)"
    yield from line("python", f"{project.python_version or '?'}, {project.home or project.python}{where}")
    yield from line("workers", f"{workers.processes} with {workers.threads} threads each: {workers.reason}")
    for choice in project.choices:
        yield from line("picked", str(choice))
    for note in project.notes:
        yield from line("note", note)
    if isinstance(answer, DjangoFacts) and {"channels", "daphne"} & set(answer.installed_apps):
        yield from line("note", "channels is installed: pages are served, and its websockets (ASGI) are not as yet")
    if isinstance(answer, Unanswered):
        yield from line("note", f"Django did not come up, so its files are not served: {without_secrets(str(answer))}")
    for file in project.uwsgi_files:
        short = os.path.relpath(file, project.root)
        kind = "--to toml" if short.endswith(".ini") else "--to ini"
        yield from line(
            "uwsgi", f"{short} runs unchanged: penstock {short}; penstock convert {short} {kind} writes it anew"
        )


def _next(
    project: Project,
    path: str,
    surroundings: Surroundings,
    environ: dict[str, str],
    machine: Machine,
    facts: DjangoFacts | None,
) -> Iterator[str]:
    """What `check` finds, and what to type."""
    reader = FileReader(surroundings.cwd, runs_commands=False)
    report = examine(Sources(parse_argv([path]), environ, surroundings, reader), machine)
    for finding in (*report.of("error"), *report.of("warning")):
        yield f"  {finding.level}: {plain(without_secrets(str(finding)))}"
    short = os.path.relpath(path, surroundings.cwd)
    short = path if short.startswith("..") else short
    yield ""
    yield f"  penstock {short} --http 127.0.0.1:{_free_port()}   to look at it in a browser; Ctrl-C stops"
    if facts is not None and not is_allowed("127.0.0.1", facts.allowed_hosts) and not facts.debug:
        yield "      (ALLOWED_HOSTS has no 127.0.0.1: Django answers 400 there)"
    yield f"  penstock check {short}"
    if facts is not None and report.plan is not None:
        served = Served(processes=report.plan.processes, threads=report.plan.engine.threads)
        found = dict.fromkeys(each.code for each in judge(facts, served) if each.level != "note")
        if found:
            yield f"  penstock doctor {short}   before visitors come: {', '.join(found)}"


def _fail(*messages: str) -> int:
    _tell([*(f"[penstock] {message}" for message in messages), "[penstock] nothing was written"])
    return FAILED


def _tell(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
