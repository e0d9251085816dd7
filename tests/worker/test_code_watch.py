"""Files of modules, as a worker tells them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from penstock.worker.code_watch import TEXT_LIMIT_BYTES, Modules, messages


def module(name: str, path: Path | None) -> ModuleType:
    made = ModuleType(name)
    if path is not None:
        path.write_text("")
        made.__file__ = str(path)
    return made


def test_each_module_is_told_once_and_the_ignored_never(tmp_path: Path) -> None:
    modules = {name: module(name, tmp_path / f"{name}.py") for name in ("views", "settings")}
    modules["builtin"] = module("builtin", None)
    modules["gone"] = ModuleType("gone")
    modules["gone"].__file__ = str(tmp_path / "gone.py")
    watch = Modules(["settings"], modules)
    (line,) = watch.new()
    path = tmp_path / "views.py"
    assert line == f"{path.stat().st_mtime_ns} 0 {path}"
    assert watch.new() == []
    modules["late"] = module("late", tmp_path / "late.py")
    assert [line.rpartition("/")[2] for line in watch.new()] == ["late.py"]


def test_what_has_no_name_that_fits_into_a_line_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "a\nb"
    folder.mkdir()
    assert Modules([], {"odd": module("odd", folder / "odd.py")}).new() == []


def test_messages_fit_into_datagrams() -> None:
    lines = [f"1 2 /srv/{'ü' * 100}{number}.py" for number in range(1000)]
    made = list(messages(lines))
    assert len(made) > 1 and all(len(one.encode()) <= TEXT_LIMIT_BYTES + 10 for one in made)
    assert [line for one in made for line in one.removeprefix("modules ").splitlines()] == lines
    assert list(messages([])) == []


def test_the_modules_of_this_process_are_found() -> None:
    told = [line.split(" ", 2)[2] for line in Modules([]).new()]
    assert sys.modules["pathlib"].__file__ in told
