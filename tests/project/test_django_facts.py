"""What Django's settings come to, asked of a real project in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from tests.support.projects import found, make_django


@pytest.fixture(scope="module")
def project_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_django(tmp_path_factory.mktemp("facts") / "cmdb")


def test_settings_are_told_as_django_has_them(project_dir: Path) -> None:
    facts = ask(found(project_dir))
    assert isinstance(facts, DjangoFacts)
    assert facts.settings == "cmdb.settings" and facts.settings_file == str(project_dir / "cmdb/settings.py")
    assert (facts.static_url, facts.static_root) == ("/static/", str(project_dir / "static"))
    assert (facts.media_url, facts.media_root) == ("/media/", str(project_dir / "media"))
    assert facts.allowed_hosts == ("shop.example.org", "localhost", "127.0.0.1")
    assert facts.debug is False and facts.secret_key == "example"
    assert facts.databases[0].vendor == "sqlite" and facts.databases[0].name == str(project_dir / "db.sqlite3")
    assert facts.admin_url == "/admin/"
    assert (facts.migrations, facts.messages, facts.collected) == (None, None, None)


def test_a_project_that_does_not_come_up_is_told_with_the_line_at_fault(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings="import os\nos.environ['NOT_THERE']")
    answer = ask(found(folder))
    assert isinstance(answer, Unanswered)
    lines = (folder / "cmdb/settings.py").read_text().splitlines()
    assert answer.file == str(folder / "cmdb/settings.py") and "NOT_THERE" in lines[answer.line - 1]
    assert "KeyError: 'NOT_THERE'" in answer.traceback and "environment variable" in answer.cure
