"""The image: a Dockerfile of two stages, what it leaves out, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator

from penstock.deploy.artifact import Artifact
from penstock.deploy.export.config import config
from penstock.deploy.export.service import APP, CONFIG, USER, VENV, Service

LONGEST_START_S = 60
"""Until when a container that is not ready yet is no failure."""

_IGNORED = """\
# What is not of the project's code, or secret, or made anew.
**/.git
.gitignore
.dockerignore
Dockerfile
compose.yaml
kubernetes.yaml
*.nomad.hcl
**/__pycache__
**/*.py[co]
**/.venv
venv
env
**/node_modules
**/.mypy_cache
**/.pytest_cache
**/.ruff_cache
**/.tox
**/.env
**/.env.*
**/*.pem
**/*.key
**/*.sqlite3
**/*.sqlite3-*
**/*.log
**/*.sock
**/*.pid
"""
"""`**/` is any folder, the first one too; without it a pattern means that one alone."""


def image(service: Service) -> list[Artifact]:
    """Make the files that `docker build` needs beside the project."""
    return [
        Artifact("/Dockerfile", "\n".join(_dockerfile(service)) + "\n", why="builds the image"),
        Artifact("/.dockerignore", _ignored(service), why="keeps secrets and rubbish out of it"),
        Artifact(f"/{CONFIG}", config(service), why="what Penstock does in a container"),
    ]


def _ignored(service: Service) -> str:
    own = [place for _, place in (*service.static, *((service.media,) if service.media else ()))]
    own += [place for place in service.environments if place not in (f"{APP}/venv", f"{APP}/.venv", APP)]
    return _IGNORED + "".join(f"{place.removeprefix(f'{APP}/')}\n" for place in own)


def _dockerfile(service: Service) -> Iterator[str]:
    yield f"# {service.name}, served by Penstock. Build: docker build -t {service.image} ."
    yield f"# Run: docker run --read-only --tmpfs /tmp -p 8080:{service.wishes.http_port} {service.image}"
    yield f"ARG PYTHON={service.python_version}"
    yield ""
    yield "# What is needed to install stays in this stage."
    yield "FROM python:${PYTHON}-slim AS build"
    yield "ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1"
    yield f"RUN python -m venv {VENV}"
    yield f"ENV PATH={VENV}/bin:$PATH VIRTUAL_ENV={VENV}"
    yield f"WORKDIR {APP}"
    yield "# Packages without wheels need compilers and headers here (apt-get install), and their libraries below."
    yield from _install(service)
    yield from _penstock(service)
    yield from _code(service)
    yield ""
    yield "FROM python:${PYTHON}-slim"
    yield "# A number, so that a cluster can see that it is not root."
    yield f"RUN useradd --uid {USER} --user-group --no-create-home --shell /usr/sbin/nologin app"
    yield f"COPY --from=build {VENV} {VENV}"
    yield f"COPY --from=build {APP} {APP}"
    variables = f"PATH={VENV}/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1"
    if service.settings_module:
        variables += f" DJANGO_SETTINGS_MODULE={service.settings_module}"
    yield f"ENV {variables}"
    if service.media:
        yield "# Uploads belong on a volume: this is what a new one begins with."
        yield f"RUN mkdir -p {service.media[1]} && chown {USER}:{USER} {service.media[1]}"
        yield f'VOLUME ["{service.media[1]}"]'
    yield f"WORKDIR {service.folder}"
    yield f"USER {USER}:{USER}"
    yield f"EXPOSE {service.wishes.http_port} {service.wishes.admin_port}"
    yield "# The master answers, so that a busy application is not taken for a dead one."
    yield f"HEALTHCHECK --interval=10s --timeout=3s --start-period={LONGEST_START_S}s --retries=3 \\"
    yield f"    CMD {json.dumps(health_check(service))}"
    yield "# No shell in between: Penstock is process 1, gets SIGTERM itself, and reaps what is orphaned."
    yield "STOPSIGNAL SIGTERM"
    yield f"ENTRYPOINT {json.dumps([f'{VENV}/bin/penstock'])}"
    yield f"CMD {json.dumps([service.config_path])}"


def health_check(service: Service) -> list[str]:
    """Make the command that tells whether a container is ready, by its exit status."""
    url = f"http://127.0.0.1:{service.wishes.admin_port}/readyz"
    return [f"{VENV}/bin/python", "-c", f"import urllib.request as r; r.urlopen('{url}', timeout=2)"]


def _install(service: Service) -> Iterator[str]:
    """Install what the project needs, before its code is there: a layer that changes seldom."""
    listed = service.requirements
    if listed is None:
        if service.library:
            yield f"RUN pip install '{service.library}'"
        return
    folder, _, name = listed.path.rpartition("/")
    beside = f"{folder}/" if folder else ""
    match listed.kind:
        case "requirements":
            # Files that it names lie beside it.
            yield f"COPY {beside or name} /tmp/requirements/"
            yield f"RUN pip install -r /tmp/requirements/{name}"
        case "uv":
            yield f"COPY {beside}pyproject.toml {listed.path} ./"
            yield "RUN pip install 'uv>=0.5,<1'"
            yield f"RUN UV_PROJECT_ENVIRONMENT={VENV} uv sync --frozen --no-dev --no-install-project --no-cache"
        case "poetry":
            yield f"COPY {beside}pyproject.toml {listed.path} ./"
            yield "RUN python -m venv /opt/poetry && /opt/poetry/bin/pip install 'poetry>=1.8,<3'"
            yield "RUN /opt/poetry/bin/poetry install --only main --no-root --no-interaction --no-cache"
        case "pipenv":
            yield f"COPY {beside}Pipfile* ./"
            yield "RUN python -m venv /opt/pipenv && /opt/pipenv/bin/pip install 'pipenv>=2023,<2030'"
            yield "RUN PIPENV_VERBOSITY=-1 /opt/pipenv/bin/pipenv install --deploy"
        case _:
            yield f"COPY {beside or '.'} ./"
            yield "RUN pip install ."


def _penstock(service: Service) -> Iterator[str]:
    what = service.wishes.penstock
    if what.endswith(".whl") and "://" not in what:
        yield f"# Penstock's wheel for Python {service.python_version}: `make wheel` in its sources makes it."
        yield f"COPY {what} /tmp/wheels/"
        yield "RUN pip install /tmp/wheels/*.whl"
    else:
        yield f"RUN pip install '{what}'"


def _code(service: Service) -> Iterator[str]:
    yield "COPY . ."
    # The root is read-only where it runs, so that nothing can be compiled there.
    compiled = f"python -m compileall -q {APP}"
    if service.manage and service.collects_static:
        yield "# Settings that need secrets to be imported get one for this command alone."
        setting = f"DJANGO_SETTINGS_MODULE={service.settings_module} " if service.settings_module else ""
        yield f"RUN {setting}SECRET_KEY=only-to-collect python {service.manage} collectstatic --noinput \\"
        yield f"    && {compiled}"
    else:
        yield f"RUN {compiled}"
