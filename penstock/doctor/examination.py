"""The whole examination: what is looked at, in which order, and what comes out of it.

Facts first, all of them, then the checks. Whoever asks says how a master is found and asked (`Masters`): that is the
business of the commands. Nothing is changed here; what mends is a value of each diagnosis.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from penstock.config.collect import Sources
from penstock.deploy.nginx.servers import Server, passings, server_of
from penstock.doctor.checks import GROUPS
from penstock.doctor.checks.chain import hop, hops
from penstock.doctor.diagnosis import LEVELS, Blind, Diagnosis, of_finding
from penstock.doctor.facts import Asked, Facts, Instance, LogEnd, NginxFacts, Service, SocketFact, StalePid
from penstock.doctor.gather import app, client, manifests, services, sockets
from penstock.doctor.gather import nginx as nginx_files
from penstock.doctor.gather.host import host
from penstock.doctor.gather.instance import instance
from penstock.doctor.gather.nginx import UPLOADS, Folder
from penstock.doctor.report import Report, examine
from penstock.options.advice import is_reachable
from penstock.options.secrets import shown
from penstock.plan.access import Person
from penstock.plan.addresses import Address
from penstock.plan.machine import Machine, find_group, find_user
from penstock.plan.types import ListenerPlan, Plan
from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from penstock.project.found import NoProject, find
from penstock.project.surroundings import environ_of
from penstock.values import dataclass, replace

MOST_SOURCES = 5000
_UPLOAD_URLS = frozenset({"media", "uploads"})
"""Beneath these nothing is missed before somebody has uploaded something."""
_TUNED = frozenset({"backlog-lowered"})
"""What `penstock tune` sets right."""
_LOG_BYTES = 64 * 1024
_LOG_LINES = 3
_SOCKET = frozenset(
    {
        "socket-closed-to-nginx",
        "nginx-private-tmp",
        "nginx-speaks-http",
        "nginx-speaks-uwsgi",
        "stale-socket",
        "not-running",
    }
)
_IMPORT = frozenset({"app-import-fails", "app-import-late"})
_NO_NGINX = frozenset({"nginx-not-running", "nginx-port-taken", "chain-no-nginx"})
EXPLAINED: Mapping[str, frozenset[str]] = {
    "app-syntax": _IMPORT,
    "no-app-file": _IMPORT,
    "no-callable": _IMPORT,
    "no-module": _IMPORT,
    "no-settings-module": _IMPORT,
    "django-not-up": _IMPORT,
    "chain-not-passed": _SOCKET,
    "chain-app-fails": _SOCKET,
    "chain-no-nginx": frozenset({"nginx-not-running", "nginx-port-taken"}),
    "chain-other-answer": _NO_NGINX | {"nginx-other-server", "nginx-host-missing", "nginx-params-missing"},
    "chain-host-refused": _SOCKET | {"django-hosts", "nginx-host-missing", "nginx-params-missing"},
    "client-address-lost": frozenset({"nginx-params-missing", "nginx-speaks-http"}),
    "django-upload-limit": frozenset({"upload-limits"}),
    "harakiri-above-nginx": frozenset({"nginx-gives-up-first"}),
    "nginx-alias-slash": frozenset({"static-not-found"}),
    "nginx-host-missing": frozenset({"nginx-speaks-http"}),
    "nginx-params-missing": frozenset({"nginx-speaks-uwsgi"}),
    "nginx-scheme-missing": frozenset({"nginx-speaks-http"}),
    "nginx-not-running": frozenset({"nginx-broken"}),
    "runs-as-root": frozenset({"instance-is-root"}),
    "socket-for-owner": frozenset({"socket-closed-to-nginx"}),
    "socket-in-tmp": frozenset({"nginx-private-tmp"}),
}
"""Codes that follow from others: what is the cause is said, and not what comes of it."""
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
    """None where there is no configuration."""
    folder: str
    """The project's, where no configuration names it."""
    environ: Mapping[str, str]
    machine: Machine
    masters: Masters
    pid: int | None = None
    """The instance that was named."""
    root: str = "/"
    """What stands for the root of the file system where the files of services are looked up."""
    imports: bool = True
    """Whether the application is imported."""
    requests: bool = True
    """Whether requests are sent through nginx to the application."""
    nginx_file: str = ""
    """The main file of nginx; empty for that of the installed one."""


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
            "chain": [
                {"url": one.url, "reaches": hops(one), "nginx": one.via.status, "application": one.direct.status}
                for one in (self.facts.nginx.routes if self.facts.nginx is not None else ())
            ]
            + [
                {"url": f"http://{one.host}/", "reaches": hop(one), "nginx": None, "application": one.response.status}
                for one in (self.facts.asked,)
                if one is not None
            ],
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
    report = facts.report
    if report is not None:
        found += [one for one in _of_report(report) if one.code not in codes and not _is_refuted(one.code, facts)]
        codes |= {one.code for one in found}
    kept = [one for one in dict.fromkeys(found) if not EXPLAINED.get(one.code, frozenset()) & codes]
    return tuple(sorted(kept, key=lambda one: LEVELS.index(one.level)))


