"""Where a deployment has its things: every path comes from its name, so that nothing has to be remembered.

/srv/NAME/releases/STAMP/code      the project, as it was when the release was made
/srv/NAME/releases/STAMP/static    what collectstatic gathered
/srv/NAME/releases/STAMP/penstock.ini
/srv/NAME/current                  link to the release that serves
/srv/NAME/venvs/DIGEST             virtual environments, one for each list of packages: releases share them
/srv/NAME/shared                   what outlives releases: database, media, the secret key
/run/NAME, /var/log/NAME           sockets and the pid file; the log
/var/lib/penstock/NAME             what Penstock remembers of its own work
"""

from __future__ import annotations

import re

from penstock.deploy.artifact import STATE
from penstock.values import dataclass

_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}[a-z0-9]|[a-z]")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one deployment."""

    name: str

    @property
    def home(self) -> str:
        """Everything of it that is no configuration of the machine."""
        return f"/srv/{self.name}"

    @property
    def releases(self) -> str:
        """A folder for each release."""
        return f"{self.home}/releases"

    @property
    def current(self) -> str:
        """The link to the release that serves."""
        return f"{self.home}/current"

    @property
    def environments(self) -> str:
        """Virtual environments."""
        return f"{self.home}/venvs"

    @property
    def shared(self) -> str:
        """What outlives releases."""
        return f"{self.home}/shared"

    @property
    def media(self) -> str:
        """Uploads, where the project names no place of its own."""
        return f"{self.shared}/media"

    @property
    def data(self) -> str:
        """Databases that are files."""
        return f"{self.shared}/data"

    @property
    def secret_key(self) -> str:
        """A key that was made for the project because its own is public."""
        return f"{self.shared}/secret-key"

    @property
    def environment_file(self) -> str:
        """Variables for the application, one NAME=VALUE a line; whoever runs it may write it."""
        return f"{self.shared}/environment"

    @property
    def run(self) -> str:
        """Sockets and the pid file."""
        return f"/run/{self.name}"

    @property
    def socket(self) -> str:
        """What nginx connects to."""
        return f"{self.run}/{self.name}.sock"

    @property
    def pidfile(self) -> str:
        """The number of the master."""
        return f"{self.run}/{self.name}.pid"

    @property
    def logs(self) -> str:
        """The folder of the log."""
        return f"/var/log/{self.name}"

    @property
    def log(self) -> str:
        """The log, where no journal takes it."""
        return f"{self.logs}/{self.name}.log"

    @property
    def configuration(self) -> str:
        """The configuration that is served."""
        return f"{self.current}/penstock.ini"

    @property
    def memory(self) -> str:
        """What Penstock remembers of its own work."""
        return f"{STATE}/{self.name}"

    def release(self, stamp: str) -> str:
        """The folder of one release."""
        return f"{self.releases}/{stamp}"


def is_name(text: str) -> bool:
    """Whether a deployment, its user and its service can be called that."""
    return _NAME.fullmatch(text) is not None


def name_from(text: str) -> str:
    """Make such a name of any text; empty if nothing of it can be used."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:31].rstrip("-")
    return words if is_name(words) else ""
