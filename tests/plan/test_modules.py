"""Modules are found as the import system finds them, and their top level is read without running it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.plan import modules


def make(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


def find(name: str, *places: Path) -> modules.Search:
    return modules.find(name, [str(place) for place in places])


def test_modules_packages_and_namespaces(tmp_path: Path) -> None:
    make(tmp_path, "one.py", "pack/__init__.py", "pack/wsgi.py", "name/space/deep.py", "fast.cpython-311-x86_64.so")
    assert find("one", tmp_path).file == f"{tmp_path}/one.py"
    assert find("pack", tmp_path).file == f"{tmp_path}/pack/__init__.py"
    assert find("pack.wsgi", tmp_path).file == f"{tmp_path}/pack/wsgi.py"
    assert find("name.space.deep", tmp_path).file == f"{tmp_path}/name/space/deep.py"
    assert find("fast", tmp_path) == modules.Search(True, True)
    assert find("os.path", tmp_path).is_found


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    make(tmp_path, "pack/__init__.py", "one.py")
    assert find("none.wsgi", tmp_path) == modules.Search(True, False, "", "none", "")
    assert find("pack.none.x", tmp_path) == modules.Search(True, False, "", "pack.none", f"{tmp_path}/pack")
    assert not find("one.x", tmp_path).is_certain, "a module may make itself a package"
    assert not find("x", tmp_path / "none").is_found


def test_the_first_directory_wins_and_a_package_beats_a_namespace(tmp_path: Path) -> None:
    make(tmp_path, "a/pack/x.py", "b/pack/__init__.py", "c/pack.py")
    assert find("pack", tmp_path / "a", tmp_path / "b", tmp_path / "c").file == f"{tmp_path}/b/pack/__init__.py"
    assert find("pack", tmp_path / "c", tmp_path / "b").file == f"{tmp_path}/c/pack.py"


def test_a_virtual_environment_and_its_hooks(tmp_path: Path) -> None:
    site = make(tmp_path, "lib/python3.11/site-packages/django/__init__.py").joinpath("lib/python3.11/site-packages")
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.4\n")
    assert modules.site_directories(str(tmp_path)) == ([str(site)], True)
    assert modules.version_of(str(tmp_path)) == "3.11"
    make(tmp_path, "elsewhere/x.py")
    (site / "mine.pth").write_text(f"# a path\n{tmp_path}/elsewhere\n/not/there\n")
    assert modules.site_directories(str(tmp_path)) == ([str(site), f"{tmp_path}/elsewhere"], True)
    (site / "__editable___mine.pth").write_text("import __editable___mine_finder\n")
    assert not modules.site_directories(str(tmp_path))[1]
    assert modules.site_directories(str(tmp_path / "none")) == ([], False)


def test_an_environment_that_sees_the_system_is_not_all(tmp_path: Path) -> None:
    make(tmp_path, "lib/python3.11/site-packages/x.py")
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = true\nversion_info = 3.12.0.final.0\n")
    assert not modules.site_directories(str(tmp_path))[1]
    assert modules.version_of(str(tmp_path)) == "3.12"
    (tmp_path / "pyvenv.cfg").write_text("version = new\n")
    assert modules.version_of(str(tmp_path)) == ""


def test_only_regular_files_of_a_reasonable_size_are_read(tmp_path: Path) -> None:
    assert modules.read_source("/dev/zero") is None
    os.mkfifo(tmp_path / "fifo")
    assert modules.read_source(str(tmp_path / "fifo")) is None
    assert modules.read_source("a\0b") is None
    (tmp_path / "large").write_bytes(b"#" * (modules.LARGEST_SOURCE_BYTES + 1))
    assert modules.read_source(str(tmp_path / "large")) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("app = 1", {"app"}),
        ("a, (b, *c) = x\nd: int = 1\ne: int\n", {"a", "b", "c", "d", "e"}),
        ("def f():\n  inner = 1\nasync def g(): pass\nclass C:\n  x = 1\n", {"f", "g", "C"}),
        ("import a.b\nimport c as d\nfrom e import f, g as h\n", {"a", "d", "f", "h"}),
        ("if x:\n  a = 1\nelse:\n  b = 1\n", {"a", "b"}),
        ("try:\n  a = 1\nexcept E as e:\n  b = 1\nfinally:\n  c = 1\n", {"a", "e", "b", "c"}),
        ("with x as a:\n  pass\nfor b in x:\n  pass\nwhile (c := x):\n  pass\n", {"a", "b", "c"}),
        ("match x:\n  case [a, *b]:\n    pass\n  case y as z:\n    pass\n", {"a", "b", "y", "z"}),
        ("def f():\n  global app\n  app = 1\n", {"f", "app"}),
        ("if __name__ == '__main__':\n  app = 1\nelse:\n  other = 1\n", {"other"}),
    ],
)
def test_names_of_the_top_level(text: str, names: set[str]) -> None:
    assert modules.read_top_level(text.encode()).names == names
    assert modules.read_top_level(text.encode()).is_certain


@pytest.mark.parametrize(
    "text",
    [
        "from a import *",
        "globals()['app'] = 1",
        "exec('app = 1')",
        "import sys\nsetattr(sys.modules[__name__], 'app', 1)",
        "def __getattr__(name): return 1",
    ],
)
def test_where_other_names_may_be(text: str) -> None:
    assert not modules.read_top_level(text.encode()).is_certain


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import threading\nthreading.Thread(target=print).start()", (2,)),
        ("from threading import Thread\nt = Thread(target=print)\nif True:\n    t.start()", (4,)),
        ("s = BackgroundScheduler()\ns.start()", (2,)),
        ("def f():\n    Thread().start()", ()),
        ("server.start()", ()),
        ("if __name__ == '__main__':\n    Thread().start()", ()),
        ("t = Thread()", ()),
    ],
)
def test_threads_that_are_started(text: str, lines: tuple[int, ...]) -> None:
    assert modules.read_top_level(text.encode()).threads == lines


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    with contextlib.suppress(SyntaxError, ValueError):
        modules.read_top_level(data)


def test_a_text_that_is_nested_too_deep_says_nothing() -> None:
    assert not modules.read_top_level(b"-" * 20_000 + b"1").is_certain
