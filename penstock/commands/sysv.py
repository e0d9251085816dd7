"""`penstock sysv CONFIG`: an init script that fits a configuration, printed or put where it belongs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from penstock.commands import scripts
from penstock.deploy import sysv

SUMMARY = "write a SysV init script that fits a configuration"
USAGE = scripts.USAGE
TEXT = scripts.text(
    "sysv",
    "an init script",
    """\
The script starts at boot and takes start, stop, restart, reload and status. It returns when the application answers, or
when the instance has ended. Values of your own belong in /etc/default/NAME (/etc/sysconfig/NAME).

  --install    write it to /etc/init.d and link it into the run levels (update-rc.d or chkconfig)""",
)


def run(arguments: Sequence[str]) -> int:
    """Print or install the script."""
    on: tuple[str, ...] = ("update-rc.d", "{}", "defaults")
    off: tuple[str, ...] = ("update-rc.d", "-f", "{}", "remove")
    if not any(os.access(f"{folder}/update-rc.d", os.X_OK) for folder in ("/usr/sbin", "/sbin")):
        on, off = ("chkconfig", "--add", "{}"), ("chkconfig", "--del", "{}")
    kind = scripts.Kind("sysv", TEXT, lambda service: (sysv.script(service),), before_removal=(off,), after=(on,))
    return scripts.run(kind, arguments)
