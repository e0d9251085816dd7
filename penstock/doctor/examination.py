"""The whole examination: what is looked at, in which order, and what comes out of it.

Facts first, all of them, then the checks. Whoever asks says how a master is found and asked (`Masters`): that is the
business of the commands. Nothing is changed here; what mends is a value of each diagnosis.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from penstock.config.collect import Sources
from penstock.doctor.checks import GROUPS
from penstock.doctor.diagnosis import LEVELS, Blind, Diagnosis, of_finding
from penstock.doctor.facts import Facts, Instance, Service, SocketFact, StalePid
from penstock.doctor.gather import app, manifests, services, sockets
from penstock.doctor.gather.host import host
from penstock.doctor.gather.instance import instance
from penstock.doctor.report import Report, examine
from penstock.options.advice import is_reachable
from penstock.options.secrets import shown
from penstock.plan.access import Person
from penstock.plan.machine import Machine, find_group, find_user
from penstock.plan.types import ListenerPlan, Plan
from penstock.values import dataclass, replace

MOST_SOURCES = 5000
_GUESSED = frozenset({"app-syntax", "no-app-file", "no-callable", "no-module", "no-settings-module"})
_NOT_SOURCES = frozenset({"node_modules", "site-packages", "__pycache__", "venv", "env", "static", "media"})


class Masters(Protocol):
    """How running instances are found and asked."""

    def pid_of(self, path: str) -> int | str:
        """The living master that a pid file names, or why there is none; empty if there is no such file."""
        ...

    def ask(self, pid: int, command: str) -> dict[str, Any] | str:
        """What a master answers, or why it does not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be examined."""

    words: tuple[str, ...]
    """As a start takes them; empty where there is no configuration."""
    sources: Sources | None
    environ: Mapping[str, str]
    machine: Machine
    masters: Masters
    pid: int | None = None
    """The instance that was named."""
    root: str = "/"
    """What stands for the root of the file system where the files of services are looked up."""
    imports: bool = True
    """Whether the application is imported."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What came out."""

    facts: Facts
    diagnoses: tuple[Diagnosis, ...]
    """The worst first."""
    blind: tuple[Blind, ...]

    @property
    def exit_status(self) -> int:
        """0, 1 with warnings, 2 with errors."""
        levels = {one.level for one in self.diagnoses}
        return 2 if "error" in levels else 1 if "warning" in levels else 0

    def as_json_value(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "findings": [one.as_json_value() for one in self.diagnoses],
            "not_looked_at": [{"what": one.what, "why": one.why} for one in self.blind],
        }


def examine_all(wanted: Wanted, progress: Callable[[str], None] = lambda text: None) -> Examination:
    """Look at everything, and judge."""
    facts = gather(wanted, progress)
    return Examination(facts, judge(facts), facts.blind)


def judge(facts: Facts) -> tuple[Diagnosis, ...]:
    """Run every check, and take over what the configuration says of itself; the worst first."""
    found = [one for group in GROUPS for one in group.check(facts)]
    codes = {one.code for one in found}
    if codes & {"app-import-fails", "app-import-late"}:
        # What is guessed by reading it was tried by now.
        codes |= _GUESSED
    report = facts.report
    if report is not None:
        found += [one for one in _of_report(report) if one.code not in codes]
    return tuple(sorted(dict.fromkeys(found), key=lambda one: LEVELS.index(one.level)))


def _of_report(report: Report) -> Iterable[Diagnosis]:
    for finding in report.findings:
        pair = report.pair_of(finding)
        what = "" if pair is None else pair.key if pair.value is None else f"{pair.key} = {shown(pair.key, pair.value)}"
        yield of_finding(finding, what)


# -- facts -------------------------------------------------------------------------------------------------------------


def gather(wanted: Wanted, progress: Callable[[str], None]) -> Facts:
    """Look at everything, from what costs nothing to what takes a while."""
    blind: list[Blind] = []
    root = Path(wanted.root)
    progress("the configuration")
    report = examine(wanted.sources, wanted.machine) if wanted.sources is not None else None
    plan = report.intended if report is not None else None
    chdir = plan.app.chdir if plan is not None else wanted.machine.cwd
    files = _files(report, wanted.machine.cwd)
    found = services.services(root, services.Sought(files or (chdir,)))
    progress("sockets")
    looked = tuple(_sockets(plan, None)) if plan is not None else ()
    progress("the running instance")
    running, stale = _instance(wanted, plan, looked, blind)
    machine, unseen = host(wanted.environ, running.pid if running is not None else None)
    blind += unseen
    facts = Facts(
        host=machine,
        report=report,
        plan=plan,
        chdir=chdir,
        services=found,
        rotations=services.rotations(root, _logs(plan)) if plan is not None else (),
        sockets=looked,
        instance=running,
        stale_pid=stale,
        containers=manifests.containers(chdir),
        newest_source=newest_source(chdir),
    )
    if plan is not None and plan.app.description and wanted.imports:
        progress("the import of the application")
        facts = _imported(wanted, facts, plan, blind)
    return replace(facts, blind=tuple(blind))


