"""Commands: one module for each, found by name and imported only when it is used.

A command module has `SUMMARY` (one line for the help), `USAGE` (its arguments) and `run(arguments) -> exit status`;
`TEXT`, if it has more to say at `--help`.
Each may be typed as a word (`penstock reload PIDFILE`) and, where uWSGI has it, as an option (`penstock --reload
PIDFILE`). `serve` is what happens when no command is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

COMMANDS: dict[str, str] = {
    "check": "penstock.commands.check",
    "completion": "penstock.commands.completion",
    "connect-and-read": "penstock.commands.connect_and_read",
    "convert": "penstock.commands.convert",
    "deploy": "penstock.commands.deploy",
    "doctor": "penstock.commands.doctor",
    "explain": "penstock.commands.explain",
    "export": "penstock.commands.export",
    "extract": "penstock.commands.extract",
    "help": "penstock.commands.help",
    "init": "penstock.commands.init",
    "nginx": "penstock.commands.nginx",
    "pause": "penstock.commands.pause",
    "ping": "penstock.commands.ping",
    "python-version": "penstock.commands.python_version",
    "releases": "penstock.commands.releases",
    "reload": "penstock.commands.reload",
    "reopen": "penstock.commands.reopen",
    "resume": "penstock.commands.resume",
    "rollback": "penstock.commands.rollback",
    "runit": "penstock.commands.runit",
    "schema": "penstock.commands.schema",
    "show": "penstock.commands.show",
    "stop": "penstock.commands.stop",
    "supervisor": "penstock.commands.supervisor",
    "systemd": "penstock.commands.systemd",
    "sysv": "penstock.commands.sysv",
    "tune": "penstock.commands.tune",
    "undeploy": "penstock.commands.undeploy",
    "upgrade": "penstock.commands.upgrade",
    "version": "penstock.commands.version",
}
"""Name -> module."""


AS_OPTIONS: dict[str, tuple[str, ...]] = {"reload": ("--no-wait",)}
"""What goes with a command that is typed as uWSGI's option: `--reload` returns at once."""


class Command(Protocol):
    """What a command module offers."""

    SUMMARY: str
    USAGE: str

    def run(self, arguments: Sequence[str]) -> int:
        """Do it; the exit status."""
        ...


def find(name: str) -> Command:
    """Import a command by its name in `COMMANDS`."""
    return cast(Command, import_module(COMMANDS[name]))
