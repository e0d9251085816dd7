"""The configuration that a command is about, as something that a service manager runs: shared by `systemd`, `sysv`,
`supervisor`, `runit` and `tune`.

Reads the command line, makes the plan that the service will have (not this shell's), and looks at the project, at
nginx and at the users of this machine. Everything that is made of it is pure (`penstock.deploy`).
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from penstock.commands import configuration
from penstock.commands.terminal import plain, write
from penstock.config.argv import Given, Positional, parse_argv
from penstock.config.files import STANDARD_INPUT
from penstock.config.findings import ConfigError, ConfigExit
from penstock.config.load import load
from penstock.config.pairs import kind_of
from penstock.config.settings import Settings
from penstock.deploy import service as about
from penstock.deploy.artifact import Artifact, ArtifactError, Manifest, Tree, compare
from penstock.deploy.service import Remark, Service
from penstock.plan.machine import Machine, find_group, find_user
from penstock.plan.resolve import PlanError, resolve
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts, ask
from penstock.project.found import NoProject, Project, find
from penstock.project.names import name_of, slug
from penstock.project.surroundings import environ_of
from penstock.values import dataclass, replace

WRONG = 2
"""Exit status where nothing can be made."""
NOT_DONE = 1
"""Exit status where it was made and something did not go on the machine."""
WEB_GROUPS = ("www-data", "nginx", "http", "www")
"""Groups of web servers: of Debian, of RHEL and nginx.org, of Arch, of FreeBSD's heirs."""
_OWN_VARIABLES = ("PENSTOCK_", "UWSGI_")


class Wrong(Exception):
    """The command line can not be followed: why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line said, taken apart."""

    words: tuple[str, ...]
    """What a start would take."""
    flags: frozenset[str]
    values: tuple[tuple[str, str], ...]
    """(flag, value), in order."""

    def value(self, flag: str) -> str:
        """The last value of a flag; empty if it was not given."""
        return next((value for name, value in reversed(self.values) if name == flag), "")

    def every(self, flag: str) -> list[str]:
        """All of them."""
        return [value for name, value in self.values if name == flag]


def take(arguments: Sequence[str], flags: Sequence[str], valued: Sequence[str]) -> Asked:
    """Take a command's own flags out of its arguments; behind `--` there are none.

    Raises Wrong for a flag without its value.
    """
    rest, words = list(arguments), []
    seen: set[str] = set()
    values: list[tuple[str, str]] = []
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            words += [word, *rest]
            break
        if name in valued:
            if not equals and not rest:
                raise Wrong(f"{name} needs a value")
            given = value if equals else rest.pop(0)
            # An empty one is what a variable that is not set leaves behind: not the machine itself.
            if name == "--root" and not given:
                raise Wrong(f"{name} needs a directory")
            values.append((name, given))
        elif word in flags and not (word == "--socket" and _is_address(rest)):
            seen.add(word)
        else:
            words.append(word)
    return Asked(words=tuple(words), flags=frozenset(seen), values=tuple(values))


def _is_address(rest: Sequence[str]) -> bool:
    """Whether `--socket` is the option of a start, which has an address behind it."""
    return bool(rest) and not rest[0].startswith("-") and kind_of(rest[0].partition(":")[0]) is None


def typed(command: str, arguments: Sequence[str]) -> str:
    """What was typed, for a comment: without what says where the files go."""
    rest, words = list(arguments), ["penstock", command]
    while rest:
        word = rest.pop(0)
        if word == "--root":
            del rest[:1]
        elif word not in ("--install", "--uninstall") and not word.startswith("--root="):
            words.append(word)
    return " ".join(words)


IDENTITY = ("--name", "--user", "--group", "--web-group", "--program", "--root")
"""Flags with values that every one of these commands has."""


@dataclass(frozen=True, slots=True)
class Found:
    """The service, and how it was come by."""

    service: Service
    settings: Settings
    remarks: tuple[Remark, ...]


