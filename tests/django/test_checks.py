"""`manage.py check` with `penstock.django` among the installed apps: the doctor's findings, and only where asked."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.checks.test_django import HEALTHY
from tests.e2e.harness import clean_environment
from tests.support.projects import make_django, manage, write_files

APP = 'INSTALLED_APPS = [*INSTALLED_APPS, "penstock.django"]'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_django(tmp_path_factory.mktemp("system") / "cmdb", settings=APP)
    manage(folder, "migrate", "-v0")
    manage(folder, "collectstatic", "--noinput", "-v0")
    return write_files(folder, {"cmdb/healthy.py": HEALTHY})


def check(folder: Path, *arguments: str, settings: str = "cmdb.healthy") -> tuple[int, list[str], str]:
    """The exit status of `manage.py check`, the ids of Penstock's findings, and all that was said."""
    done = subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        cwd=folder,
        env={**clean_environment(), "DJANGO_SETTINGS_MODULE": settings},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    return done.returncode, re.findall(r"\(penstock\.([a-z-]+)\)", said), said


def test_a_healthy_project_has_nothing(project: Path) -> None:
    assert check(project)[:2] == (0, [])
    assert check(project, "--deploy", "--tag", "penstock", "--database", "default")[:2] == (0, [])


def test_what_is_true_of_deployments_is_said_where_they_are_asked_for(project: Path) -> None:
    write_files(project, {"cmdb/open.py": "from .healthy import *\nDEBUG = True\nSTATIC_ROOT = None\n"})
    assert check(project, settings="cmdb.open")[:2] == (0, [])
    status, found, said = check(project, "--deploy", "--tag", "penstock", settings="cmdb.open")
    assert status == 0 and found == ["django-debug", "django-static-root"]
    assert f"{project}/cmdb/open.py:2: DEBUG = True" in said
    assert check(project, "--deploy", "--fail-level", "WARNING", settings="cmdb.open")[0] == 1


def test_workers_and_threads_are_those_of_the_configuration(project: Path) -> None:
    configuration = project / "penstock.ini"
    configuration.write_text("[uwsgi]\nhttp = :0\nmodule = cmdb.wsgi\nprocesses = 4\nthreads = 8\n")
    try:
        status, found, said = check(project)
        assert status == 0 and found == ["django-sqlite"] and "32 threads" in said
        configuration.write_text("[uwsgi]\nno such thing\n")
        assert check(project)[:2] == (0, [])
    finally:
        configuration.unlink()


def test_nothing_is_said_of_who_stands_in_front(project: Path) -> None:
    header = 'SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")'
    write_files(project, {"cmdb/behind.py": f"from .healthy import *\n{header}\n"})
    configuration = project / "penstock.ini"
    configuration.write_text("[uwsgi]\nhttp = 0.0.0.0:8000\nmodule = cmdb.wsgi\n")
    try:
        assert check(project, "--deploy", "--tag", "penstock", settings="cmdb.behind")[:2] == (0, [])
    finally:
        configuration.unlink()


def test_the_database_is_asked_only_if_it_is_named(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings=APP)
    write_files(folder, {"cmdb/healthy.py": HEALTHY})
    manage(folder, "collectstatic", "--noinput", "-v0")
    assert check(folder, "--deploy", "--tag", "penstock")[1] == []
    _, found, said = check(folder, "--deploy", "--tag", "penstock", "--database", "default")
    assert found == ["django-migrations"] and "python manage.py migrate" in said


def test_findings_can_be_silenced(project: Path) -> None:
    write_files(project, {"cmdb/quiet.py": "from .open import *\nSILENCED_SYSTEM_CHECKS = ['penstock.django-debug']\n"})
    write_files(project, {"cmdb/open.py": "from .healthy import *\nDEBUG = True\nSTATIC_ROOT = None\n"})
    assert check(project, "--deploy", "--tag", "penstock", settings="cmdb.quiet")[1] == ["django-static-root"]


def test_a_worker_that_serves_imports_nothing_of_the_doctor(project: Path) -> None:
    program = "import sys, django; django.setup(); print(*sorted(name for name in sys.modules if 'penstock' in name))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={**clean_environment(), "DJANGO_SETTINGS_MODULE": "cmdb.healthy"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["penstock", "penstock.django", "penstock.django.apps"]
