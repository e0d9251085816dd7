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