def of(asked: Asked, origin: str, somaxconn: int | None = None) -> Found:
    """Make the service; with `somaxconn` as if the kernel allowed such backlogs.

    Raises:
        Wrong: there is no configuration, or it can not be started.
        NotPossible: it can not be a service.
    """
    remarks: list[Remark] = []
    if STANDARD_INPUT in asked.words:
        raise Wrong("what standard input says is not there when the service starts: write it to a file")
    sources = configuration.sources(asked.words)
    if sources is None:
        raise Wrong("name a configuration: a file, or options as a start takes them")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)}
    for name in sorted(set(os.environ) - set(environ)):
        remarks.append(Remark(f"{name} is set in this shell, and not in the service", "write it to the configuration"))
    folder = folder_of(asked.words)
    surroundings = replace(sources.surroundings, cwd=folder)
    # As it will be there: started by root or by the user that it becomes, with nothing of this shell.
    program = _program(asked.value("--program"))
    machine = replace(
        Machine.here(), cwd=folder, euid=0, python_path="", inherited=(), temp_dir="/tmp",
        interpreter=_interpreter(program[0]) or sys.executable,
    )  # fmt: skip
    if somaxconn is not None:
        machine = replace(machine, somaxconn=somaxconn)
    try:
        settings = load(replace(sources, environ=environ, surroundings=surroundings))
        plan = resolve(settings, machine)
    except ConfigExit as end:
        raise Wrong("the configuration ends with an answer and starts nothing (exit)") from end
    except (ConfigError, PlanError) as error:
        lines = [str(one) for one in error.findings if one.level == "error"]
        raise Wrong("\n".join([*lines, "penstock check says more"])) from error
    service = _service(asked, settings, plan, folder, program, origin, remarks)
    return Found(service, settings, tuple(remarks))


def folder_of(words: Sequence[str]) -> str:
    """The working directory: the folder of the one file that is all there is, else where this was typed."""
    parsed = parse_argv(words)
    files = [one for one in parsed if _file(one)]
    if len(files) == len(parsed) == 1:
        return os.path.dirname(os.path.abspath(_file(files[0])))
    return os.getcwd()


def _file(word: object) -> str:
    """The configuration file that a word names; empty if it names none."""
    if isinstance(word, Positional):
        path, colon, section = word.word.partition(":")
    elif isinstance(word, Given) and word.key in ("ini", "yaml", "yml", "json", "xml", "toml") and word.value:
        path, colon, section = word.value.partition(":")
    else:
        return ""
    return path if "://" not in f"{path}{colon}{section}" else ""


def command(words: Sequence[str], program: Sequence[str]) -> tuple[str, ...]:
    """The command line of the service: configuration files by their absolute paths, all else as it was typed."""
    made = []
    rest = list(words)
    for index, word in enumerate(rest):
        option, equals, value = word.partition("=")
        before = rest[index - 1] if index else ""
        if kind_of(word.partition(":")[0]) is not None and not word.startswith("-"):
            is_value = before.startswith("--") and before[2:] not in ("ini", "yaml", "yml", "json", "xml", "toml")
            made.append(word if is_value and not os.path.isfile(word) else _absolute(word))
        elif equals and option[2:] in ("ini", "yaml", "yml", "json", "xml", "toml"):
            made.append(f"{option}={_absolute(value)}")
        else:
            made.append(word)
    return (*program, *made)


def _absolute(word: str) -> str:
    path, colon, section = word.partition(":")
    return word if section.startswith("//") else os.path.abspath(path) + colon + section


def _program(said: str) -> tuple[str, ...]:
    if said:
        return (os.path.abspath(said),)
    typed_as = shutil.which(sys.argv[0]) or ""
    beside = os.path.join(os.path.dirname(sys.executable), "penstock")
    for path in (typed_as, beside):
        if os.path.basename(path) == "penstock" and os.access(path, os.X_OK):
            return (os.path.abspath(path),)
    return sys.executable, "-m", "penstock"


def _interpreter(program: str) -> str:
    """The Python that a script is run by; empty if its first line names none by its path."""
    try:
        with open(program, "rb") as file:
            line = file.readline(500)
    except OSError:
        return ""
    words = os.fsdecode(line[2:]).split() if line.startswith(b"#!") else []
    return words[0] if len(words) == 1 and "python" in os.path.basename(words[0]) else ""


