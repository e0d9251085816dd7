"""`penstock systemd CONFIG`: units for systemd that fit a configuration, printed or put where they belong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from penstock.commands import served
from penstock.commands.served import Asked, Wrong
from penstock.deploy import systemd
from penstock.deploy.service import NotPossible
from penstock.deploy.services import ASSUMED_SYSTEMD, systemd_version

SUMMARY = "write systemd units that fit a configuration: service, socket, timers"
USAGE = (
    "[--install] [--uninstall] [--socket] [--timer NAME=CALENDAR:COMMAND] [--user NAME] [--group NAME] [--name NAME] "
    "[--root FILE] [--systemd-version NUMBER] [--no-project] OPTION ... | FILE"
)

TEXT = """\
usage: penstock systemd [--install] [--socket] [--timer NAME=CALENDAR:COMMAND ...] OPTION ... | FILE

  penstock systemd app.ini                      print the unit that runs app.ini
  penstock systemd app.ini --install            write it, have systemd read it, start it at boot
  penstock systemd --socket app.ini             with a socket unit: nobody is refused while the service is away
  penstock systemd app.ini --timer clearsessions=daily:clearsessions
                                                with a timer for a management command of Django
  penstock systemd app.ini --uninstall          take away what --install has written

Takes what a start takes. The unit has the user, the limits, the directories and the time for a stop that the
configuration and Django's settings call for, and a sandbox in which they work. Notes go to standard error.
Exit status: 0, 1 if the machine's own commands failed, 2 if there is no unit that would work.

  --install               write the units to /etc/systemd/system, then systemctl daemon-reload and enable; nothing is
                          started. What was there before is kept for --uninstall
  --uninstall             stop and disable the units, and bring back what was there before; with --name NAME alone the
                          configuration need not be there any more
  --root DIR              for both: a folder that stands for the root of a machine; systemctl is not run
  --socket                a socket unit beside the service (with an address behind it, it is the option of a start)
  --timer NAME=CALENDAR:COMMAND
                          a timer (systemd.time(7)) and what it starts: a management command, or a program by its path
  --systemd-version N     write for this version instead of the one that is installed
  --name NAME             of the units; else the configuration's
  --user, --group NAME    whom it runs as; else uid and gid of the configuration, or the owner of the project
  --web-group NAME        the group of the web server; else what nginx's configuration says
  --program FILE          the penstock that the unit starts; else this one
  --no-project            do not ask Django for its settings
"""

_REREAD = ("systemctl", "daemon-reload")


def run(arguments: Sequence[str]) -> int:
    """Print or install the units."""
    flags = ("--install", "--uninstall", "--socket", "--no-project", "--help", "-h")
    try:
        asked = served.take(arguments, flags, (*served.IDENTITY, "--timer", "--systemd-version"))
        if asked.flags & {"--help", "-h"}:
            sys.stdout.write(TEXT)
            return 0
        if "--uninstall" in asked.flags and served.name_alone(asked):
            return _uninstall(asked, asked.value("--name"))
        if not asked.words:
            sys.stderr.write(TEXT)
            return served.WRONG
        return _run(asked, arguments)
    except (Wrong, NotPossible) as error:
        return served.fail(error)


def _run(asked: Asked, arguments: Sequence[str]) -> int:
    timers = [systemd.timer_of(text) for text in asked.every("--timer")]
    wanted = asked.value("--systemd-version")
    if wanted and not (wanted.isascii() and wanted.isdigit()):
        raise Wrong(f"--systemd-version {wanted}: it is a number, as 252")
    found = served.of(asked, served.typed("systemd", arguments))
    name = found.service.name
    if "--uninstall" in asked.flags:
        return _uninstall(asked, name)
    version = int(wanted) if wanted else (systemd_version() or ASSUMED_SYSTEMD)
    made = systemd.units(found.service, version, with_socket="--socket" in asked.flags, timers=timers)
    root = asked.value("--root")
    served.tell((*found.remarks, *made.remarks))
    if "--install" not in asked.flags:
        served.show(made.artifacts)
        return 0
    artifacts = [*made.artifacts, *(systemd.enabling(made) if root else ())]
    on = ("systemctl", "enable", *made.enabled)
    status = served.install(artifacts, root, f"{name}.systemd", [_REREAD, on], served.run_command)
    if status == 0 and not root:
        print(f"start it: systemctl start {' '.join(made.enabled)}")
    return status


def _uninstall(asked: Asked, name: str) -> int:
    def off(paths: Sequence[str]) -> list[Sequence[str]]:
        units = [os.path.basename(path) for path in paths if os.path.dirname(path) == systemd.FOLDER]
        started = [unit for unit in units if unit == f"{name}.service" or unit.endswith((".socket", ".timer"))]
        return [("systemctl", "disable", "--now", *started)] if started else []

    return served.uninstall(asked.value("--root"), f"{name}.systemd", off, [_REREAD], served.run_command)