def _is_refuted(code: str, facts: Facts) -> bool:
    """Whether the configuration alone lets something fear that a unit or the running instance shows to be otherwise."""
    return code == "runs-as-root" and facts.person is not None and facts.person.uid != 0


def _of_report(report: Report) -> Iterable[Diagnosis]:
    for finding in report.findings:
        pair = report.pair_of(finding)
        what = "" if pair is None else pair.key if pair.value is None else f"{pair.key} = {shown(pair.key, pair.value)}"
        made = of_finding(finding, what)
        if finding.code in _TUNED and report.settings.files:
            made = replace(made, commands=(f"penstock tune --apply {report.settings.files[0]}",))
        yield made


# -- facts -------------------------------------------------------------------------------------------------------------


def gather(wanted: Wanted, progress: Callable[[str], None]) -> Facts:
    """Look at everything, from what costs nothing to what takes a while."""
    blind: list[Blind] = []
    root = Path(wanted.root)
    progress("the configuration")
    # nginx's files are read below, by its own grammar.
    machine = replace(wanted.machine, nginx_dir="")
    report = examine(wanted.sources, machine) if wanted.sources is not None else None
    plan = report.intended if report is not None else None
    chdir = plan.app.chdir if plan is not None else wanted.folder
    files = _files(report, wanted.machine.cwd)
    found = services.services(root, services.Sought(files or (chdir,)))
    progress("nginx")
    # Who names the file of nginx means one of this machine.
    tree = "/" if wanted.nginx_file else wanted.root
    nginx = nginx_files.look(wanted.environ, wanted.nginx_file, tree, wanted.machine.euid, blind)
    addresses = [Address(one.family, _host(one, chdir), one.port) for one in plan.listeners] if plan is not None else []
    if nginx is not None:
        nginx = replace(nginx, mine=tuple(nginx_files.mine(nginx.configuration, addresses)))
    person = nginx_files.person(nginx, wanted.machine) if nginx is not None and nginx.mine else None
    progress("sockets")
    looked = tuple(_sockets(plan, person)) if plan is not None else ()
    if nginx is not None and nginx.pid and nginx.mine:
        looked = tuple(
            replace(one, seen_by_nginx=nginx_files.sees(nginx.pid, one.address))
            if one.family == "unix" and one.protocol != "stats"
            else one
            for one in looked
        )
    progress("the running instance")
    running, stale = _instance(wanted, plan, looked, blind)
    found_host, unseen = host(wanted.environ, running.pid if running is not None else None)
    blind += unseen
    facts = Facts(
        host=found_host,
        report=report,
        plan=plan,
        chdir=chdir,
        services=found,
        rotations=services.rotations(root, _logs(plan)) if plan is not None else (),
        sockets=looked,
        instance=running,
        stale_pid=stale,
        log=_log_end(plan) if plan is not None and running is None else None,
        nginx=nginx,
        is_elsewhere=wanted.root != "/" and not wanted.nginx_file,
        containers=manifests.containers(chdir),
        newest_source=newest_source(chdir),
    )
    if plan is not None and plan.app.description and wanted.imports:
        progress("the import of the application")
        facts = _imported(wanted, facts, plan, blind)
    progress("Django")
    if plan is not None:
        facts = replace(facts, person=_person(facts, plan))
    if plan is not None or report is None:
        facts = replace(facts, django=_django(wanted, facts, plan, blind))
    if nginx is not None and plan is not None:
        progress("the chain from nginx to the application")
        facts = replace(facts, nginx=_chain(wanted, facts, nginx, person, tree))
    if plan is not None and wanted.requests and not (facts.nginx is not None and facts.nginx.routes):
        progress("the application")
        facts = replace(facts, asked=_ask(facts))
    return replace(facts, blind=tuple(blind))


def _ask(facts: Facts) -> Asked | None:
    """Send one request to the first socket that answers, by a name that the application will take."""
    there = [one for one in facts.sockets if one.presence == "accepts" and one.holder_is_ours]
    one = next((one for one in there if one.protocol in ("http", "uwsgi") and one.speaks in ("", one.protocol)), None)
    if one is None:
        return None
    allowed = facts.django.allowed_hosts if isinstance(facts.django, DjangoFacts) else ()
    host = next((name for name in allowed if name[:1] not in (".", "*", "")), "localhost")
    headers = {"Host": host}
    ask = client.uwsgi if one.protocol == "uwsgi" else client.http
    return Asked(address=one.address, origin=one.origin, host=host, response=ask(one.address, "/", headers))


