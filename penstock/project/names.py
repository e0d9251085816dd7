"""What a project is called: in the names of its socket, its service, its site and its deployment.

The one rule, so that all commands call the same thing the same. What `penstock deploy` has made has its name in the
path of its configuration. Of others it is the configuration's file, unless it has one of the
names that every project's has; then the package of the settings, with the same exception; then the nearest folder that
is called like something.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

GENERAL = frozenset(
    {
        "penstock",
        "uwsgi",
        "app",
        "wsgi",
        "asgi",
        "config",
        "conf",
        "core",
        "django",
        "main",
        "production",
        "prod",
        "project",
        "server",
        "settings",
        "site",
        "deploy",
        "penstock-production",
        "src",
        "code",
        "current",
        "releases",
        "etc",
        "srv",
        "home",
        "opt",
        "var",
        "www",
        "html",
    }
)
"""Words that tell no project from another."""
_DEPLOYED = re.compile(r"/([^/]+)/(?:current|releases/[^/]+)/penstock\.[a-z]+$")


def name_of(files: Sequence[str], settings: str | None, folder: str) -> str:
    """Find a name, from the files of a configuration, the module of Django's settings, and the project's folder."""
    if found := _DEPLOYED.search(os.path.abspath(files[0]) if files else ""):
        return slug(found[1]) or "app"
    words = [os.path.splitext(os.path.basename(file))[0] for file in files[:1]]
    words += [(settings or "").partition(".")[0], *reversed(folder.split("/"))]
    return next((name for name in map(slug, words) if name and name not in GENERAL), "app")


def slug(text: str) -> str:
    """Make a name of letters, digits and dashes that begins with a letter; empty if there is nothing to make it of."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:30].strip("-")
