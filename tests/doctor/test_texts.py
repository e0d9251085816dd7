"""The configurations of the texts: laid out as the text says, there is nothing to say against them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.doctor.test_report import look
from tools.tidy import ROOT


def ini_blocks(name: str) -> list[str]:
    """The whole configurations in a text: those that begin with their section."""
    return [block for block in re.findall(r"```ini\n(.*?)```", (ROOT / name).read_text(), re.S) if "[uwsgi]" in block]


BLOCKS = [(name, block) for name in ("README.md", "docs/deployment.md") for block in ini_blocks(name)]


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_what_a_text_shows_is_good(name: str, block: str, tmp_path: Path) -> None:
    project = tmp_path / "cmdb"
    (project / "cmdb").mkdir(parents=True)
    (project / "cmdb" / "__init__.py").touch()
    (project / "cmdb" / "wsgi.py").write_text("application = print\n")
    (project / "venv" / "bin").mkdir(parents=True)
    (project / "venv" / "bin" / "python").symlink_to(sys.executable)
    for place in (project / "static", project / "media", tmp_path / "run"):
        place.mkdir()
    tmp_path.chmod(0o777)
    (tmp_path / "run").chmod(0o777)
    text = block.replace("/run/cmdb", str(tmp_path / "run")).replace("/srv/cmdb", str(project))
    # The machine of the tests has no user cmdb.
    text = text.replace("id = cmdb", "id = www-data").replace("/var/log", str(tmp_path / "run"))
    (project / "cmdb.ini").write_text(text)
    (project / "cmdb.ini").chmod(0o640)
    report = look(tmp_path, "--ini", str(project / "cmdb.ini"), is_under_systemd=False)
    assert [str(finding) for finding in report.findings if finding.level != "note"] == []
    assert report.exit_status == 0


def test_there_are_texts() -> None:
    assert len(BLOCKS) > 0
