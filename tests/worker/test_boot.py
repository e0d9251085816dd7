"""The first code of a generation, where it can not go on, and what it makes importable."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.worker import boot
from tests.worker.fake_master import FakeMaster, app_plan, install, value


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[FakeMaster]:
    """Exec a generation whose Penstock was built for another Python."""
    start = install(tmp_path / "installation", engine=False)
    (start.parent.parent / "_engine.cpython-399-x86_64-linux-gnu.so").touch()
    fake = FakeMaster(start, tmp_path)
    yield fake
    fake.close()


def test_an_interpreter_without_engine_names_both_versions_and_the_cure(bare: FakeMaster) -> None:
    event = bare.event()
    assert event["event"] == "import-failed"
    assert event["exit_code"] is None
    running = f"cpython {sys.version_info[0]}.{sys.version_info[1]}"
    assert f"{sys.executable} is {running}" in event["reason"]
    assert "has an engine for cpython 3.99\n" in event["reason"]
    assert f"{sys.executable} -m pip install penstock-*.whl" in event["reason"]
    assert bare.exit_code() == 22
    assert event["reason"] in bare.log()


def test_an_engine_that_can_not_be_imported_is_reported(tmp_path: Path) -> None:
    start = install(tmp_path / "installation")
    (start.parent.parent / "_engine.py").write_text("raise ImportError('libsomething.so: cannot open')\n")
    fake = FakeMaster(start, tmp_path)
    try:
        event = fake.event()
        assert "libsomething.so: cannot open" in event["reason"]
        assert "Traceback" in event["traceback"]
        assert fake.exit_code() == 22
    finally:
        fake.close()


def test_the_app_s_own_penstock_does_not_take_the_place_of_the_master_s(tmp_path: Path, project: Path) -> None:
    shadow = tmp_path / "shadow"
    (shadow / "penstock").mkdir(parents=True)
    (shadow / "penstock/__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    start = install(tmp_path / "installation")
    # What stands beside Penstock where it is installed must stay invisible.
    (tmp_path / "installation/neighbour.py").touch()
    fake = FakeMaster(start, tmp_path)
    try:
        plan = app_plan(project, pythonpath=(str(shadow),))
        fake.start(plan)
        assert fake.event()["event"] == "imported"
        control = fake.spawn()
        assert value(control, "sys.modules['penstock'].__file__") == str(tmp_path / "installation/penstock/__init__.py")
        assert value(control, "__import__('importlib.util').util.find_spec('neighbour')") is None
    finally:
        fake.close()


def test_another_interpreter_of_the_same_version(tmp_path: Path, project: Path) -> None:
    other = shutil.which("python3.11", path="/usr/bin")
    if other is None or Path(other).resolve() == Path(sys.executable).resolve():
        pytest.skip("there is no second Python 3.11")
    fake = FakeMaster(install(tmp_path / "installation"), tmp_path, interpreter=other)
    try:
        fake.start(app_plan(project))
        assert fake.event()["event"] == "imported"
        assert value(fake.spawn(), "sys.executable") == other
    finally:
        fake.close()


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("_engine.cpython-311-x86_64-linux-gnu.so", "cpython 3.11"),
        ("_engine.cpython-314t-aarch64-linux-gnu.so", "cpython 3.14t"),
        ("_engine.abi3.so", "abi3 of any version"),
    ],
)
def test_engine_version(name: str, version: str) -> None:
    assert boot.engine_version(name) == version


def test_the_finder_knows_one_name(tmp_path: Path) -> None:
    finder = boot.PackageFinder(os.fspath(tmp_path))
    assert finder.find_spec("penstock") is not None
    assert finder.find_spec("penstock.worker") is None
    assert finder.find_spec("worker") is None
