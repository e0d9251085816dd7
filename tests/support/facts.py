"""What Django's settings come to, as values that tests change."""

from __future__ import annotations

from typing import Any

from penstock.project.django_facts import DjangoFacts

_NOTHING: dict[str, Any] = {"str": "", "bool": False, "int": 0, "tuple": ()}
_SHOP: dict[str, Any] = {
    "django_version": "5.2.1",
    "python_version": "3.11.7",
    "settings": "shop.settings",
    "settings_file": "/srv/shop/shop/settings.py",
    "base_dir": "/srv/shop",
    "secret_key": "set",
    "allowed_hosts": ("shop.example.org",),
    "secure_proxy_ssl_header": None,
    "static_url": "/static/",
    "static_root": "/srv/shop/static",
    "static_storage": "django.contrib.staticfiles.storage.StaticFilesStorage",
    "media_url": "/media/",
    "media_root": "/srv/shop/media",
    "media_storage": "django.core.files.storage.FileSystemStorage",
    "session_engine": "django.contrib.sessions.backends.db",
    "session_cache_alias": "default",
    "data_upload_max_memory_size": 2621440,
    "file_upload_max_memory_size": 2621440,
    "file_upload_permissions": 0o644,
    "installed_apps": ("django.contrib.admin", "django.contrib.staticfiles", "shop"),
    "root_urlconf": "shop.urls",
    "wsgi_application": "shop.wsgi.application",
    "admin_url": "/admin/",
}


def django(**changes: Any) -> DjangoFacts:
    """The facts of a project `shop` in /srv/shop, made by startproject and made ready for a server."""
    kinds = DjangoFacts.__annotations__
    empty = {name: _NOTHING.get(str(kind).partition("[")[0].partition(" ")[0]) for name, kind in kinds.items()}
    unsaid = {name: empty[name] for name in kinds if name not in ("migrations", "messages", "collected")}
    return DjangoFacts(**{**unsaid, **_SHOP, **changes})
