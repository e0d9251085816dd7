"""What Django's settings come to: asked of the project's own interpreter in a child process, never imported here.

`ask` starts `ask_django.py` with the project's Python and reads JSON from a descriptor of its own, so that what the
project prints is no answer. A project that does not come up is no exception but a value, `Unanswered`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import IO, Any, Literal

from penstock.project import owner
from penstock.project.found import Project
from penstock.project.sources import SETTINGS_VARIABLE
from penstock.values import dataclass

TIME_LIMIT_S = 60
"""As long as a large project takes to import on a small machine, a few times over."""
_LARGEST_ANSWER_BYTES = 16 << 20
_LARGEST_OUTPUT_BYTES = 64 << 10
_VARIABLES = {"PYTHONDONTWRITEBYTECODE": "1"}
"""A look leaves nothing behind."""

Wanted = Literal["migrations", "deploy", "static", "database"]
"""What takes a look at more than the settings: unapplied migrations, `check --deploy`, collected static files, and how
many connections the database lets in."""


@dataclass(frozen=True, slots=True)
class Database:
    """One of DATABASES, without its password."""

    alias: str
    engine: str
    vendor: str
    """sqlite, postgresql, mysql, oracle, or what another engine calls itself."""
    name: str
    """Of SQLite an absolute path."""
    host: str
    port: str
    user: str
    conn_max_age: int | None
    """Seconds that a connection is kept; 0 for one request, None for ever."""
    pool_size: int | None
    """Connections that a pool of a process may open; None without a pool."""
    options: tuple[str, ...]
    """Names of OPTIONS."""
    connection_limit: int | None = None
    """Connections that the server lets ordinary users open; None if nobody asked, or it has no such limit."""
    connection_error: str = ""
    """Why it could not be asked."""


@dataclass(frozen=True, slots=True)
class Cache:
    """One of CACHES."""

    alias: str
    backend: str
    locations: tuple[str, ...]
    """Without passwords."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file that a handler of LOGGING writes to."""

    handler: str
    kind: str
    """Its class."""
    path: str


@dataclass(frozen=True, slots=True)
class Migrations:
    """What `migrate` would do on one database."""

    alias: str
    names: tuple[str, ...]
    """As app.name."""
    error: str = ""
    """Why nobody can know; names is empty then."""


