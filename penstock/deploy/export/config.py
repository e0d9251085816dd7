"""The configuration of the instance in a container, as an ini file with comments."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.deploy.export.service import Service
from penstock.project.sources import SETTINGS_VARIABLE as SETTINGS


def config(service: Service, port: str = "") -> str:
    """Write it; `port` is where clients connect if that is not the service's own port."""
    return "\n".join(_lines(service, port or str(service.wishes.http_port))) + "\n"


def _lines(service: Service, port: str) -> Iterator[str]:
    yield f"# {service.name} in a container. PENSTOCK_PROCESSES=4 in the environment is processes = 4, and counts more."
    yield "[uwsgi]"
    yield ""
    yield f"chdir = {escaped(service.folder)}"
    for name, value in service.app_lines:
        yield f"{name} = {escaped(value)}"
    if service.settings_module and not any(name == "env" and SETTINGS in value for name, value in service.carried):
        yield f"env = DJANGO_SETTINGS_MODULE={service.settings_module}"
    yield ""
    yield "# For clients, on all addresses of the container; who forwards their requests may say who they are."
    yield f"http = :{port}"
    yield f"trusted-proxies = {service.trusted_proxies}"
    yield "# For probes, answered by the master: /livez /readyz /saturation. Keep it off the internet."
    yield f"admin = :{service.wishes.admin_port}"
    yield ""
    yield "# The memory of the container is counted for so many; grow by more containers."
    yield f"processes = {service.processes}"
    yield f"threads = {service.threads}"
    yield ""
    yield f"# SIGTERM: not ready for {service.drain_delay_s} s while everybody is served, then {service.mercy_s} s for"
    yield "# what is in flight. The time until the container is killed has to be longer than both."
    yield f"drain-delay = {service.drain_delay_s}"
    yield f"worker-reload-mercy = {service.mercy_s}"
    if not any(name == "request-id" for name, _ in service.carried):
        yield "# One name for a request in all logs."
        yield "request-id = true"
    if service.static and not any(name == "static-map" for name, _ in service.carried):
        yield ""
        yield "# What collectstatic has put into the image, without asking the application."
        for url, place in service.static:
            yield f"static-map = {url.rstrip('/')}={escaped(place)}"
    if service.media is not None:
        yield ""
        yield "# Uploads, where everybody may see them and no nginx serves them:"
        yield f"# static-map = {service.media[0].rstrip('/')}={escaped(service.media[1])}"
    if service.carried:
        yield ""
        yield f"# From {service.source}." if service.source else "# A request that takes longer is answered with 504;"
        if not service.source:
            yield "# a worker is replaced after so many requests, its successor first."
    for name, value in service.carried:
        yield f"{name} = {escaped(value)}"
    if service.left_out:
        yield ""
        yield "# Not taken over:"
        for line, why in service.left_out:
            yield f"# {line}    ({why})"


def escaped(value: str) -> str:
    """Write a value so that it is read as it is."""
    return value.replace("%", "%%")
