"""What an operator would go and look at: directories, rights, the application's file, who supervises.

Asked for by `penstock check`, not at a start, which meets most of it by itself a moment later. Nothing is imported,
connected to or changed; what is not there is a finding. Codes are rows of `penstock.plan.findings`.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from penstock.config.findings import Finding, Origin
from penstock.config.settings import Settings
from penstock.options.secrets import is_secret_name
from penstock.plan import log, modules, nginx, python
from penstock.plan.access import Person, first_closed
from penstock.plan.addresses import AddressError, parse_address
from penstock.plan.context import Context
from penstock.plan.machine import Machine
from penstock.plan.survey_app import survey_apps

MANY_WORKERS_FOR_A_CPU = 4
_CODE = frozenset({".env", ".git", "db.sqlite3", "manage.py", "settings.py", "wsgi.py"})
"""Names that tell that a directory is a project, or holds its secrets."""
_ENVIRONMENTS = ("venv", ".venv", "env", "virtualenv")
_FILES = ("pidfile", "logto", "daemonize", "logto2")
_LISTENING = ("http", "http-socket", "socket", "stats", "admin")


def survey(said: Settings, machine: Machine) -> tuple[Finding, ...]:
    """Look at everything that the configuration names."""
    context = Context(said, machine)
    _files(context)
    _sockets(context)
    log.survey_variables(context)
    _nginx(context)
    _supervisor(context)
    _environment(context)
    if os.path.isdir(context.chdir):
        _static(context, survey_apps(context))
    _configuration_files(context)
    return context.findings


# -- files and sockets that will be made -------------------------------------------------------------------------------


def _files(context: Context) -> None:
    """Pid file and logs are opened in the directory of the start, before anything else; pidfile2 in that of the app."""
    for setting in context.said.every("logger", "req-logger"):
        # What is wrong with the words themselves is said by the plan.
        made = log.logger(Context(context.said, context.machine), setting)
        if made is not None and made.path and made.kind == "file":
            _file(context, f"{setting.option.name} = {setting.value}", made.path, setting.origin)
            if made.backup:
                _renamed(context, f"{setting.option.name} = {setting.value}", made.backup, setting.origin)
    backup = context.at_start("log-backupname")
    if backup is not None:
        what = f"log-backupname = {context.said.text('log-backupname')}"
        _renamed(context, what, backup, context.said.origin("log-backupname"))
    second = context.said.text("pidfile2")
    paths = [(name, context.at_start(name)) for name in _FILES]
    paths.append(("pidfile2", None if second is None else context.after_chdir(second)))
    for name, path in paths:
        if path is None or (name == "logto" and ":" in path):
            # A log that is sent to HOST:PORT is no file.
            continue
        origin = context.said.origin(name)
        what = f"{name} = {context.said.text(name)}"
        _file(context, what, path, origin)


def _file(context: Context, what: str, path: str, origin: Origin) -> None:
    """A file that will be written to."""
    if os.path.isdir(path):
        context.error("is-directory", f"{what}: this is a directory", origin, f"name a file in it: {path}/app.log")
    elif os.path.exists(path):
        _writable(context, what, path, origin)
    else:
        _makeable(context, what, path, origin)


def _renamed(context: Context, what: str, path: str, origin: Origin) -> None:
    """A name that a file will be given; who needs it is up by then, so that it costs no start."""
    directory = os.path.dirname(path)
    if os.path.isdir(path):
        message = f"{what}: this is a directory, and no log can be renamed to it"
        context.warn("is-directory", message, origin, f"name a file in it: {path}/app.log.old")
    elif not os.path.isdir(directory):
        message = f"{what}: there is no directory {directory}, and the log grows on"
        context.warn("no-directory", message, origin, f"create it (mkdir -p {directory}), or correct the path")


def _sockets(context: Context) -> None:
    for setting in context.said.every(*_LISTENING):
        try:
            address = parse_address(str(setting.value), context.chdir)
        except AddressError:
            continue
        if address.family != "unix":
            continue
        what = f"{setting.option.name} = {setting.value}"
        if os.path.exists(address.host) and not stat.S_ISSOCK(os.stat(address.host).st_mode):
            message = f"{what}: there is a file of this name that is no socket"
            context.error("not-a-socket", message, setting.origin, "remove it, or choose another path")
        else:
            _makeable(context, what, address.host, setting.origin)


def _nginx(context: Context) -> None:
    """Hold what nginx sends against what is spoken."""
    found = list(nginx.passes(context.machine.nginx_dir))
    spoken = context.said.text("protocol") == "uwsgi"
    for setting in context.said.every("http", "http-socket", "socket") if found else ():
        try:
            address = parse_address(str(setting.value), context.chdir)
        except AddressError:
            continue
        is_uwsgi = setting.option.name == "socket" and spoken
        mine = [one for one in found if one.reaches(address)]
        _patience(context, mine)
        wrong = next((one for one in mine if (one.protocol == "uwsgi") != is_uwsgi), None)
        if wrong is None:
            continue
        what = f"{setting.option.name} = {setting.value}"
        if is_uwsgi:
            message = f"{what}: this speaks uwsgi, and nginx sends it HTTP ({wrong.place}: proxy_pass)"
            cure = "write uwsgi_pass and include uwsgi_params there, or http in place of socket here"
            context.error("nginx-speaks-http", message, setting.origin, cure)
        else:
            message = f"{what}: this serves HTTP, and nginx speaks uwsgi to it ({wrong.place}: uwsgi_pass)"
            cure = "write socket in place of http here, or proxy_pass there"
            context.error("nginx-speaks-uwsgi", message, setting.origin, cure)


def _patience(context: Context, found: Sequence[nginx.Pass]) -> None:
    """Tell where nginx gives a request up that may go on here."""
    harakiri = context.said.number("harakiri")
    for one in found:
        if one.read_timeout_s is None or one.read_timeout_s >= harakiri:
            continue
        name = f"{one.protocol.replace('http', 'proxy')}_read_timeout"
        message = (
            f"harakiri = {harakiri}: nginx answers 504 after {one.read_timeout_s:g} seconds ({one.place}: {name}), and "
            "the worker goes on for nobody"
        )
        cure = f"set {name} there above harakiri, or lower harakiri"
        context.warn("nginx-gives-up-first", message, context.said.origin("harakiri"), cure)
        return


def _makeable(context: Context, what: str, path: str, origin: Origin) -> None:
    """See whether a file can be made at `path`."""
    directory = os.path.dirname(path)
    if os.path.isdir(directory):
        _writable(context, what, directory, origin)
        return
    if path.startswith(("/run/", "/var/run/")):
        name = path.removeprefix("/var").split("/")[2]
        cure = f"RuntimeDirectory={name} in the systemd unit makes it at each start; by hand: mkdir {directory}"
        context.warn("no-directory", f"{what}: there is no directory {directory} now", origin, cure)
        return
    cure = f"create it (mkdir -p {directory}), or correct the path"
    context.error("no-directory", f"{what}: there is no directory {directory}", origin, cure)


def _writable(context: Context, what: str, place: str, origin: Origin) -> None:
    """Files are opened as whoever starts, so only that user's rights count, and only if it is the one who asks."""
    machine, uid = context.machine, context.said.text("uid")
    starts_as_other = uid is not None and machine.user_id(uid) != machine.euid
    person = Person(machine.euid, machine.groups(machine.euid))
    if starts_as_other or (os.access(place, os.W_OK) and person.may_write(place)):
        return
    message = f"{what}: user {machine.user_name()} may not write to {place}"
    context.error("not-writable", message, origin, "allow it (chown, chmod), or name another place")


