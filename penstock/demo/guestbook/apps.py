"""The app's name for Django."""

from __future__ import annotations

from django.apps import AppConfig


class GuestbookConfig(AppConfig):
    """Registered in INSTALLED_APPS by its package."""

    name = "penstock.demo.guestbook"
    verbose_name = "Guest book"
