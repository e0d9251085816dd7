"""Instances that the tests of one file share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.support import write_app, write_configuration
from tests.e2e.harness import Penstock


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Path, Penstock]]:
    """A directory with a configuration that is as it should be, and the instance that serves it."""
    folder = Path(tempfile.mkdtemp(prefix="doc-"))
    folder.chmod(0o755)
    write_app(folder)
    write_configuration(folder)
    with Penstock("app.ini", cwd=folder) as instance:
        yield folder, instance
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(short_dir: Path) -> Path:
    """A directory with an application and a configuration, which nobody serves."""
    short_dir.chmod(0o755)
    write_app(short_dir)
    write_configuration(short_dir)
    return short_dir