# -- who supervises, and what runs it ----------------------------------------------------------------------------------


def _supervisor(context: Context) -> None:
    said = context.said
    unit = _unit(context)
    if context.machine.is_under_systemd or unit:
        by = f" ({unit} starts it)" if unit else ""
        if said.given("daemonize"):
            message = f"daemonize under systemd{by}: the instance leaves its service, which then counts as ended"
            cure = "remove daemonize: the journal keeps the log, and Type=notify waits for the application"
            context.warn("daemonize-under-systemd", message, said.origin("daemonize"), cure)
        if said.given("die-on-term") and not said.flag("die-on-term"):
            message = f"systemd stops with SIGTERM{by}, which reloads here: each stop lasts until systemd kills it"
            cure = "remove die-on-term = false, or set KillSignal=SIGINT in the unit"
            context.warn("term-reloads-under-systemd", message, said.origin("die-on-term"), cure)
    processes = said.number("processes")
    if processes > MANY_WORKERS_FOR_A_CPU * context.machine.cpus:
        message = f"{processes} workers share {context.machine.cpus} CPUs"
        cure = "processes = auto is one for each; threads = N lets more requests wait side by side in less memory"
        context.note("many-workers", message, said.origin("processes"), cure)


def _unit(context: Context) -> str:
    """Find a service of this machine that starts one of the files that were read."""
    places = [os.path.join(context.machine.cwd, name) for name in _files_read(context)]
    for path in sorted(glob.glob(os.path.join(context.machine.units_dir, "*.service"))) if places else ():
        text = (modules.read_source(path) or b"").decode("utf-8", "replace")
        commands = [line.partition("=")[2].split() for line in text.splitlines() if line.startswith("ExecStart")]
        if any(place in words for words in commands for place in places):
            return path
    return ""


