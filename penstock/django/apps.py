"""The app, as Django finds it: it registers its checks, and imports what they need only when they are run.

A worker that serves has no use for the doctor, and keeps no memory for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

TAG = "penstock"
Messages = list[checks.CheckMessage]


class PenstockConfig(AppConfig):
    """Penstock in INSTALLED_APPS."""

    name = "penstock.django"
    label = "penstock"
    verbose_name = "Penstock"

    def ready(self) -> None:
        """Let `manage.py check` know the checks."""
        checks.register(on_any_machine, TAG)
        checks.register(for_deployment, TAG, deploy=True)


def on_any_machine(app_configs: Any, **kwargs: Any) -> Messages:
    """Look at what goes wrong with many workers, whatever the site."""
    from penstock.django.checks import messages
    from penstock.doctor.checks.django import ALWAYS

    return messages(ALWAYS)


def for_deployment(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> Messages:
    """Look at what goes wrong once visitors come; the database is asked only if `--database` names it."""
    from penstock.django.checks import messages
    from penstock.doctor.checks.django import FOR_DEPLOYMENT

    return messages(FOR_DEPLOYMENT, *(("static", "migrations") if databases else ("static",)))