@dataclass(frozen=True, slots=True)
class Message:
    """One of `manage.py check --deploy`."""

    id: str
    level: int
    """As Django has them: 20 info, 30 warning, 40 error, 50 critical."""
    text: str
    hint: str
    about: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collectstatic` would do."""

    total: int
    missing: int
    """Files that are not in STATIC_ROOT."""
    older: int
    """Files whose copy there is older, and different."""
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoFacts:
    """What there is to know of a Django project. Paths are absolute; what is not set is empty."""

    django_version: str
    python_version: str
    settings: str
    settings_file: str
    base_dir: str
    debug: bool
    secret_key: Literal["set", "example", "missing"]
    """`example` is what startproject writes."""
    allowed_hosts: tuple[str, ...]
    csrf_trusted_origins: tuple[str, ...]
    secure_proxy_ssl_header: tuple[str, ...] | None
    secure_ssl_redirect: bool
    session_cookie_secure: bool
    csrf_cookie_secure: bool
    use_x_forwarded_host: bool
    secure_hsts_seconds: int
    static_url: str
    """With its slashes, as Django gives it; a full URL if another host serves them."""
    static_root: str
    static_dirs: tuple[str, ...]
    static_storage: str
    static_is_hashed: bool
    """Names of collected files hold a hash of their content."""
    media_url: str
    media_root: str
    media_storage: str
    databases: tuple[Database, ...]
    caches: tuple[Cache, ...]
    caches_are_set: bool
    """Whether the settings say anything of CACHES."""
    session_engine: str
    session_cache_alias: str
    data_upload_max_memory_size: int | None
    """Bytes of a body without files; None for no limit."""
    file_upload_max_memory_size: int | None
    file_upload_temp_dir: str
    file_upload_permissions: int | None
    installed_apps: tuple[str, ...]
    middleware: tuple[str, ...]
    root_urlconf: str
    wsgi_application: str
    asgi_application: str
    admin_url: str
    """The path of the admin; empty if there is none."""
    log_files: tuple[LogFile, ...]
    error_outlets: tuple[str, ...]
    """Where the traceback of a request that failed goes, by kinds of handlers; empty if nobody gets it."""
    memory_bytes: int = 0
    """That a process with the project in it takes; 0 if nobody knows."""
    migrations: tuple[Migrations, ...] | None = None
    """None if nobody asked."""
    messages: tuple[Message, ...] | None = None
    """Of `check --deploy`; None if nobody asked."""
    collected: Collected | None = None
    """None if nobody asked, or there are too many files."""

    @property
    def uses_staticfiles(self) -> bool:
        """Whether Django collects static files at all."""
        return "django.contrib.staticfiles" in self.installed_apps

    @property
    def unapplied(self) -> tuple[str, ...]:
        """Migrations that are not applied, on whichever database."""
        return tuple(name for each in self.migrations or () for name in each.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """The project did not come up: why, and where."""

    reason: str
    """One line: the exception, or what became of the process."""
    file: str = ""
    """Of the innermost frame in the project's own code."""
    line: int = 0
    cure: str = ""
    traceback: str = ""
    output: str = ""
    """What the project wrote before."""
    missing: str = ""
    """The module that is nowhere, if that is why."""

    def __str__(self) -> str:
        at = f" at {self.file}:{self.line}" if self.file else ""
        return f"{self.reason}{at}" + (f"; {self.cure}" if self.cure else "")


def ask(
    project: Project,
    *wanted: Wanted,
    environ: Mapping[str, str] | None = None,
    time_limit_s: float = TIME_LIMIT_S,
    user: int | None = None,
    group: int | None = None,
) -> DjangoFacts | Unanswered:
    """Ask a Django project what its settings come to, and what else is `wanted`.

    `environ` is what it runs with. `user` and `group` are ids to run it as; root asks as the owner of the project if
    none is named: a log file that the settings open must not become root's.
    """
    if not project.settings:
        cure = f"set {SETTINGS_VARIABLE} to the name of the module"
        return Unanswered(reason=f"nobody knows which settings {project.folder} uses", cure=cure)
    variables = {**(os.environ if environ is None else environ), **_VARIABLES, SETTINGS_VARIABLE: project.settings}
    # What leads another Python astray.
    for name in ("PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    if user is not None:
        ids = owner.ids_of(user, group)
    else:
        ids = owner.as_owner(project.folder)
    answer = _ask(project, wanted, variables, time_limit_s, ids, "")
    if isinstance(answer, Unanswered) and answer.missing and project.wsgi:
        # A wsgi.py may put directories on the path of imports, as manage.py does.
        module = project.wsgi.partition(":")[0]
        again = _ask(project, wanted, variables, time_limit_s, ids, module)
        answer = again if isinstance(again, DjangoFacts) else answer
    return answer


def _ask(
    project: Project,
    wanted: Iterable[Wanted],
    environ: dict[str, str],
    time_limit_s: float,
    ids: owner.Ids,
    module: str,
) -> DjangoFacts | Unanswered:
    answer = _answer_of(project, wanted, environ, time_limit_s, ids, module)
    if isinstance(answer, PermissionError) and ids.get("user"):
        # Root may, and does not: whoever owns the project could have it run anything as root then.
        who = owner.name_of(ids["user"])
        return Unanswered(
            reason=f"{who} may not run {project.python} in {project.folder}",
            cure=f"Python and the project have to be where {who} may read, not in root's home; or give the project to"
            " root, if its code may run as root",
        )
    if isinstance(answer, OSError):
        cure = "make the virtual environment again, or name another one"
        return Unanswered(reason=f"{project.python} can not be run: {answer.strerror}", cure=cure)
    return answer


def _answer_of(
    project: Project,
    wanted: Iterable[Wanted],
    environ: dict[str, str],
    time_limit_s: float,
    ids: owner.Ids,
    module: str,
) -> DjangoFacts | Unanswered | OSError:
    """Ask once; an OSError if the interpreter can not be run."""
    # Imported late: whoever only names the types starts no process.
    import signal
    import subprocess
    import tempfile

    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "ask_django.py"), encoding="utf-8") as file:
        script = file.read()
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as output:
        command = [project.python, "-c", script, str(answer.fileno()), ",".join(wanted), os.path.dirname(here), module]
        try:
            child = subprocess.Popen(
                command,
                cwd=project.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(answer.fileno(),),
                start_new_session=True,
                **ids,
            )
        except OSError as error:
            return error
        try:
            status = child.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            cure = "something that is imported or asked (a database, a network service) does not answer"
            reason = f"{project.settings} did not come up within {time_limit_s:g} seconds"
            return Unanswered(reason=reason, cure=cure, output=_tail(output))
        text = _content(answer)
        said = _tail(output)
    return _read(text, status, said, project)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_LARGEST_ANSWER_BYTES)


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LARGEST_OUTPUT_BYTES))
    return file.read().decode("utf-8", "replace")


def _read(text: bytes, status: int, output: str, project: Project) -> DjangoFacts | Unanswered:
    try:
        answer = json.loads(text)
    except ValueError:
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        last = output.strip().splitlines()[-1:] or ["it said nothing"]
        reason = f"{project.python} {ended} before it answered: {last[0]}"
        return Unanswered(reason=reason, cure="run manage.py check there", output=output)
    if "failure" in answer:
        told = answer["failure"]
        return Unanswered(
            reason=told["reason"],
            file=told["file"],
            line=told["line"],
            cure=_cure(told, project),
            traceback=told["traceback"],
            output=output,
            missing=told["name"] if told["kind"] == "ModuleNotFoundError" else "",
        )
    return from_json(answer["facts"])


def _cure(told: Mapping[str, Any], project: Project) -> str:
    if told["kind"] in ("ModuleNotFoundError", "ImportError") and told["name"]:
        name = told["name"].partition(".")[0]
        if (project.settings or "").partition(".")[0] == name:
            return f"there is no {told['name']} below {project.folder}; set {SETTINGS_VARIABLE} to the right name"
        listed = next((each for each in project.requirements if each.kind == "requirements"), None)
        what = f"-r {listed.path}" if listed is not None else name
        return f"install it: {project.python} -m pip install {what}"
    if told["kind"] == "KeyError":
        return "the settings want an environment variable: set it where this is run"
    return "mend it, and try manage.py check"


def from_json(document: Mapping[str, Any]) -> DjangoFacts:
    """Make the value of what `ask_django.describe` returns."""
    said = dict(document)
    for name, kind in (("databases", Database), ("caches", Cache), ("log_files", LogFile)):
        said[name] = tuple(kind(**_frozen(each)) for each in said[name])
    if said["migrations"] is not None:
        said["migrations"] = tuple(Migrations(**_frozen(each)) for each in said["migrations"])
    if said["messages"] is not None:
        said["messages"] = tuple(Message(**_frozen(each)) for each in said["messages"])
    if said["collected"] is not None:
        said["collected"] = Collected(**_frozen(said["collected"]))
    return DjangoFacts(**_frozen(said))


def _frozen(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
