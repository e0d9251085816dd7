"""A Django project that is exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.projects import make_django


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with requirements, and nothing of Penstock's."""
    folder = make_django(tmp_path_factory.mktemp("export") / "shop")
    (folder / "requirements.txt").write_text("django>=5.2,<5.3\n")
    return folder
