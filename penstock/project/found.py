"""A project as its files tell it: where it is, of which kind, what serves it, and which environment it runs in.

`find` reads and never imports. Where several candidates are there it picks one by a rule, and the pick is a `Choice`
that says by which, and how to say otherwise. What Django's settings come to, only `django_facts` can tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from penstock.config.pairs import kind_of
from penstock.plan import modules
from penstock.plan.machine import Machine
from penstock.project import environments, sources
from penstock.project.environments import Environment
from penstock.project.names import name_of
from penstock.project.sources import SETTINGS_VARIABLE, Bound
from penstock.values import dataclass

Framework = Literal["django", "wsgi", "asgi"]
Listing = Literal["requirements", "pyproject", "uv", "poetry", "pipenv", "setup"]

_PRODUCTION = ("production", "prod", "live", "deploy", "server", "release")
"""Modules of settings that are meant for a server, the likeliest first."""
_NOT_PRODUCTION = frozenset({"local", "dev", "develop", "development", "debug", "test", "tests", "testing", "base",
                             "common", "ci", "staging", "docker", "local_settings", "settings_local"})  # fmt: skip
_USUAL_FOLDERS = ("src", "backend", "server", "app", "web", "site", "project", "django")
_USUAL_FILES = (
    "wsgi.py",
    "app.py",
    "main.py",
    "application.py",
    "server.py",
    "asgi.py",
    "run.py",
    "api.py",
    "index.py",
)
_REQUIREMENTS: tuple[tuple[Listing, str], ...] = (
    ("uv", "uv.lock"),
    ("poetry", "poetry.lock"),
    ("pipenv", "Pipfile.lock"),
    ("pipenv", "Pipfile"),
    ("requirements", "requirements.txt"),
    ("requirements", "requirements/production.txt"),
    ("requirements", "requirements/prod.txt"),
    ("requirements", "requirements/base.txt"),
    ("pyproject", "pyproject.toml"),
    ("setup", "setup.py"),
)
"""What lists a project's packages: exact versions before ranges."""
_UWSGI_NAMES = ("uwsgi.ini", "uwsgi.yaml", "uwsgi.yml", "uwsgi.xml", "uwsgi.json")
_DEPTH = 2
"""How many folders below the one that was named a project is looked for."""
_MOST_FILES = 2000
"""Files that are read for an application: a few seconds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was picked among several."""

    what: str
    picked: str
    others: tuple[str, ...]
    rule: str
    """Why this one."""
    otherwise: str
    """How to say that another one is meant."""

    def __str__(self) -> str:
        others = ", ".join(self.others[:4]) + (" ..." if len(self.others) > 4 else "")
        return f"{self.what}: {self.picked} ({self.rule}), not {others}; {self.otherwise}"


@dataclass(frozen=True, slots=True)
class Requirements:
    """A file that lists what is to be installed."""

    kind: Listing
    path: str


class NoProject(Exception):
    """There is none, or it can not be read: what was looked for and where, and what to do."""

    def __init__(self, reason: str, looked: tuple[str, ...], cure: str) -> None:
        super().__init__(f"{reason}; {cure}")
        self.reason = reason
        self.looked = looked
        """One line for each thing that was looked for."""
        self.cure = cure


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What a project is. Paths are absolute."""

    folder: str
    """Where its code is imported from: of manage.py, or of the module that has the application."""
    root: str
    """The folder that was named; `folder` or above it."""
    name: str
    """For files, sockets and services: a word of letters, digits and dashes."""
    framework: Framework
    library: str
    """What it is written with, as it is imported: django, flask, fastapi; empty where nothing tells."""
    manage: str | None
    settings: str | None
    """Of Django: the module's name."""
    settings_file: str | None
    wsgi: str | None
    """`module:callable`."""
    wsgi_file: str | None
    asgi: str | None
    asgi_file: str | None
    environment: Environment | None
    """The virtual environment that it runs in; None for the Python that runs Penstock."""
    environments: tuple[Environment, ...]
    """All that were found, that one included."""
    python: str
    """The interpreter that runs it."""
    python_version: str
    """As 3.11; empty where nothing tells."""
    requirements: tuple[Requirements, ...]
    """The one to install from first."""
    uwsgi_files: tuple[str, ...]
    """Configurations of uWSGI that are in it."""
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    """What is not as it should be, in sentences."""

    @property
    def home(self) -> str | None:
        """The path of its virtual environment."""
        return self.environment.path if self.environment is not None else None

    @property
    def is_django(self) -> bool:
        """Whether it is Django's."""
        return self.framework == "django"


