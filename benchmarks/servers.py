"""The servers that are compared: how each is installed, and how it is started to be fair to it.

One process and, where the server has app threads, one of them, because one core is what it gets; no request log
anywhere, because they differ in what they write. A command gets the app's module, the directory to import it from and
the address to listen on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Scenario = Literal["keep-alive", "close", "nginx", "django"]
Command = Callable[[Path, str, Path, str], list[str]]
"""(directory of the installed commands, app's module, its directory, address) -> command."""


@dataclass(frozen=True)
class Server:
    """A server and what it can be measured with."""

    name: str
    package: str
    """What pip installs; empty for Penstock, whose wheel is built here."""
    http: Command
    uwsgi: Command | None = None
    """The command for the uwsgi protocol on a unix socket, if it speaks it."""
    http_close: Command | None = None
    """Another command where each request has a connection of its own."""
    notes: Mapping[Scenario, str] = field(default_factory=dict)

    def command(self, scenario: Scenario) -> Command | None:
        """The command for `scenario`, or None if the server has none."""
        if scenario == "nginx":
            return self.uwsgi
        if scenario in ("close", "django") and self.http_close is not None:
            return self.http_close
        return self.http


def _penstock(option: str) -> Command:
    return lambda commands, module, folder, address: [
        f"{commands}/penstock", option, address, "--chdir", str(folder), "--module", module, "--disable-logging",
    ]  # fmt: skip


def _uwsgi(option: str) -> Command:
    return lambda commands, module, folder, address: [
        f"{commands}/uwsgi", option, address, "--chdir", str(folder), "--module", module, "--master", "--need-app",
        "--disable-logging", "--listen", "100",
    ]  # fmt: skip


def _gunicorn(commands: Path, module: str, folder: Path, address: str) -> list[str]:
    return [
        f"{commands}/gunicorn", "--bind", address, "--chdir", str(folder), "--workers", "1",
        "--worker-class", "gthread", "--threads", "1", "--log-level", "warning", f"{module}:application",
    ]  # fmt: skip


def _granian(commands: Path, module: str, folder: Path, address: str) -> list[str]:
    host, _, port = address.partition(":")
    return [
        f"{commands}/granian", "--interface", "wsgi", "--host", host, "--port", port, "--workers", "1",
        "--working-dir", str(folder), "--no-ws", "--log-level", "error", f"{module}:application",
    ]  # fmt: skip


def _python(program: str) -> Command:
    """A server that is started by a few lines of Python."""

    def command(commands: Path, module: str, folder: Path, address: str) -> list[str]:
        host, _, port = address.partition(":")
        text = f"import sys; sys.path.insert(0, {str(folder)!r})\nfrom {module} import application\n"
        return [f"{commands}/python", "-c", text + program.format(host=host, port=port)]

    return command


SERVERS = (
    Server("penstock", "", _penstock("--http"), _penstock("--socket")),
    Server(
        "uwsgi",
        "uwsgi",
        _uwsgi("--http11-socket"),
        _uwsgi("--socket"),
        http_close=_uwsgi("--http-socket"),
        notes={
            "keep-alive": "serves one connection of the 64 at a time",
            "close": "closes without saying so, which wrk counts as errors",
            "django": "closes without saying so, which wrk counts as errors",
        },
    ),
    Server("gunicorn", "gunicorn", _gunicorn),
    Server("granian", "granian", _granian),
    Server("bjoern", "bjoern", _python("import bjoern; bjoern.run(application, '{host}', {port})")),
    Server(
        "fastwsgi",
        "fastwsgi",
        _python("import fastwsgi; fastwsgi.run(wsgi_app=application, host='{host}', port={port}, loglevel=0)"),
    ),
)
