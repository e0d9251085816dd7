"""One deployment: what was asked for, what is there, and what follows from both. Looks, and changes nothing.

What is worked out here is the same whether a plan is only shown or carried out: facts about Django are asked of the
project in its own folder, and what they come to on the server is derived (`production.as_served`).
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from penstock.config.argv import parse_argv
from penstock.config.collect import Sources
from penstock.config.findings import ConfigError, ConfigExit
from penstock.config.load import load
from penstock.config.surroundings import Surroundings
from penstock.deploy import memory, production, releases, services
from penstock.deploy.artifact import Manifest, Tree
from penstock.deploy.environment import Environment, environment_for
from penstock.deploy.layout import Layout, is_name, name_from
from penstock.deploy.nginx import installed as nginx
from penstock.deploy.nginx.reading import Configuration
from penstock.deploy.nginx.reading import read as read_nginx
from penstock.deploy.nginx.servers import user as user_of_nginx
from penstock.deploy.packages import packages_of
from penstock.deploy.running import Command, Runner
from penstock.deploy.service import FOREIGN
from penstock.deploy.steps import Failed
from penstock.plan.machine import Machine
from penstock.plan.resolve import PlanError, resolve
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from penstock.project.environments import Environment as ProjectEnvironment
from penstock.project.found import NoProject, Project, find
from penstock.values import dataclass, replace

_PASSED_ON = ("PATH", "LANG", "TZ")
_FORMAT = "1"
"""Of what a release is made of: another number makes a new release of the same project."""


class Refused(Exception):
    """It can not be begun: why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for. Whatever is empty was not, and then what was asked for the last time counts."""

    folder: str = ""
    name: str = ""
    hosts: tuple[str, ...] = ()
    port: int = 0
    user: str = ""
    home: str = ""
    """A virtual environment that is there, instead of one of its own."""
    python: str = ""
    health: str = ""
    keep: int = 0
    certificate: str = ""
    key: str = ""
    services: str = ""
    with_data: bool = False
    """Databases that are files, and uploads, are taken along from the project's folder while there are none yet."""
    without: tuple[str, ...] = ()
    """Parts that are left alone: `nginx`, `settings`, `boot`, `tune`, `logrotate`."""


PARTS = ("nginx", "settings", "boot", "tune", "logrotate")
DEFAULTS = Wish(port=80, health="/", keep=5)


def merged(given: Wish, remembered: Mapping[str, Any]) -> Wish:
    """What was asked for now, then what was the last time, then what is usual."""
    values: dict[str, Any] = {}
    for name in Wish.__annotations__:
        known = remembered.get(name)
        value = getattr(given, name) or (tuple(known) if isinstance(known, list) else known)
        values[name] = value or getattr(DEFAULTS, name)
    return Wish(**values)