def _files(report: Report | None, cwd: str) -> tuple[str, ...]:
    """The files of the configuration, absolute."""
    if report is None:
        return ()
    names = [entry.origin.name for entry in report.settings.entries if entry.origin.source == "file"]
    return tuple(os.path.join(cwd, name) for name in dict.fromkeys(names) if name != "-" and "://" not in name)


def _logs(plan: Plan) -> tuple[str, ...]:
    """Every file that a log is written to."""
    streams = (plan.log.server, plan.log.requests)
    paths = [plan.logto, plan.daemonize, plan.log.late_file]
    paths += [one.path for stream in streams for one in stream.loggers if one.kind == "file"]
    return tuple(dict.fromkeys(path for path in paths if path))


def address_of(listener: ListenerPlan, chdir: str) -> str:
    """Write where a listener listens: a path, `@name`, or HOST:PORT; empty where somebody else chooses."""
    if listener.family == "unix":
        return os.path.join(chdir, listener.host)
    if listener.family == "abstract":
        return f"@{listener.host}"
    if not listener.port or listener.inherited is not None:
        return ""
    host = f"[{listener.host}]" if listener.family == "inet6" else listener.host
    return f"{host}:{listener.port}"


def _sockets(plan: Plan, nginx: Person | None) -> Iterable[SocketFact]:
    listeners: list[tuple[ListenerPlan, str]] = [(one, one.protocol) for one in plan.listeners]
    if plan.stats is not None:
        listeners.append((plan.stats, "stats"))
    outward = sockets.outward_address()
    for one, protocol in listeners:
        address = address_of(one, plan.app.chdir)
        if not address:
            continue
        reaches = nginx if protocol != "stats" else None
        fact = sockets.look(address, protocol=protocol, origin=one.origin, nginx=reaches)
        if fact.presence == "accepts" and outward and one.family == "inet" and is_reachable(address):
            fact = replace(fact, outside=sockets.answers(f"{outward}:{one.port}"))
        yield fact


def _instance(
    wanted: Wanted, plan: Plan | None, looked: Iterable[SocketFact], blind: list[Blind]
) -> tuple[Instance | None, StalePid | None]:
    """Find the running instance: by what was named, by its pid file, else by who listens."""
    masters = wanted.masters
    stale: StalePid | None = None
    pid, pidfile = wanted.pid, ""
    for path in _pidfiles(plan) if pid is None and plan is not None else ():
        answer = masters.pid_of(path)
        if isinstance(answer, int):
            pid, pidfile = answer, path
            break
        if answer and stale is None:
            stale = StalePid(path, answer)
    if pid is None:
        pid = next((one.master for one in looked if one.master), None)
    if pid is None:
        return None, stale
    return instance(pid, pidfile, masters.ask, blind), stale


def _pidfiles(plan: Plan) -> list[str]:
    return [path for path in (plan.pidfile, plan.pidfile2, *plan.safe_pidfiles) if path]


def _imported(wanted: Wanted, facts: Facts, plan: Plan, blind: list[Blind]) -> Facts:
    """Import the application as whoever it would run as."""
    what = "the import of the application"
    euid = facts.host.euid
    if plan.uid is not None and euid != 0 and find_user(plan.uid) != euid:
        blind.append(Blind(what, f"only root can do it as {plan.uid}: run this as root"))
        return facts
    user = _user(facts, plan) if euid == 0 and plan.uid is None else None
    environ = {name: value for name, value in wanted.environ.items() if name not in ("NOTIFY_SOCKET", "LISTEN_FDS")}
    try:
        return replace(facts, app=app.import_it(wanted.words, plan, environ, wanted.machine.cwd, user))
    except OSError as error:
        who = sockets.user_name(user[0]) if user is not None else "this user"
        blind.append(Blind(what, f"{who} can not run {error.filename}: {error.strerror}"))
        return facts


def _user(facts: Facts, plan: Plan) -> tuple[int, int] | None:
    """Whose the import is, for root: that of the running instance, of its unit, or the owner of the project.

    What the application opens while it is imported (logs, databases) would be root's otherwise, and closed to it later.
    """
    uid: int | None = None
    if facts.instance is not None:
        uid = facts.instance.uid
    unit: Service | None = next((one for one in facts.services if one.user), None)
    if uid is None and unit is not None:
        uid = find_user(unit.user)
    try:
        owner = os.stat(plan.app.chdir)
    except OSError:
        return None
    if uid is None:
        uid = owner.st_uid
    if uid <= 0:
        return None
    name = sockets.user_name(uid)
    group = find_group(name)
    return uid, group if group is not None else owner.st_gid


def newest_source(folder: str) -> tuple[str, float] | None:
    """The file of Python code that was changed last, among as many as can be looked at quickly."""
    newest: tuple[str, float] | None = None
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_SOURCES and not name.startswith(".")]
        for name in names:
            if not name.endswith(".py"):
                continue
            count += 1
            if count > MOST_SOURCES:
                return newest
            path = os.path.join(place, name)
            try:
                changed = os.stat(path).st_mtime
            except OSError:
                continue
            if newest is None or changed > newest[1]:
                newest = path, changed
    return newest
