"""Projects that tests deploy, ask and serve: a real one of Django's own startproject, and small ones of other kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.project.found import Project, find

URLS = """
from django.contrib import admin
from django.urls import path

from shop import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", views.index),
    path("upload/", views.upload),
    path("host/", views.host),
]
"""

VIEWS = """
import os

from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt


def index(request):
    return HttpResponse("shop\\n")


def host(request):
    return HttpResponse(f"{request.scheme} {request.get_host()} {request.META['REMOTE_ADDR']}\\n")


@csrf_exempt
def upload(request):
    file = request.FILES["file"]
    name = default_storage.save(file.name, file)
    return HttpResponse(f"{default_storage.url(name)} {file.size} {os.getpid()}\\n")
"""

MODELS = """
from django.db import models


class Item(models.Model):
    name = models.CharField(max_length=40)
"""

SETTINGS = """
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
MEDIA_URL = "/media/"
MEDIA_ROOT = BASE_DIR / "media"
ALLOWED_HOSTS = ["shop.example.org", "localhost", "127.0.0.1"]
INSTALLED_APPS = [*INSTALLED_APPS, "shop"]
"""


MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\n'
"""What is read of a manage.py, with room for the settings' name."""
WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")
application = get_wsgi_application()
"""
SETTINGS_FILE = "INSTALLED_APPS = []\nDATABASES = {}\nSECRET_KEY = 'x'\n"


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files, path by path below a folder; the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def make_django(folder: Path, name: str = "cmdb", settings: str = "", *, debug: bool = False) -> Path:
    """Make a project with `django-admin startproject` and an app `shop`; the folder that has manage.py.

    It has static files of its own (shop/static/shop/shop.css) and the admin's, an upload to MEDIA_ROOT, and SQLite.
    What is in `settings` stands last in its settings. Nothing is migrated or collected: `manage` does that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    django_admin(folder, "startproject", name, ".")
    manage(folder, "startapp", "shop")
    (folder / "shop/views.py").write_text(VIEWS)
    (folder / "shop/models.py").write_text(MODELS)
    css = folder / "shop/static/shop/shop.css"
    css.parent.mkdir(parents=True)
    css.write_text("body { color: teal }\n")
    (folder / name / "urls.py").write_text(URLS)
    with (folder / name / "settings.py").open("a") as file:
        file.write(f"{SETTINGS}DEBUG = {debug}\n")
    manage(folder, "makemigrations", "shop")
    with (folder / name / "settings.py").open("a") as file:
        file.write(f"{settings}\n")
    return folder


def django_admin(folder: Path, *arguments: str) -> None:
    """Run django-admin in a folder, with the interpreter of the tests."""
    _run(folder, "-m", "django", *arguments)


def manage(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """Run manage.py of a project, with the interpreter of the tests; what it printed."""
    return _run(folder, "manage.py", *arguments, environ=environ)


def _run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    variables = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**variables, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def found(folder: Path, **environ: str) -> Project:
    """Find the project in a folder, with no environment but what is given."""
    return find(folder, {"PATH": os.environ["PATH"], **environ})
