"""The virtual environment of a release: which one, and the commands that make it.

One for each list of packages and interpreter, so that releases with the same ones share it, and going back to an older
release goes back to its packages. It is whole when its mark is there, which is put there last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

from penstock.deploy.artifact import Tree
from penstock.deploy.layout import Layout
from penstock.deploy.packages import Packages
from penstock.deploy.running import Command
from penstock.values import dataclass

MARK = ".penstock-whole"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is to be there."""

    path: str
    packages: Packages
    base: str
    """The interpreter that it is made with."""
    uv: str
    """Path of uv; empty where pip does the work."""

    @property
    def python(self) -> str:
        """Its interpreter."""
        return f"{self.path}/bin/python"

    @property
    def requirements(self) -> str:
        """The file that lists what is installed, where it comes from lines."""
        return f"{self.path}/requirements.penstock.txt"

    def is_whole(self, tree: Tree) -> bool:
        """Whether it is there, and was finished."""
        return tree.on_disk(f"{self.path}/{MARK}").exists() and tree.on_disk(self.python).exists()

    def make(self) -> Command:
        """The command that makes it, empty."""
        with_uv = [self.uv, "venv", "--quiet", "--python", self.base, self.path]
        argv = with_uv if self.uv else [self.base, "-m", "venv", self.path]
        return Command(tuple(argv), "an environment of its own for the packages")

    def fill(self) -> list[Command]:
        """The commands that install what it has to hold."""
        packages = self.packages
        why = f"packages from {packages.source}"
        if packages.uses_lock:
            argv = [self.uv, "sync", "--frozen", "--no-dev", "--no-install-project", "--project", packages.folder]
            return [Command(tuple(argv), why, env=(("UV_PROJECT_ENVIRONMENT", self.path),))]
        with_uv = [self.uv, "pip", "install", "--python", self.python]
        with_pip = [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        argv = with_uv if self.uv else with_pip
        if packages.is_complete:
            argv.append("--no-deps")
        listed = packages.files or ((self.requirements,) if packages.lines else ())
        for path in listed:
            argv += ["-r", path]
        if packages.folder:
            argv.append(packages.folder)
        return [Command(tuple(argv), why)] if listed or packages.folder else []


def environment_for(layout: Layout, packages: Packages, base: str = "", uv: str | None = None) -> Environment:
    """Say which environment a list of packages needs."""
    interpreter = base or base_python()
    version = interpreter if base else f"{interpreter} {sys.version}"
    named = hashlib.sha256(f"{packages.digest}\0{version}".encode()).hexdigest()[:12]
    found = find_uv() if uv is None else uv
    return Environment(f"{layout.environments}/{named}", packages, interpreter, found)


def base_python() -> str:
    """The interpreter that this one's environment was made from: the app needs the same version as Penstock."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def find_uv() -> str:
    """The path of uv, or nothing."""
    return shutil.which("uv") or ""
