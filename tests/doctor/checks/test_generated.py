"""What Penstock's own commands write, together: the doctor has nothing to say against it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.checks.site import Site
from tests.doctor.checks.test_project import SETTINGS
from tests.doctor.support import examination, serious
from tests.e2e.harness import Penstock, free_port, run_penstock
from tests.support.projects import make_django, manage

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nginx"), reason="nginx runs as www-data")


@pytest.fixture
def project() -> Iterator[Path]:
    """A project as it is after its migrations, with a configuration by `penstock init`."""
    folder = Path(tempfile.mkdtemp(prefix="doc-"))
    folder.chmod(0o755)
    make_django(folder, settings=SETTINGS)
    manage(folder, "migrate", "--verbosity", "0")
    manage(folder, "collectstatic", "--noinput", "--verbosity", "0")
    run("init", ".", cwd=folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(*words: str, cwd: Path) -> str:
    done = run_penstock(*words, cwd=cwd, deadline_s=120)
    # 1: with warnings, as that a socket in /tmp is not what one should have.
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def test_nothing_is_said_against_what_the_other_commands_write(project: Path) -> None:
    port = free_port()
    site = run("nginx", "--port", str(port), "--server-name", "shop.test", "--no-status", "penstock.ini", cwd=project)
    # The logs of the machine's own nginx are left alone.
    lines = [line for line in site.splitlines() if not line.strip().startswith(("access_log", "error_log"))]
    (project / "site.conf").write_text("\n".join(lines))
    run("export", "kubernetes", "--output", ".", cwd=project)
    run("export", "compose", "--output", ".", cwd=project)
    run("systemd", "--install", "--root", f"{project}/root", "penstock.ini", cwd=project)
    nginx = Site()
    try:
        with Penstock("penstock.ini", cwd=project):
            nginx.serve("return 404;", f"include {project}/site.conf;")
            found = examination(
                project,
                "penstock.ini",
                root=project / "root",
                nginx_file=str(nginx.file),
                imports=True,
                requests=True,
            )
    finally:
        nginx.stop()
    assert serious(found) == set(), [(one.code, one.cause, one.evidence) for one in found.diagnoses]
    assert found.facts.nginx is not None and [one.via.status for one in found.facts.nginx.routes] == [200]
    assert {one.kind for one in found.facts.containers} == {"dockerfile", "compose", "kubernetes"}
    assert [one.is_enabled for one in found.facts.services] == [True]


@pytest.mark.parametrize("protocol", ["http", "uwsgi"])
def test_a_site_behind_a_balancer_that_speaks_tls(project: Path, protocol: str) -> None:
    with next(project.glob("*/settings.py")).open("a") as settings:
        settings.write("\nSECURE_SSL_REDIRECT = True\n")
    (project / "behind.ini").write_text(
        f"[uwsgi]\n{'socket' if protocol == 'uwsgi' else 'http'} = {project}/app.sock\nchdir = {project}\n"
        f"module = cmdb.wsgi\nchmod-socket = 666\nharakiri = 60\n"
    )
    site = run(
        *("nginx", "--port", str(free_port()), "--server-name", "shop.test", "--no-status", "--no-tls"),
        *("--behind", "10.0.0.0/8", "behind.ini"),
        cwd=project,
    )
    assert "set_real_ip_from 10.0.0.0/8;" in site
    lines = [line for line in site.splitlines() if not line.strip().startswith(("access_log", "error_log"))]
    (project / "site.conf").write_text("\n".join(lines))
    nginx = Site()
    try:
        nginx.serve("return 404;", f"include {project}/site.conf;")
        found = examination(project, "behind.ini", nginx_file=str(nginx.file), imports=True)
    finally:
        nginx.stop()
    assert found.facts.nginx is not None and found.facts.nginx.mine
    assert {one.code for one in found.diagnoses if one.code.startswith("django-")} <= {"django-check"}