class Deployment:
    """What there is to know for the steps. Properties are worked out when they are first asked for."""

    def __init__(
        self,
        given: Wish,
        tree: Tree,
        runner: Runner,
        environ: Mapping[str, str],
        free_bytes: int | None = None,
    ) -> None:
        """Find the project, its name, and what is remembered of it; `free_bytes` is the memory that is left for it.

        Raises:
            Refused: there is no project, or it can not be called that.
            ArtifactError: something can not be read.
        """
        self.tree = tree
        self.runner = runner
        self.free_bytes = free_bytes
        self.environ = dict(environ)
        self.penstock = (sys.executable, "-m", "penstock")
        folder = given.folder or _folder_of(tree, given.name) or "."
        try:
            self.project = find(folder, self.environ)
        except NoProject as none:
            looked = "".join(f"\n  looked for {line}" for line in none.looked)
            raise Refused(f"{none.reason}{looked}\n  fix: {none.cure}") from none
        name = given.name or name_from(self.project.name)
        if not is_name(name):
            what = (
                f"{name} can be no name of a user and a service" if name else "the project's name has no letters a to z"
            )
            raise Refused(f"{what}: give one of lower-case letters, digits and dashes with --name")
        self.layout = Layout(name)
        self.memory = memory.recall(tree, self.layout) or memory.Memory()
        self.wish = merged(given, self.memory.wish)
        self.manifest = Manifest(tree, name)
        self._check_place()
        self.stamp = ""
        """The release that this run is about; set by the step that makes it."""
        self.is_new = False
        """That release was made by this run."""
        self._check()

    def _check_place(self) -> None:
        """See that the name and its folders are nobody else's."""
        name, home = self.layout.name, self.layout.home
        folder, place = os.path.realpath(self.project.folder), os.path.realpath(self.tree.on_disk(home))
        if os.path.commonpath((folder, place)) in (folder, place):
            # A copy would be copied into itself.
            cure = "name the deployment otherwise (--name)" if self.tree.is_machine else "choose another DIR for --root"
            raise Refused(f"the project is in {folder}, and its releases would go to {place}: move it, or {cure}")
        if self.manifest.entries:
            return
        taken = next((path for path in _others(name) if self.tree.look(path) is not None), "")
        if name in FOREIGN or taken:
            raise Refused(
                f"{name} is the name of a service of this machine{f' ({taken})' if taken else ''}: name the deployment"
                " otherwise (--name)"
            )

    def _check(self) -> None:
        if self.project.framework == "asgi":
            raise Refused(
                f"{self.project.asgi_file} has an ASGI application only, and Penstock serves WSGI as yet; where no"
                " websockets are needed a2wsgi makes WSGI of it: application = a2wsgi.ASGIMiddleware(app)"
            )
        for part in self.wish.without:
            if part not in PARTS:
                raise Refused(f"there is no part {part} to leave alone: --without takes {', '.join(PARTS)}")
        if self.wish.services and self.wish.services not in services.KINDS:
            raise Refused(
                f"there is no service manager {self.wish.services}: --services takes {', '.join(services.KINDS)}"
            )
        if bool(self.wish.certificate) != bool(self.wish.key):
            raise Refused("--certificate and --key belong together: give both")
        if self.tree.is_machine and not self.without("nginx") and not self.nginx_installed.program:
            raise Refused(
                "there is no nginx on this machine: install it (apt install nginx, dnf install nginx), or leave it"
                " alone: --without nginx"
            )
        if self.tree.is_machine and os.geteuid() != 0:
            raise Refused("only root can make users and write to /etc: use sudo, or --root DIR to render into a folder")

    def note(self, **changes: Any) -> None:
        """Remember something."""
        self.memory = replace(self.memory, **changes)
        memory.remember(self.tree, self.layout, self.memory)

    def without(self, part: str) -> bool:
        """Whether a part is left alone."""
        return part in self.wish.without

    # -- users and services --------------------------------------------------------------------------------------------

    @property
    def user(self) -> str:
        """Whom the application runs as."""
        return self.wish.user or self.layout.name

    def user_is_there(self) -> bool:
        """Whether the machine knows that user."""
        return self.ids is not None

    @property
    def ids(self) -> tuple[int, int] | None:
        """The numbers of the user and its group."""
        try:
            entry = pwd.getpwnam(self.user)
        except KeyError:
            return None
        return entry.pw_uid, entry.pw_gid

    @property
    def group(self) -> str:
        """Its group."""
        try:
            return grp.getgrgid(pwd.getpwnam(self.user).pw_gid).gr_name
        except KeyError:
            return self.user

    @cached_property
    def nginx_installed(self) -> nginx.Nginx:
        """The nginx of this machine, or the one that is assumed to come."""
        found = nginx.look(self.environ) if self.tree.is_machine else None
        return found or nginx.ASSUMED

    @cached_property
    def nginx_files(self) -> Configuration | None:
        """What nginx reads now; None where it has no files."""
        path = self.nginx_installed.main_file
        if not self.tree.on_disk(path).exists():
            return None
        return read_nginx(path, "" if self.tree.is_machine else self.tree.root)

    @property
    def nginx_group(self) -> str:
        """The group of nginx's workers, which have to reach the socket; empty where there is none of that name."""
        if self.without("nginx"):
            return ""
        installed = self.nginx_installed
        user = installed.user if self.nginx_files is None else user_of_nginx(self.nginx_files, installed.user)
        try:
            return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        except KeyError:
            return "" if self.tree.is_machine else user

    @cached_property
    def services(self) -> services.Services:
        """Who starts and stops it."""
        kind = self.wish.services or self.memory.services or (services.detect() if self.tree.is_machine else "systemd")
        return services.make(kind, self.penstock)

    @cached_property
    def systemd_version(self) -> int:
        """The version of this machine's systemd; of the oldest distribution that is supported where there is none."""
        return (services.systemd_version() if self.tree.is_machine else None) or services.ASSUMED_SYSTEMD

    def running_pid(self) -> int:
        """The number of the master; 0 if none runs."""
        return services.running_pid(str(self.tree.on_disk(self.layout.pidfile))) if self.tree.is_machine else 0

    # -- the project ---------------------------------------------------------------------------------------------------

    @cached_property
    def environment(self) -> Environment | None:
        """The virtual environment that it needs; None where one was named that is there."""
        if self.wish.home:
            return None
        found = packages_of(self.project, bool(_uv(self.environ)))
        return environment_for(self.layout, found, self.wish.python, _uv(self.environ))

    @property
    def home(self) -> str:
        """The path of the virtual environment."""
        return os.path.abspath(self.wish.home) if self.environment is None else self.environment.path

    @property
    def python(self) -> str:
        """The interpreter that will run it."""
        return f"{self.home}/bin/python"

    @cached_property
    def facts(self) -> DjangoFacts | None:
        """What Django's settings come to in the project's own folder; None for other frameworks.

        Raises:
            Failed: Django does not come up.
        """
        if not self.project.is_django:
            return None
        whole = self.environment is None or (self.tree.is_machine and self.environment.is_whole(self.tree))
        python = self.python if whole else self.project.python
        # Nobody's code runs as root that is not root's, and no compiled file is left in somebody's folder.
        owner = os.stat(self.project.folder)
        ids = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else (None, None)
        environ = {**self.variables, "PYTHONDONTWRITEBYTECODE": "1"}
        answer = ask(replace(self.project, python=python), environ=environ, user=ids[0], group=ids[1])
        if isinstance(answer, Unanswered):
            raise Failed(
                f"the settings do not come up: {answer.reason}"
                + (f" ({answer.file}:{answer.line})" if answer.file else ""),
                answer.traceback or answer.output,
                answer.cure,
            )
        return answer

    @cached_property
    def variables(self) -> dict[str, str]:
        """The environment of everything that runs the project's code."""
        kept: dict[str, str] = {name: self.environ[name] for name in _PASSED_ON if name in self.environ}
        found = self.tree.look(self.layout.environment_file)
        text = found.content.decode("utf-8", "surrogateescape") if found is not None else ""
        for line in text.splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                kept[name.removeprefix("export ").strip()] = value.strip().strip("\"'")
        return kept

    @property
    def _own_variables(self) -> dict[str, str]:
        """What somebody wrote down for the application. PATH is not of it: it changes with who runs this command."""
        named = (*_PASSED_ON, *self._module_variables)
        return {name: value for name, value in self.variables.items() if name not in named}

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The names that it is served under: those that were given, that Django knows, or that the machine has."""
        if self.wish.hosts:
            return self.wish.hosts
        known = [host.lstrip(".") for host in (self.facts.allowed_hosts if self.facts is not None else ())]
        local = ("*", "localhost", "127.0.0.1", "[::1]", "testserver")
        if found := tuple(host for host in known if host and host not in local):
            return found
        return tuple(dict.fromkeys(each for each in (socket.gethostname().lower(), _own_address()) if each))

    @property
    def served(self) -> production.Served:
        """How it is served."""
        return production.Served(hosts=self.hosts, has_tls=bool(self.wish.certificate))

    @property
    def served_facts(self) -> DjangoFacts | None:
        """What Django's settings come to on the server."""
        if self.facts is None:
            return None
        return production.as_served(self.facts, self.served, self.project.folder, self.layout)

    @property
    def settings_module(self) -> str:
        """The name of the settings on the server."""
        if self.facts is None or self.without("settings"):
            return self.project.settings or ""
        return production.MODULE

    # -- the release ---------------------------------------------------------------------------------------------------

    @property
    def release(self) -> str:
        """The folder of the release that this run is about."""
        return self.layout.release(self.stamp)

    @property
    def code(self) -> str:
        """Its copy of the project: of the folder that was named, or that manage.py is in."""
        return f"{self.release}/code"

    @cached_property
    def kept_apart(self) -> list[production.Kept]:
        """What lies in the project's folder and outlives releases."""
        if self.facts is None:
            return []
        return production.kept_apart(self.facts, self.project.folder, self.layout, "../static")

    @cached_property
    def left_out(self) -> list[str]:
        """What of the project's folder is not copied."""
        return [kept.inside for kept in self.kept_apart]

    @cached_property
    def digest(self) -> str:
        """Of all that a release is made from."""
        wish = self.wish
        said = (
            _FORMAT,
            self.home,
            repr((self.hosts, wish.certificate, wish.without, self.user, self.nginx_group)),
            self.settings_module,
            repr(sorted(self._own_variables.items())),
        )
        return releases.digest_of(Path(self.project.folder), self.left_out, *said)

    def manage(self, *words: str, why: str, cure: str = "") -> Command:
        """Make a command of manage.py that runs as the application's user, with the settings of the server."""
        return Command(
            (self.python, "manage.py", *words),
            why,
            cwd=self.code,
            user=self.user,
            env=tuple(sorted(self._module_variables.items())),
            secrets=tuple(sorted(self._own_variables.items())),
            cure=cure,
        )

    @property
    def release_variables(self) -> dict[str, str]:
        """The variables that the code of the release runs with, beyond the ordinary ones."""
        return self._own_variables | self._module_variables

    @property
    def _module_variables(self) -> dict[str, str]:
        """Which settings, and where they are."""
        found = {}
        if self.settings_module:
            found["DJANGO_SETTINGS_MODULE"] = self.settings_module
        if self.settings_module == production.MODULE:
            found["PYTHONPATH"] = f"{self.release}/settings"
        return found

    def released_project(self) -> Project:
        """The project as it is in the release."""
        environment = ProjectEnvironment(
            path=self.home, python=self.python, version="", has_engine=True, is_usable=True, where="of the deployment"
        )
        return replace(
            self.project,
            name=self.layout.name,
            folder=self.code,
            root=self.code,
            manage=f"{self.code}/manage.py" if self.project.manage else None,
            settings=self.settings_module or None,
            environment=environment,
            python=self.python,
        )

    def plan(self, text: str) -> Plan:
        """What a configuration comes to on this machine.

        Raises:
            Failed: it can not be read, or a start would fail.
        """
        from penstock.config.files import ConfigFile, FileReader

        surroundings = Surroundings.here()
        file = ConfigFile(self.layout.configuration, self.layout.configuration, 0, text)

        class Reader(FileReader):
            """Reads the text that is about to be written, and everything else from the disk."""

            def read(self, name: str, *, allow_urls: bool = False) -> ConfigFile:
                """Read it."""
                return file if name == file.path else super().read(name, allow_urls=allow_urls)

        try:
            sources = Sources(parse_argv([file.path]), {}, surroundings, Reader(surroundings.cwd))
            return resolve(load(sources), Machine.here())
        except (ConfigError, ConfigExit, PlanError) as error:
            raise Failed(f"the configuration would not start: {error}") from error


def _others(name: str) -> Iterator[str]:
    """Files that would mean another service of that name."""
    for folder in ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
                   "/usr/lib/systemd/system", "/lib/systemd/system"):  # fmt: skip
        yield f"{folder}/{name}.service"
        yield f"{folder}/{name}.socket"
    yield f"/etc/init.d/{name}"
    yield f"/etc/logrotate.d/{name}"


def _folder_of(tree: Tree, name: str) -> str:
    """The folder that was deployed last under a name."""
    if not name or not is_name(name):
        return ""
    found = memory.recall(tree, Layout(name))
    return found.project if found is not None else ""


def _uv(environ: Mapping[str, str]) -> str:
    import shutil

    return shutil.which("uv", path=environ.get("PATH")) or ""


def _own_address() -> str:
    """The address that this machine has to others; nothing where it reaches none. Sends nothing."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
