"""Options that say more about another one, and do nothing without it: that is said, not left to be found out."""

from __future__ import annotations

from penstock.plan.context import Context

_CHEAPER = (
    "algo", "busyness-backlog-alert", "busyness-backlog-multiplier", "busyness-backlog-nonzero",
    "busyness-backlog-step", "busyness-max", "busyness-min", "busyness-multiplier", "busyness-penalty",
    "busyness-verbose", "initial", "overload", "rss-limit-hard", "rss-limit-soft", "step",
)  # fmt: skip

NEEDS: dict[str, tuple[str, ...]] = {
    **{f"cheaper-{name}": ("cheaper",) for name in _CHEAPER},
    "die-on-idle": ("idle",),
    **{f"health-check-{name}": ("health-check",) for name in ("retries", "status", "timeout")},
    "log-backupname": ("log-maxsize", "touch-logrotate", "master-fifo"),
    "max-worker-lifetime-delta": ("max-worker-lifetime",),
    "mem-collector-freq": ("reload-on-rss", "reload-on-as", "evil-reload-on-rss", "evil-reload-on-as"),
    "py-auto-reload-ignore": ("py-auto-reload",),
    "reload-watch-errors": ("reload-watch",),
    "reload-watch-requests": ("reload-watch",),
    "stats-http": ("stats",),
    "stats-minified": ("stats",),
    "stats-no-cores": ("stats",),
    "warmup-timeout": ("warmup",),
}
"""Option -> those of which one has to be there."""


def note_what_does_nothing(context: Context) -> None:
    """Say it of each option that stands without the one that it belongs to."""
    said = context.said
    for name, needed in NEEDS.items():
        if said.given(name) and not any(said.given(other) for other in needed):
            message = f"{name} changes nothing without {' or '.join(needed)}"
            context.note("changes-nothing", message, said.origin(name), f"add {needed[0]}, or remove it")
