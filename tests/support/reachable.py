"""A penstock that every user of this machine can run."""

from __future__ import annotations

import contextlib
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import ROOT


@contextlib.contextmanager
def reachable() -> Iterator[Path]:
    """Make one below /srv, with the program `penstock` in it; skips where there is no interpreter for everybody."""
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if not Path(python).exists():
        pytest.skip("no interpreter that another user could run")
    folder = Path("/srv") / f"pst-{uuid.uuid4().hex[:12]}"
    folder.mkdir(mode=0o755)
    try:
        shutil.copytree(ROOT / "penstock", folder / "lib/penstock")
        program = folder / "penstock"
        program.write_text(
            f"#!{python}\nimport sys\nsys.path.insert(0, {str(folder / 'lib')!r})\n"
            "from penstock.cli import main\nsys.exit(main())\n"
        )
        program.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def for_others(folder: Path) -> tuple[str, dict[str, str]]:
    """An interpreter that any user can run, and the environment in which it finds Penstock: a copy in `folder`."""
    python = sys.executable
    if any(not parent.stat().st_mode & 0o001 for parent in Path(python).resolve().parents):
        python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if not Path(python).exists():
        pytest.skip("no interpreter that another user could run")
    shutil.copytree(ROOT / "penstock", folder / "lib" / "penstock")
    return python, {"PYTHONPATH": str(folder / "lib")}
