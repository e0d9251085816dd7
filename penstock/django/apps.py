"""The app, as Django finds it."""

from __future__ import annotations

from django.apps import AppConfig


class PenstockConfig(AppConfig):
    """Penstock in INSTALLED_APPS."""

    name = "penstock.django"
    label = "penstock"
    verbose_name = "Penstock"

    def ready(self) -> None:
        """Let `manage.py check` know the checks."""
        from django.core import checks

        from penstock.django.checks import TAG, for_deployment, on_any_machine

        checks.register(on_any_machine, TAG)
        checks.register(for_deployment, TAG, deploy=True)