def find(
    folder: str | os.PathLike[str],
    environ: Mapping[str, str],
    *,
    settings: str | None = None,
    machine: Machine | None = None,
) -> Project:
    """Find the project in a folder; `settings` names Django's module where the caller knows it. Raises NoProject."""
    root = os.path.abspath(folder)
    _readable(root)
    return _Finder(root, environ, settings, machine if machine is not None else Machine.here()).find()


def _readable(root: str) -> None:
    try:
        os.listdir(root)
    except FileNotFoundError:
        raise NoProject(f"there is no folder {root}", (), "name the folder that the project is in") from None
    except NotADirectoryError:
        cure = f"name the folder that it is in: {os.path.dirname(root)}"
        raise NoProject(f"{root} is a file, and a project is a folder", (), cure) from None
    except OSError as error:
        cure = f"run this as a user who may read it, or allow it: chmod o+rx {root}"
        raise NoProject(f"{root} can not be read: {error.strerror}", (), cure) from None


class _Finder:
    """One search: gathers choices and notes on its way."""

    def __init__(self, root: str, environ: Mapping[str, str], settings: str | None, machine: Machine) -> None:
        self.root = root
        self.environ = environ
        self.wanted_settings = settings
        self.machine = machine
        self.choices: list[Choice] = []
        self.notes: list[str] = []

    def find(self) -> Project:
        """Find it, or raise NoProject."""
        manage = self._manage()
        if manage is not None:
            return self._django(os.path.dirname(manage), manage)
        # A Django project that is run with django-admin, or as a package, has no manage.py.
        found = [path for path in _named("wsgi.py", self.root) if sources.settings_named(path)[1]]
        if found:
            first = min(found, key=self._nearness)
            return self._django(self._folder_of(sources.settings_named(first)[1], first), None)
        return self._other()

    # -- Django --------------------------------------------------------------------------------------------------------

    def _manage(self) -> str | None:
        found = [path for path in _named("manage.py", self.root) if sources.settings_named(path)[0]]
        if not found:
            return None
        first = min(found, key=self._nearness)
        if len(found) > 1:
            self.choices.append(
                Choice(
                    "project",
                    self._short(first),
                    tuple(self._short(path) for path in found if path != first),
                    "the nearest manage.py",
                    "name another one's folder: penstock init FOLDER",
                )
            )
        return first

    def _nearness(self, path: str) -> tuple[int, int, str]:
        """Order: fewest folders between, then usual names of folders, then the alphabet."""
        parts = os.path.relpath(path, self.root).split(os.sep)
        usual = _USUAL_FOLDERS.index(parts[0]) if parts[0] in _USUAL_FOLDERS else len(_USUAL_FOLDERS)
        return (len(parts), usual, path)

    def _django(self, folder: str, manage: str | None) -> Project:
        settings = self._settings(manage, folder)
        settings_file = self._file_of(settings, folder) if settings else None
        entry = {kind: self._entry_point(kind, folder, settings, settings_file) for kind in ("wsgi", "asgi")}
        if not settings:
            self.notes.append(f"{manage} computes {SETTINGS_VARIABLE}, which only its run can tell: set the variable")
        elif settings_file is None:
            self.notes.append(f"the settings {settings} are not below {folder}: are they installed?")
        return self._project(
            folder=folder,
            framework="django",
            library="django",
            manage=manage,
            settings=settings or None,
            settings_file=settings_file,
            wsgi=entry["wsgi"],
            asgi=entry["asgi"],
            name=name_of((), settings, folder),
        )

    def _settings(self, manage: str | None, folder: str) -> str:
        if self.wanted_settings:
            return self.wanted_settings
        named = self._settings_named(manage, folder)
        first = next(iter(named), "")
        from_environ = self.environ.get(SETTINGS_VARIABLE, "")
        if from_environ and self._file_of(from_environ, folder) is not None:
            self._chose(from_environ, [first], f"the environment's {SETTINGS_VARIABLE}")
            return from_environ
        candidates = self._settings_beside(first, folder) if first else self._settings_anywhere(folder)
        production = sorted(filter(_is_production, candidates), key=_production_rank)
        is_for_server = first and _last(first) not in _NOT_PRODUCTION and not self._says_nothing(first, folder)
        if production and not is_for_server:
            self._chose(production[0], [first, *candidates], "named for production")
            return production[0]
        if first:
            self._chose(first, [*named, *candidates], f"what {self._short(named[first])} names")
            return first
        if candidates:
            self._chose(candidates[0], candidates, "the first that looks like settings")
            return candidates[0]
        return ""

    def _settings_named(self, manage: str | None, folder: str) -> dict[str, str]:
        """Which settings files name, and the file; a wsgi.py is for servers, so it comes before manage.py."""
        beside = [path for path in _named("wsgi.py", folder, 2) if sources.settings_named(path)[1]]
        found: dict[str, str] = {}
        for path in [*sorted(beside, key=self._nearness), *([manage] if manage is not None else [])]:
            value = sources.settings_named(path)[1]
            if value:
                found.setdefault(value, path)
        return found

    def _settings_beside(self, named: str, folder: str) -> list[str]:
        """The settings that lie in the same package as those that are named, or in the package that these are."""
        file = self._file_of(named, folder)
        if file is None:
            return []
        is_package = os.path.basename(file) == "__init__.py"
        package = named if is_package else named.rpartition(".")[0]
        directory = os.path.dirname(file)
        if not is_package and not package:
            return []
        found = []
        for name in _entries(directory):
            stem, suffix = os.path.splitext(name)
            if suffix != ".py" or stem.startswith("_"):
                continue
            if sources.is_settings(os.path.join(directory, name)) and f"{package}.{stem}" != named:
                found.append(f"{package}.{stem}")
        return found

    def _settings_anywhere(self, folder: str) -> list[str]:
        found = []
        for path in sources.python_files(folder, 3):
            if "settings" in path[len(folder) :] and sources.is_settings(path):
                found.append(_dotted(path, folder))
        return found

    def _says_nothing(self, named: str, folder: str) -> bool:
        """Tell whether the settings that are named are a package that leaves everything to its modules."""
        file = self._file_of(named, folder)
        return file is not None and os.path.basename(file) == "__init__.py" and sources.is_empty(file)

    def _chose(self, picked: str, others: Sequence[str], rule: str) -> None:
        rest = tuple(dict.fromkeys(each for each in others if each and each != picked))
        if rest:
            cure = f"set {SETTINGS_VARIABLE} to name another one"
            self.choices.append(Choice("settings", picked, rest, rule, cure))

    def _entry_point(self, kind: str, folder: str, settings: str, settings_file: str | None) -> tuple[str, str] | None:
        """Find wsgi.py or asgi.py: as the settings say, beside them, or wherever it is."""
        said = sources.constant(settings_file, f"{kind.upper()}_APPLICATION") if settings_file else ""
        module, _, name = said.rpartition(".")
        file = self._file_of(module, folder) if module else None
        if file is not None:
            return f"{module}:{name}", file
        parts = settings.split(".")
        for length in range(len(parts) - 1, -1, -1):
            file = self._file_of(".".join([*parts[:length], kind]), folder)
            bound = sources.applications(file) if file is not None else []
            if file is not None and bound:
                return f"{_dotted(file, folder)}:{bound[0].name}", file
        found = [path for path in _named(f"{kind}.py", folder) if sources.applications(path)]
        if not found:
            return None
        first = min(found, key=self._nearness)
        return f"{_dotted(first, folder)}:{sources.applications(first)[0].name}", first

    # -- everything else -----------------------------------------------------------------------------------------------

    def _other(self) -> Project:
        found = sorted(self._applications(), key=self._likeliness)
        if not found:
            raise self._nothing()
        path, bound = found[0]
        folder = self._import_folder(path)
        target = f"{_dotted(path, folder)}:{bound.name}"
        if len(found) > 1:
            others = tuple(f"{_dotted(each, self._import_folder(each))}:{one.name}" for each, one in found[1:])
            rule = "WSGI before ASGI, the nearest file, then the usual names"
            self.choices.append(
                Choice("application", target, others, rule, "write another one at module in the configuration")
            )
        by_kind = {
            one.kind: (f"{_dotted(each, self._import_folder(each))}:{one.name}", each) for each, one in found[::-1]
        }
        return self._project(
            folder=folder,
            framework=bound.kind,
            library=_library(path, bound),
            manage=None,
            settings=None,
            settings_file=None,
            wsgi=by_kind.get("wsgi"),
            asgi=by_kind.get("asgi"),
            name=name_of((), None, self.root),
        )

    def _applications(self) -> Iterator[tuple[str, Bound]]:
        for number, path in enumerate(sources.python_files(self.root, _DEPTH)):
            if number == _MOST_FILES:
                self.notes.append(f"only the nearest {_MOST_FILES} Python files were read")
                return
            own = sources.applications(path)[:1]
            if not own and os.path.basename(path) in _USUAL_FILES:
                own = list(self._taken_over(path))[:1]
            for bound in own:
                yield path, bound

    def _taken_over(self, path: str) -> Iterator[Bound]:
        """Follow `from shop import app` to the file that makes it: a wsgi.py is often no more than this."""
        folder = self._import_folder(path)
        package = _dotted(os.path.dirname(path), folder).split(".") if os.path.dirname(path) != folder else []
        for name, module, there in sources.taken_over(path):
            level = len(module) - len(module.lstrip("."))
            base = package[: len(package) - level + 1] if level else []
            target = ".".join([*base, *filter(None, [module.lstrip(".")])])
            for candidate in (target, f"{target}.{there}" if target else there):
                file = self._file_of(candidate, folder)
                bound = next((one for one in sources.applications(file or "") if one.name in (there, name)), None)
                if bound is not None:
                    yield Bound(name, bound.kind, bound.line, bound.made_by)
                    break

    def _likeliness(self, found: tuple[str, Bound]) -> tuple[int, int, int, int, str]:
        path, bound = found
        name = os.path.basename(path)
        usual = _USUAL_FILES.index(name) if name in _USUAL_FILES else len(_USUAL_FILES)
        named = sources.NAMES.index(bound.name) if bound.name in sources.NAMES else len(sources.NAMES)
        folders = os.path.relpath(path, self.root).count(os.sep)
        return (bound.kind == "asgi", folders, usual, named, path)

    def _folder_of(self, settings: str, path: str) -> str:
        """Where the settings that a file names are imported from: at or above the folder that it is in."""
        folder = os.path.dirname(path)
        while folder != self.root and self._file_of(settings, folder) is None:
            folder = os.path.dirname(folder)
        return folder if self._file_of(settings, folder) is not None else self._import_folder(path)

    def _import_folder(self, path: str) -> str:
        """Where the module is imported from: above the outermost package that the file is in."""
        folder = os.path.dirname(path)
        while folder != self.root and os.path.isfile(os.path.join(folder, "__init__.py")):
            folder = os.path.dirname(folder)
        return folder

    def _nothing(self) -> NoProject:
        looked = (
            f"manage.py that names {SETTINGS_VARIABLE}: in {self.root} and {_DEPTH} folders down",
            "application, app, create_app() or Flask(...), FastAPI(...) and the like: in the Python files there",
        )
        above = os.path.dirname(self.root)
        inside = next((path for path in (os.path.join(above, "manage.py"),) if sources.settings_named(path)[0]), None)
        if inside is not None:
            cure = f"{inside} is one folder up: name {above}"
        else:
            count = sum(1 for _ in sources.python_files(self.root, _DEPTH))
            seen = "no Python file is there" if not count else f"{count} Python files were read"
            cure = f"{seen}; name the folder that has manage.py or the application: penstock init FOLDER"
        return NoProject(f"there is no Django project and no WSGI or ASGI application in {self.root}", looked, cure)

    # -- what all have -------------------------------------------------------------------------------------------------

    def _project(
        self,
        *,
        folder: str,
        framework: Framework,
        library: str,
        manage: str | None,
        settings: str | None,
        settings_file: str | None,
        wsgi: tuple[str, str] | None,
        asgi: tuple[str, str] | None,
        name: str,
    ) -> Project:
        found, environment = self._environment(folder, library)
        if environment is not None:
            python, version = environment.python, environment.version
        else:
            python, version = self.machine.interpreter, self.machine.python_version
        return Project(
            folder=folder,
            root=self.root,
            name=name,
            framework=framework,
            library=library,
            manage=manage,
            settings=settings,
            settings_file=settings_file,
            wsgi=wsgi[0] if wsgi else None,
            wsgi_file=wsgi[1] if wsgi else None,
            asgi=asgi[0] if asgi else None,
            asgi_file=asgi[1] if asgi else None,
            environment=environment,
            environments=tuple(found),
            python=python,
            python_version=version,
            requirements=tuple(_requirements(dict.fromkeys((folder, self.root)))),
            uwsgi_files=tuple(_uwsgi_files(dict.fromkeys((folder, self.root)))),
            choices=tuple(self.choices),
            notes=tuple(self.notes),
        )

    def _environment(self, folder: str, library: str) -> tuple[list[Environment], Environment | None]:
        """Pick: what can run, has the framework, and lies nearest; Penstock's own Python if that has the framework."""
        places = list(dict.fromkeys((folder, self.root)))
        above = list(dict.fromkeys(os.path.dirname(place) for place in places))
        found = environments.find_all(places, above, self.environ, self.machine.engine_versions())
        own = os.path.realpath(os.path.dirname(os.path.dirname(self.machine.interpreter)))
        if not found:
            return found, None
        picked = min(found, key=lambda each: (*self._unfit(each, library), found.index(each)))
        if self._unfit(picked, library) != (False, False, False) and self._own_has(library):
            return found, None
        others = [each for each in found if each is not picked]
        if os.path.realpath(picked.path) == own and picked.where not in (
            environments.IN_PROJECT,
            environments.BESIDE_PROJECT,
        ):
            # The Python that runs Penstock anyway: nothing has to be said.
            return found, None
        if others:
            rule = f"the nearest that can run and has {library or 'a Python that fits'}"
            names = tuple(self._short(each.path) for each in others)
            cure = "write another one at home in the configuration"
            self.choices.append(Choice("virtual environment", self._short(picked.path), names, rule, cure))
        self._note_environment(picked, library)
        return found, picked

    def _unfit(self, environment: Environment, library: str) -> tuple[bool, bool, bool]:
        return (
            not environment.is_usable,
            not environment.has_engine,
            bool(library) and not environment.holds(library),
        )

    def _own_has(self, library: str) -> bool:
        return not library or modules.find(library, self.machine.site_directories()).is_found

    def _note_environment(self, picked: Environment, library: str) -> None:
        if not picked.is_usable:
            self.notes.append(f"{picked.python} can not be run: make the environment again with python3 -m venv")
        elif not picked.has_engine:
            engines = ", ".join(self.machine.engine_versions())
            self.notes.append(
                f"{picked.path} is of Python {picked.version}, and this Penstock runs {engines}: install Penstock with "
                f"Python {picked.version}, or make the environment again"
            )
        elif library and not picked.holds(library):
            self.notes.append(f"{library} is not installed in {picked.path}: {picked.python} -m pip install ...")

    def _file_of(self, module: str, folder: str) -> str | None:
        if not module or not all(part.isidentifier() for part in module.split(".")):
            return None
        found = modules.find(module, [folder])
        return found.file if found.is_found and found.file else None

    def _short(self, path: str) -> str:
        short = os.path.relpath(path, self.root)
        return path if short.startswith(os.path.join("..", "..")) else short