def _log_end(plan: Plan) -> LogEnd | None:
    """The last lines of the log, which may tell why an instance is not there any more."""
    for path in (plan.logto, plan.daemonize, plan.log.late_file):
        try:
            with open(path or "", "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LOG_BYTES))
                lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        except (OSError, ValueError):
            continue
        return LogEnd(path or "", tuple(lines[-_LOG_LINES:]))
    return None


def _host(listener: ListenerPlan, chdir: str) -> str:
    return os.path.join(chdir, listener.host) if listener.family == "unix" else listener.host


def _chain(wanted: Wanted, facts: Facts, nginx: NginxFacts, person: Person | None, tree: str) -> NginxFacts:
    """Try the way from a visitor to the application, and look at the files on it."""
    served = [one for one in facts.sockets if one.protocol != "stats"]
    if not nginx.mine:
        texts = [one.address for one in served]
        dead = [one for one in passings(nginx.configuration) if sockets.is_dead(one.to.target)]
        return replace(nginx, unread=nginx_files.unread(nginx.configuration, tree, texts), dead=tuple(dead))
    servers = {str(server.scope.here.origin): server for one in nginx.mine if (server := server_of(one)) is not None}
    ports = {listen.port for server in servers.values() for listen in server.listens if listen.port}
    held = [(port, sockets.holders_of(port)) for port in sorted(ports)]
    holders = [(port, " and ".join(sorted(names))) for port, names in held if names and "nginx" not in names]
    asks = wanted.requests and not facts.is_elsewhere
    statics = [
        fact
        for server in servers.values()
        for fact in nginx_files.statics(server, _folders(server, facts), person, ask=asks and bool(nginx.pid))
    ]
    taken = {port for port, _ in holders}
    ways = [
        one
        for one in nginx.mine
        if (server := server_of(one)) is not None and not taken & {listen.port for listen in server.listens}
    ]
    routes = nginx_files.routes(ways, _counted(wanted, facts)) if asks and nginx.pid else ()
    return replace(
        nginx,
        holders=tuple(holders),
        statics=tuple(statics),
        routes=routes,
        log_lines=nginx_files.log_lines(nginx.error_log, [one.to.target for one in nginx.mine]),
    )


def _counted(wanted: Wanted, facts: Facts) -> Iterator[int]:
    """How many requests the instance has had; -1 where it does not say."""
    while True:
        pid = facts.instance.pid if facts.instance is not None else 0
        answer = wanted.masters.ask(pid, "stats") if pid else ""
        stats = answer.get("stats", {}) if isinstance(answer, dict) else {}
        workers = stats.get("workers")
        yield sum(int(one.get("requests", 0)) for one in workers) if isinstance(workers, list) else -1


def _folders(server: Server, facts: Facts) -> list[Folder]:
    """The folders whose files visitors should get: Django's, and those that nginx names."""
    found: dict[str, Folder] = {}
    django = facts.django
    if isinstance(django, DjangoFacts):
        for name, url, folder in (
            ("STATIC_ROOT", django.static_url, django.static_root),
            (UPLOADS, django.media_url, django.media_root),
        ):
            if url.startswith("/") and url != "/" and folder:
                found[url.rstrip("/")] = Folder(url, folder, name)
    for location in server.locations():
        url = location.pattern
        if location.kind not in ("prefix", "prefix first") or location.scope.here.first("alias", "root") is None:
            continue
        path = location.file(url)
        if url.rstrip("/") and path is not None and location.scope.here.first("internal") is None:
            what = UPLOADS if url.strip("/") in _UPLOAD_URLS else str(location.scope.here.origin)
            found.setdefault(url.rstrip("/"), Folder(url, path, what))
    return list(found.values())


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


def _django(wanted: Wanted, facts: Facts, plan: Plan | None, blind: list[Blind]) -> DjangoFacts | Unanswered | None:
    """Ask the project, if it is Django's, as whoever it would run as; None where it is not, or can not be asked."""
    try:
        project = find(facts.chdir, wanted.environ, machine=wanted.machine)
    except NoProject:
        return None
    if not project.is_django:
        return None
    what = "Django's settings, migrations and static files"
    if not wanted.imports:
        blind.append(Blind(what, "asking the project imports it (--no-import)"))
        return None
    if plan is None:
        return ask(project, "migrations", "deploy", "static", "database", environ=wanted.environ)
    if facts.app is None or facts.app.status:
        blind.append(Blind(what, "the application does not import" if facts.app else "it could not be imported"))
        return None
    environ = environ_of(plan, wanted.environ)
    settings = environ.get("DJANGO_SETTINGS_MODULE") or project.settings
    project = replace(project, python=plan.app.interpreter, folder=plan.app.chdir, settings=settings)
    uid, gid = (_user(facts, plan) if facts.host.euid == 0 else None) or (None, None)
    if facts.host.euid == 0 and plan.uid is not None:
        uid = find_user(plan.uid)
        gid = find_group(plan.gid) if plan.gid is not None else find_group(plan.uid)
    return ask(project, "migrations", "deploy", "static", "database", environ=environ, user=uid, group=gid)


def _person(facts: Facts, plan: Plan) -> Person | None:
    """Whom the instance runs as, or would: as it does, as its configuration or its unit says."""
    unit = next((one.user for one in facts.services if one.user), "")
    uid = find_user(plan.uid) if plan.uid is not None else None
    if uid is None and facts.instance is not None and facts.instance.uid >= 0:
        uid = facts.instance.uid
    if uid is None and unit:
        uid = find_user(unit)
    return Person(uid, Machine.here().groups(uid)) if uid is not None else None


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