def _environment(context: Context) -> None:
    """The virtual environment: of which Python, and who may enter."""
    said, machine = context.said, context.machine
    home = said.text("home")
    if home is not None:
        place = os.path.normpath(context.after_chdir(home))
        version, engines = modules.version_of(place), machine.engine_versions()
        if version and engines and version not in engines:
            message = f"home = {home}: a virtual environment of Python {version}; this Penstock is for {engines[0]}"
            cure = f"make it again with Python {engines[0]}, or install Penstock with Python {version}"
            context.error("other-python", message, said.origin("home"), cure)
    elif os.path.isdir(context.chdir):
        for name in _ENVIRONMENTS:
            place = os.path.join(context.chdir, name)
            inside = os.path.realpath(machine.interpreter).startswith(os.path.realpath(place) + os.sep)
            is_own = inside or machine.interpreter.startswith(place + os.sep)
            if os.path.isfile(os.path.join(place, "pyvenv.cfg")) and not is_own:
                message = f"{place} is a virtual environment, and the application runs in {machine.interpreter}"
                context.note("venv-not-used", message, None, f"if its packages are meant: home = {place}")
    _reachable(context)


def _reachable(context: Context) -> None:
    """Started by root, everything of the application is opened as `uid`."""
    said, machine = context.said, context.machine
    uid = said.text("uid")
    number = machine.user_id(uid) if uid is not None else None
    if machine.euid != 0 or not number:
        return
    gid = said.text("gid")
    person = Person(number, machine.groups(number) | ({machine.group_id(gid) or 0} if gid is not None else set()))
    for name in ("chdir", "home", "wsgi-file"):
        path = said.text(name)
        closed = first_closed(context.after_chdir(path), person) if path is not None else None
        if closed is not None:
            message = f"{name} = {path}: user {uid} may not enter {closed}"
            cure = f"chmod o+x {closed}, or move the project, for instance to /srv"
            context.error("not-reachable", message, said.origin(name), cure)
            return
    home = said.text("home")
    interpreter = machine.interpreter if home is None else os.path.join(context.after_chdir(home), "bin", "python")
    closed = python.closed_on_the_way(interpreter, person.may_enter)
    if closed is not None:
        message = f"{interpreter} would run the application: user {uid} may not enter {closed}"
        cure = f"chmod o+x {closed}, or use a Python that everybody may run"
        context.error("not-reachable", message, said.origin("uid"), cure)


# -- what others can see -----------------------------------------------------------------------------------------------


def _static(context: Context, app_files: Sequence[str]) -> None:
    files = [os.path.join(context.machine.cwd, name) for name in _files_read(context)]
    for setting in context.said.every("static-map", "static-map2"):
        prefix, _, path = str(setting.value).partition("=")
        place = os.path.realpath(context.after_chdir(path.strip()))
        if not os.path.isdir(place):
            continue
        inside = [path for path in (*app_files, *files) if _is_inside(os.path.realpath(path), place)]
        shown = inside[0] if inside else next((os.path.join(place, name) for name in sorted(_CODE & _in(place))), "")
        if shown:
            message = f"{setting.option.name} = {setting.value}: everybody can read {shown} as {prefix.rstrip('/')}/..."
            cure = "serve a directory that holds nothing else (for Django: STATIC_ROOT)"
            context.warn("static-exposes-code", message, setting.origin, cure)


def _is_inside(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


def _in(directory: str) -> set[str]:
    try:
        return set(os.listdir(directory))
    except OSError:
        return set()


def _files_read(context: Context) -> list[str]:
    """Names of the files that pairs came from; text that came from elsewhere has none."""
    names = [entry.origin.name for entry in context.said.entries if entry.origin.source == "file"]
    return [name for name in dict.fromkeys(names) if name != "-" and "://" not in name]


def _configuration_files(context: Context) -> None:
    modes: dict[str, int] = {}
    for name in _files_read(context):
        try:
            found = os.stat(os.path.join(context.machine.cwd, name))
        except (OSError, ValueError):
            continue
        modes[name] = found.st_mode if stat.S_ISREG(found.st_mode) else 0
        if modes[name] & stat.S_IWOTH:
            message = f"every user of this machine may change {name}, and so what runs as the user of the instance"
            context.warn("config-writable", message, Origin("file", name), f"chmod o-w {name}")
    for setting in context.said.every("env"):
        variable = str(setting.value).partition("=")[0]
        is_secret = is_secret_name(variable) or variable == "DATABASE_URL"
        if is_secret and modes.get(setting.origin.name, 0) & stat.S_IROTH:
            message = f"every user of this machine may read {variable} in this file"
            cure = f"chmod o-r {setting.origin.name}, or use EnvironmentFile= of the systemd unit"
            context.note("secret-readable", message, setting.origin, cure)
