"""Files of modules that change."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from penstock.worker.code_watch import CodeWatch


def module(name: str, path: Path | None) -> ModuleType:
    made = ModuleType(name)
    if path is not None:
        path.write_text("")
        made.__file__ = str(path)
    return made


def test_changes_are_told_once_and_the_ignored_never(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.py" for name in ("views", "settings", "late")}
    modules = {"views": module("views", paths["views"]), "settings": module("settings", paths["settings"])}
    modules["builtin"] = module("builtin", None)
    watch = CodeWatch(["settings"], modules)
    assert watch.changed() == []
    modules["late"] = module("late", paths["late"])
    assert watch.changed() == [], "imported now"
    for path in paths.values():
        os.utime(path, ns=(1, 1))
    assert sorted(watch.changed()) == [(str(paths["late"]), 1), (str(paths["views"]), 1)]
    assert watch.changed() == []
    paths["views"].unlink()
    assert watch.changed() == []
    paths["views"].write_text("anew")
    assert [path for path, _ in watch.changed()] == [str(paths["views"])]
