"""What the tests of a generation share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.worker.fake_master import FakeMaster, install

HELLO = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a directory with one module, `shop_site`, that says hello."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "shop_site.py").write_text(HELLO)
    return directory


@pytest.fixture
def master(tmp_path: Path) -> Iterator[FakeMaster]:
    """Exec a generation that waits for its first message."""
    boot = install(tmp_path / "installation")
    fake = FakeMaster(boot, tmp_path)
    yield fake
    fake.close()


@pytest.fixture
def write(project: Path) -> Callable[..., None]:
    """Write a file of the project; without a name, the module under test."""

    def into(text: str, name: str = "shop_site.py") -> None:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return into
