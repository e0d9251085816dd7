"""`penstock supervisor CONFIG`: a program of supervisord that fits a configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence

from penstock.commands import scripts
from penstock.deploy import supervisor

SUMMARY = "write a program of supervisord that fits a configuration"
USAGE = scripts.USAGE
TEXT = scripts.text(
    "supervisor",
    "a section for supervisord",
    """\
New code is loaded with `supervisorctl signal HUP NAME`; `restart` stops first.

  --install    write it to /etc/supervisor/conf.d (/etc/supervisord.d), then supervisorctl update""",
)


def run(arguments: Sequence[str]) -> int:
    """Print or install the section."""
    is_rhel = os.path.isdir("/etc/supervisord.d") and not os.path.isdir("/etc/supervisor")
    update = ("supervisorctl", "update")
    kind = scripts.Kind(
        "supervisor", TEXT, lambda service: (supervisor.program(service, is_rhel),), after=(update,),
        after_removal=(update,),
    )  # fmt: skip
    return scripts.run(kind, arguments)
