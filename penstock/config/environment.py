"""The environment as a source of options. Pure.

`UWSGI_HTTP_SOCKET=:8000` is the option http-socket, as in uWSGI, and so is `PENSTOCK_HTTP_SOCKET`, which wins over it.
Only variables that name an option count: the prefix is also used for variables of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.config.argv import Given
from penstock.config.findings import Finding, Origin
from penstock.options.known import known_names
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME

PREFIXES = ("UWSGI_", "PENSTOCK_")
"""In the order in which they are read: the last one wins."""

TAKE_OVER = "PENSTOCK_TAKE_OVER"
"""How a master that upgrades itself tells the new program of its state."""

NOT_OPTIONS = frozenset(
    {
        "UWSGI_RELOADS",
        "UWSGI_VASSALS_DIR",
        "UWSGI_EMPEROR_FD",
        "UWSGI_EMPEROR_FD_CONFIG",
        "UWSGI_EMPEROR_PROXY",
        "UWSGI_BROODLORD_NUM",
        "UWSGI_JAIL_PID",
        "UWSGI_ORIGINAL_PROC_NAME",
        TAKE_OVER,
    }
)
"""What uWSGI keeps for itself."""


def parse_environment(environ: Mapping[str, str]) -> list[Given | Finding]:
    """Find the options in an environment; a variable that only resembles one gives a finding."""
    found: list[Given | Finding] = []
    for prefix in PREFIXES:
        for variable, value in environ.items():
            if not variable.startswith(prefix) or variable in NOT_OPTIONS:
                continue
            key = variable.removeprefix(prefix).lower().replace("_", "-")
            origin = Origin("environment", variable)
            option = BY_NAME.get(key)
            if option is not None:
                if option.role != "command":
                    found.append(Given(key, value, origin))
            elif key in known_names():
                found.append(Given(key, value, origin))
            elif guess := _near_miss(key):
                variable_meant = prefix + guess.upper().replace("-", "_")
                found.append(
                    Finding(
                        "warning", "environment-near-miss", "names no option", origin, f"did you mean {variable_meant}?"
                    )
                )
    return found


def _near_miss(key: str) -> str | None:
    """Guess only for a word that is nearly a name: a variable of one's own may begin with any option's letters."""
    guess = nearest(key)
    return guess if guess is not None and abs(len(guess) - len(key)) <= 1 else None