def _service(
    asked: Asked,
    settings: Settings,
    plan: Plan,
    folder: str,
    program: tuple[str, ...],
    origin: str,
    remarks: list[Remark],
) -> Service:
    name = asked.value("--name") or _name(settings.files, plan)
    if slug(name) != name:
        raise Wrong(f"--name {name}: a name has small letters, digits and dashes, and begins with a letter")
    user = asked.value("--user") or plan.uid or _owner(plan.app.chdir) or name
    facts = None if "--no-project" in asked.flags else _ask(plan, user, remarks)
    project, django = facts or (None, None)
    writes, after = about.of_django(django) if django is not None else ((), ())
    reads = [os.path.realpath(program[0]), os.path.realpath(plan.app.interpreter), *settings.files]
    if django is not None:
        reads += [path for path in (django.static_root, django.base_dir) if path]
    made = Service(
        name=name,
        command=command(asked.words, program),
        folder=folder,
        plan=plan,
        user="" if user in ("root", "0") else user,
        group=asked.value("--group") or plan.gid or "",
        web_group=asked.value("--web-group") or web_group(asked.value("--root") or "/"),
        reads=tuple(dict.fromkeys(os.path.abspath(path) for path in reads)),
        writes=writes,
        after=after,
        python=project.python if project is not None else plan.app.interpreter,
        manage=(project.manage or "") if project is not None else "",
        origin=origin,
    )
    remarks += _about_user(made, has_root=bool(asked.value("--root")))
    return made


def _owner(folder: str) -> str:
    """The user whose project it is; empty if that is root, or nobody with a name."""
    try:
        owner = os.stat(folder).st_uid
        return pwd.getpwuid(owner).pw_name if owner else ""
    except (OSError, KeyError):
        return ""


def _name(files: Sequence[str], plan: Plan) -> str:
    """Name a service as its project is named everywhere."""
    try:
        settings = find(plan.app.chdir, environ_of(plan, os.environ)).settings
    except NoProject:
        settings = None
    return name_of(files, settings, plan.app.chdir)


def _ask(plan: Plan, user: str, remarks: list[Remark]) -> tuple[Project, DjangoFacts | None] | None:
    """Look at the project, and have Django tell its settings, as the user that it will run as."""
    environ = environ_of(plan, os.environ)
    try:
        project = find(plan.app.chdir, environ)
    except NoProject:
        return None
    project = replace(project, python=plan.app.interpreter)
    if not project.is_django:
        return project, None
    ids: dict[str, int | None] = {}
    if os.geteuid() == 0 and (number := find_user(user)):
        try:
            ids = {"user": number, "group": pwd.getpwuid(number).pw_gid}
        except KeyError:
            ids = {"user": number, "group": number}
    answer = ask(project, environ=environ, user=ids.get("user"), group=ids.get("group"))
    if isinstance(answer, DjangoFacts):
        return project, answer
    remarks.append(
        Remark(f"Django does not tell its settings ({answer}): media, logs and databases of it are not known here")
    )
    return project, None


def web_group(root: str = "/") -> str:
    """The group of nginx's workers: what its main file says, else the usual one of this system; empty for none."""
    from penstock.deploy.nginx.reading import read

    main = "/etc/nginx/nginx.conf"
    if os.path.isfile(os.path.join(root, main[1:])):
        configured = read(main, "" if root == "/" else root).main.first("user")
        if configured is not None:
            return configured.args[1] if len(configured.args) > 1 else _group_of(configured.text)
    return next((name for name in WEB_GROUPS if _is_group(name)), "")


def _group_of(user_name: str) -> str:
    try:
        return grp.getgrgid(pwd.getpwnam(user_name).pw_gid).gr_name
    except KeyError:
        return user_name


def _is_group(name: str) -> bool:
    try:
        return grp.getgrnam(name) is not None
    except KeyError:
        return False


def _about_user(service: Service, has_root: bool) -> Iterator[Remark]:
    if has_root or not service.user:
        return
    if service.group and find_group(service.group) is None:
        yield Remark(f"there is no group {service.group}", f"groupadd --system {service.group}, or --group NAME")
    if find_user(service.user) is None:
        cure = (
            f"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {service.user}, or --user NAME"
        )
        yield Remark(f"there is no user {service.user}", cure)
        return
    for path in dict.fromkeys((*service.reads, service.folder, service.plan.app.chdir)):
        closed = _closed_to(path, find_user(service.user) or 0)
        if closed:
            # The home of root stays root's.
            cure = "install it where others may go, as /opt" if closed == "/root" else f"chmod o+x {closed}"
            yield Remark(f"the user {service.user} can not reach {path}: {closed} is closed to it", cure)
            return


