"""Files whose touching reloads."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.master.touch import TouchWatch


def test_every_kind_of_touch_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "touch"
    watch = TouchWatch([str(path)])
    assert watch and watch.changed() == []
    path.write_text("")
    assert watch.changed() == [str(path)] and watch.changed() == []
    os.utime(path, (1, 1))
    assert watch.changed() == [str(path)], "time that goes back counts"
    path.unlink()
    assert watch.changed() == [str(path)] and watch.changed() == []


def test_new_list_keeps_what_is_known(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    watch = TouchWatch([str(old)])
    old.write_text("")
    new.write_text("")
    watch.watch([str(old), str(new)])
    assert watch.changed() == [str(old)]
    watch.watch([])
    assert not watch and watch.changed() == []
