"""What every part of the plan is made with: what was said, the machine, and the problems that were found.

A part (`sockets`, `app`, `engine`, ...) is a function from a `Context` to its values. It raises nothing: an error is
added to the context and the part goes on, so that a person sees all of them at once.
"""

from __future__ import annotations

import os

from penstock.config.findings import Finding, Origin
from penstock.config.settings import Settings
from penstock.plan.machine import Machine


class Context:
    """One resolution: `said` and `machine` are read; `errors`, `warnings` and `remarks` are added to.

    Each code has a row in `penstock.plan.findings`.
    """

    def __init__(self, said: Settings, machine: Machine) -> None:
        self.said = said
        self.machine = machine
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []
        self.remarks: list[Finding] = []
        """What is said once at start beside the warnings."""
        self.chdir = os.path.normpath(os.path.join(machine.cwd, said.text("chdir") or ""))

    def error(self, code: str, message: str, origin: Origin | None, cure: str) -> None:
        """Add a reason why there is no plan."""
        self.errors.append(Finding("error", code, message, origin, cure))

    def warn(self, code: str, message: str, origin: Origin | None, cure: str) -> None:
        """Add something that was adjusted, or that will surprise."""
        self.warnings.append(Finding("warning", code, message, origin, cure))

    def note(self, code: str, message: str, origin: Origin | None, cure: str) -> None:
        """Add something that is good to know and calls for nothing."""
        self.remarks.append(Finding("note", code, message, origin, cure))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was added, the worst first."""
        return (*self.errors, *self.warnings, *self.remarks)

    def after_chdir(self, path: str) -> str:
        """A path that counts from the directory of the app."""
        return os.path.join(self.chdir, path)

    def at_start(self, name: str) -> str | None:
        """The path of an option that counts from the directory of the start, because it is opened before chdir."""
        path = self.said.text(name)
        return os.path.join(self.machine.cwd, path) if path is not None else None

    def existing_dir(self, name: str, default: str) -> str:
        """A directory that must be there, counted from the directory of the app."""
        path = self.said.text(name)
        if path is None:
            return default
        path = self.after_chdir(path)
        if not os.path.isdir(path):
            message = f"{name} = {path}: there is no such directory"
            self.error("no-directory", message, self.said.origin(name), "create it, or correct the path")
        return path
