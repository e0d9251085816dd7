"""`manage.py penstock [ADDRESS:PORT]`: serve the project while it is developed, on the engine of production.

Looks at the project as `runserver` does (system checks, migrations), says where it will be, and becomes the server:
this process is the master from then on, so that Ctrl-C and signals are its own.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

import penstock

_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):)?(?P<port>[0-9]{1,5})")
_RELOAD_INTERVAL_S = 1


class Command(BaseCommand):
    """The command."""

    help = "Serves the project with Penstock while it is developed: changed code is taken over by itself."
    # They are run below, after a word on it.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what `runserver` takes, and the number of workers and threads."""
        parser.add_argument("addrport", nargs="?", default="", help="port, or ADDRESS:PORT (127.0.0.1:8000)")
        parser.add_argument("--noreload", action="store_false", dest="reloads", help="do not look for changed code")
        parser.add_argument("--nostatic", action="store_false", dest="static", help="do not serve static files")
        parser.add_argument("--insecure", action="store_true", help="serve static files although DEBUG is off")
        parser.add_argument("--skip-checks", action="store_true", help="skip system checks")
        parser.add_argument("--processes", default="1", help="workers, or auto (1)")
        parser.add_argument("--threads", default="4", help="threads in each worker, or auto (4)")
        parser.add_argument(
            "--option",
            "-o",
            action="append",
            default=[],
            metavar="NAME[=VALUE]",
            help="an option of Penstock's, as in penstock --help; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Become the server."""
        address = _address(options["addrport"])
        if not settings.DEBUG and not settings.ALLOWED_HOSTS:
            raise CommandError("ALLOWED_HOSTS is empty and DEBUG is off: Django would answer everybody 400; set one")
        if not options["skip_checks"]:
            self.stdout.write("Performing system checks...\n")
            self.check(display_num_errors=True)
            self.check_migrations()
        self._tell(address, options)
        self.stdout.flush()
        self.stderr.flush()
        arguments = list(_arguments(address, options))
        os.execv(sys.executable, [sys.executable, "-m", "penstock", *arguments])

    def _tell(self, address: str, options: dict[str, Any]) -> None:
        shown = re.sub(r"^(0\.0\.0\.0|0)?:", "127.0.0.1:", address).replace("[::]:", "[::1]:")
        url = self.style.SUCCESS(f"http://{shown}/")
        reloads = "Changed code is taken over by itself. " if options["reloads"] else ""
        self.stdout.write(
            f"\nDjango version {django.get_version()}, using settings {settings.SETTINGS_MODULE!r}\n"
            f"Penstock {penstock.__version__} serves the development version at {url}\n"
            f"{reloads}Quit the server with CONTROL-C.\n\n"
        )
        if not settings.DEBUG and not options["insecure"]:
            self.stdout.write(self.style.NOTICE("DEBUG is off: static files are not served; --insecure serves them.\n"))


def _address(text: str) -> str:
    """Read `8000`, `:8000`, `0:8000`, `HOST:8000` or `[::1]:8000`."""
    match = _ADDRESS.fullmatch(text or "8000")
    if match is None or int(match["port"]) > 65535:
        raise CommandError(f"{text!r} is no port and no ADDRESS:PORT; for example 8000, 0:8000 or [::1]:8000")
    host = {"": "127.0.0.1", "0": "0.0.0.0"}.get(match["host"] or "", match["host"])
    return f"{host}:{match['port']}"


def _arguments(address: str, options: dict[str, Any]) -> Iterator[str]:
    """The command line of the server."""
    static = options["static"] and apps.is_installed("django.contrib.staticfiles")
    maker = "with_static" if static and (settings.DEBUG or options["insecure"]) else "plain"
    yield from ("--http", address, "--chdir", os.getcwd())
    # The first has to stand first: each option puts its directory before the others.
    for place in reversed(list(_own_paths())):
        yield from ("--pythonpath", place)
    yield from ("--env", f"DJANGO_SETTINGS_MODULE={settings.SETTINGS_MODULE}")
    yield from ("--module", f"penstock.django.development:{maker}()")
    yield from ("--processes", options["processes"], "--threads", options["threads"])
    yield from ("--die-on-term", "--disable-logging")
    if options["reloads"]:
        yield from ("--py-auto-reload", str(_RELOAD_INTERVAL_S))
    for each in options["option"]:
        yield f"--{each.lstrip('-')}"


def _own_paths() -> Iterator[str]:
    """The directories that are on `sys.path` before Python's own: that of manage.py, and those of --pythonpath."""
    for place in sys.path:
        if place.startswith(sys.base_prefix + os.sep):
            return
        if place and os.path.isdir(place):
            yield os.path.abspath(place)