def _closed_to(path: str, uid: int) -> str:
    """The directory on the way to a path that a user may not enter; empty if there is none."""
    if uid == 0:
        return ""
    groups = Machine.here().groups(uid)
    above = path
    waiting = []
    while above != "/":
        above = os.path.dirname(above)
        waiting.append(above)
    for place in reversed(waiting):
        try:
            found = os.stat(place)
        except OSError:
            return ""
        bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid in groups else 0o001
        if not found.st_mode & bit:
            return place
    return ""


# -- what comes out ----------------------------------------------------------------------------------------------------


def show(artifacts: Iterable[Artifact]) -> None:
    """Print files, each below its path; a lone one can go into its file as it is."""
    lines: list[str] = []
    for artifact in artifacts:
        lines += [""] if lines else []
        first, *rest = artifact.text.splitlines()
        path = f"# {plain(artifact.path)}" + (f"  (mode {artifact.mode:04o})" if artifact.mode != 0o644 else "")
        # A script begins with its interpreter.
        lines += [first, path, *rest] if first.startswith("#!") else [path, first, *rest]
    write(lines)


def tell(remarks: Iterable[Remark]) -> None:
    """Say on standard error what is to be known."""
    for remark in dict.fromkeys(remarks):
        print(f"[penstock] note: {plain(str(remark))}", file=sys.stderr)


def fail(error: Exception) -> int:
    """Say why nothing was made."""
    for line in str(error).splitlines():
        print(f"[penstock] {plain(line)}", file=sys.stderr)
    return WRONG


@dataclass(frozen=True, slots=True)
class Told:
    """What one command of the machine's came to."""

    words: tuple[str, ...]
    status: int
    output: str


Runner = Callable[[Sequence[str]], Told]


def run_command(words: Sequence[str]) -> Told:
    """Run a command of the machine's; a program that is not there is status 127, as for a shell."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", check=False,
        )  # fmt: skip
    except OSError as error:
        return Told(tuple(words), 127, f"{words[0]} can not be run: {error.strerror}")
    return Told(tuple(words), done.returncode, done.stdout)


def install(artifacts: Sequence[Artifact], root: str, name: str, after: Sequence[Sequence[str]], run: Runner) -> int:
    """Write files, say what changed, and run the machine's commands that make it known (`after`; none with a root).

    What was there before is remembered under `name`.
    """
    try:
        tree = Tree(root or "/")
        manifest = Manifest(tree, name)
        for artifact in artifacts:
            compare(artifact, tree)
        changes = manifest.put_all(artifacts)
    except ArtifactError as error:
        return fail(error)
    for change in changes:
        print(f"wrote {tree.on_disk(change.artifact.path)} ({', '.join(change.words)})")
    if not changes:
        print("nothing to write: every file is there as it should be")
    return _run_all(after if tree.is_machine else (), run)


def name_alone(asked: Asked) -> str:
    """The name of what is to be taken away, where no configuration is named; empty if there is none."""
    name = asked.value("--name")
    return name if name and not asked.words and slug(name) == name else ""


Commands = Callable[[Sequence[str]], Sequence[Sequence[str]]]
"""Paths that were written -> commands of the machine."""


def uninstall(root: str, name: str, before: Commands, after: Sequence[Sequence[str]], run: Runner) -> int:
    """Bring back what was there before `install`, once the machine's own commands (`before`) have let go of it."""
    try:
        tree = Tree(root or "/")
        manifest = Manifest(tree, name)
        if not manifest.entries:
            print(f"nothing to take away: nothing was installed as {name}")
            return 0
        paths = list(manifest.entries)
        status = _run_all(before(paths) if tree.is_machine else (), run)
        remarks = manifest.take_away()
    except ArtifactError as error:
        return fail(error)
    for path in paths:
        print(f"took away {tree.on_disk(path)}" if path not in manifest.entries else f"left {tree.on_disk(path)}")
    for remark in remarks:
        print(f"[penstock] note: {plain(remark)}", file=sys.stderr)
    status = _run_all(after if tree.is_machine else (), run) or status
    return NOT_DONE if remarks else status


def _run_all(commands: Iterable[Sequence[str]], run: Runner) -> int:
    for words in commands:
        told = run(words)
        print("$ " + " ".join(words))
        if told.status:
            print(
                f"[penstock] {' '.join(words)} ended with {told.status}: {plain(told.output.strip())}", file=sys.stderr
            )
            return NOT_DONE
    return 0