def _last(module: str) -> str:
    return module.rpartition(".")[2]


def _is_production(module: str) -> bool:
    return _last(module) in _PRODUCTION or "prod" in _last(module).split("_")


def _production_rank(module: str) -> int:
    return _PRODUCTION.index(_last(module)) if _last(module) in _PRODUCTION else len(_PRODUCTION)


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _named(name: str, folder: str, depth: int = _DEPTH) -> Iterator[str]:
    for path in sources.python_files(folder, depth):
        if os.path.basename(path) == name:
            yield path


def _dotted(path: str, folder: str) -> str:
    """Write a file as the name that imports it from `folder`."""
    relative = os.path.relpath(path, folder).removesuffix(".py").removesuffix(os.sep + "__init__")
    return relative.replace(os.sep, ".")


def _library(path: str, bound: Bound) -> str:
    known = ("flask", "fastapi", "starlette", "quart", "bottle", "falcon", "pyramid", "sanic", "litestar", "django",
             "cherrypy", "webpy", "tornado", "blacksheep")  # fmt: skip
    imported = sources.imports(path) | {bound.made_by.lower()}
    return next((each for each in known if each in imported), "")


def _requirements(folders: Iterable[str]) -> Iterator[Requirements]:
    for folder in folders:
        there = set(_entries(folder))
        for kind, name in _REQUIREMENTS:
            if name.partition("/")[0] in there and os.path.isfile(os.path.join(folder, name)):
                yield Requirements(kind, os.path.join(folder, name))


def _uwsgi_files(folders: Iterable[str]) -> Iterator[str]:
    """List files with a section of uWSGI: by their name, or an ini file that has [uwsgi]."""
    for folder in folders:
        for place in (
            folder,
            os.path.join(folder, "uwsgi"),
            os.path.join(folder, "deploy"),
            os.path.join(folder, "conf"),
        ):
            for name in _entries(place):
                path = os.path.join(place, name)
                if name in _UWSGI_NAMES or (
                    kind_of(name) == "ini"
                    and name != "penstock.ini"
                    and b"[uwsgi]" in (modules.read_source(path) or b"")
                ):
                    yield path
