"""Settings of the demo project, as a real one would have them in production: nothing is printed to visitors.

The environment decides what differs between machines:

- PENSTOCK_DEMO_DIR: where the database, uploads, collected static files and the secret key live (default ./var/demo)
- PENSTOCK_DEMO_HOSTS: more host names to answer to, separated by commas
- PENSTOCK_DEMO_ORIGINS: more origins that forms may come from (`https://demo.example.org`), separated by commas
- PENSTOCK_DEMO_DEBUG: 1 shows tracebacks in the browser
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def _list(name: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def _secret_key(path: Path) -> str:
    """Read the key of this installation, made at the first use and readable by its owner only."""
    if not path.exists():
        mine = path.with_name(f"{path.name}.{os.getpid()}")
        mine.touch(0o600)
        mine.write_text(secrets.token_urlsafe(48))
        # Of several processes that start at once one wins, and its key is complete when it appears.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(mine)
        mine.unlink()
    return path.read_text()


DATA_DIR = Path(os.environ.get("PENSTOCK_DEMO_DIR") or "var/demo").resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = _secret_key(DATA_DIR / "secret-key")
DEBUG = os.environ.get("PENSTOCK_DEMO_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", *_list("PENSTOCK_DEMO_HOSTS")]
# A form's Origin is compared with the Host header, which a proxy may have stripped of its port.
CSRF_TRUSTED_ORIGINS = [
    "http://127.0.0.1:8000",
    "http://localhost:8000",
    *_list("PENSTOCK_DEMO_ORIGINS"),
]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "penstock.demo.guestbook",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "penstock.demo.site.urls"
WSGI_APPLICATION = "penstock.demo.site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "demo.sqlite3",
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            # What SQLite needs to be shared by several processes: readers beside a writer, and writers that queue.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
MEDIA_URL = "/media/"
MEDIA_ROOT = DATA_DIR / "media"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024

# By default Django writes an error's traceback only when DEBUG is on; the server's log is where one looks for it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"django": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}
