"""Heroku, and platforms that read the same files: a Procfile, app.json, the version of Python, a configuration."""

from __future__ import annotations

import json
import os
from typing import Any

from penstock.deploy.artifact import Artifact
from penstock.deploy.export.config import config
from penstock.deploy.export.service import APP, CONFIG, Service
from penstock.values import replace

STOP_S = 30
"""From SIGTERM to SIGKILL."""
ROUTER_TIMEOUT_S = 30
"""After which the router answers by itself."""
ROUTERS = "10.0.0.0/8"
"""Addresses that the platform's routers connect from."""


def heroku(service: Service) -> list[Artifact]:
    """Make the files of the platform."""
    fitted = _fitted(service)
    manage = os.path.relpath(service.manage, APP) if service.manage else ""
    lines = [f"web: exec penstock {CONFIG}"]
    if manage:
        lines.append(f"release: python {manage} migrate --noinput")
    return [
        Artifact("/Procfile", "\n".join(lines) + "\n", why="what is run"),
        Artifact(f"/{CONFIG}", config(fitted, "$(PORT)"), why="what Penstock does there"),
        Artifact("/.python-version", f"{service.python_version}\n", why="the version of Python"),
        Artifact("/app.json", json.dumps(_app(service), indent=2) + "\n", why="the app, for review apps and buttons"),
    ]


def _fitted(service: Service) -> Service:
    """Shorten times to what the platform allows."""
    wishes = replace(service.wishes, trusted_proxies=service.wishes.trusted_proxies or ROUTERS)
    # Requests go elsewhere before the signal comes.
    mercy = max(1, min(service.mercy_s, STOP_S - 5 - service.programs_s))
    harakiri = min(service.harakiri_s or ROUTER_TIMEOUT_S, ROUTER_TIMEOUT_S - 2)
    carried = (("harakiri", str(harakiri)), *(pair for pair in service.carried if pair[0] != "harakiri"))
    return replace(service, wishes=wishes, drain_delay_s=0, mercy_s=mercy, harakiri_s=harakiri, carried=carried)


def _app(service: Service) -> dict[str, Any]:
    env: dict[str, Any] = {}
    if service.settings_module:
        env["DJANGO_SETTINGS_MODULE"] = {"value": service.settings_module}
        env["SECRET_KEY"] = {"generator": "secret", "description": "Django's SECRET_KEY, if the settings read it"}
    return {
        "name": service.name,
        "buildpacks": [{"url": "heroku/python"}],
        "env": env,
        "formation": {"web": {"quantity": 1, "size": "basic"}},
    }
