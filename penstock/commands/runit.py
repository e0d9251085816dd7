"""`penstock runit CONFIG`: a service directory of runit that fits a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.commands import scripts
from penstock.deploy import runit

SUMMARY = "write a service directory of runit that fits a configuration"
USAGE = scripts.USAGE
TEXT = scripts.text(
    "runit",
    "a service directory for runit",
    """\
New code is loaded with `sv hup NAME`. A stop takes as long as requests may: `sv -w SECONDS stop NAME`.

  --install    write it to /etc/sv/NAME; link it to where runsvdir looks (/etc/service/NAME) to start it""",
)


def run(arguments: Sequence[str]) -> int:
    """Print or install the files."""
    return scripts.run(scripts.Kind("runit", TEXT, runit.files), arguments)
