"""When files of the code are looked at: how soon, and at what cost."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock.master.code_files import MOUNTS
from penstock.master.code_watch import CodeWatch
from tests.e2e.harness import until

FOLDERS, FILES_EACH = 100, 50
MOST_PROCESSOR_SHARE = 0.05


def tree(folder: Path) -> list[str]:
    """Make a project of 5,000 files; what a worker would tell of it."""
    lines = []
    for number in range(FOLDERS):
        (folder / f"app{number}").mkdir()
        for other in range(FILES_EACH):
            path = folder / f"app{number}" / f"module{other}.py"
            path.write_text("")
            lines.append(f"{path.stat().st_mtime_ns} 0 {path}")
    return lines


class Started:
    """A watch of the project, and what it has said."""

    def __init__(self, folder: Path, interval_s: float, mounts: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.watch = CodeWatch(interval_s, self.said.append, mounts)
        self.watch.tell(1, "\n".join(tree(folder)))

    def next(self, deadline_s: float) -> list[str]:
        """What has changed, waited for."""
        assert select.select([self.watch], [], [], deadline_s)[0], f"nothing within {deadline_s} s: {self.said}"
        return [f"{Path(one.path).relative_to(self.folder)} {one.what}" for one in self.watch.read()]

    def is_looking(self) -> None:
        """Wait until it sees what happens."""
        path = self.folder / "app0" / "module0.py"
        path.write_text("seen")
        assert self.next(30) == ["app0/module0.py has changed"]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def started(stack: ExitStack, folder: Path, interval_s: float, mounts: Path = MOUNTS) -> Started:
    made = Started(folder, interval_s, mounts)
    stack.callback(made.watch.close)
    return made


def test_a_notified_change_is_seen_within_a_fraction_of_the_interval(tmp_path: Path, stack: ExitStack) -> None:
    pytest.importorskip("watchfiles")
    site = started(stack, tmp_path, 60.0)
    site.is_looking()
    for number in range(3):
        began = time.monotonic()
        (tmp_path / "app7" / "module7.py").write_text("x" * (number + 1))
        assert site.next(30) == ["app7/module7.py has changed"]
        assert time.monotonic() - began < 10
    assert site.said == ["py-auto-reload: changes are seen at once where the kernel tells of them, else every 60 s"]


@pytest.mark.parametrize("has_library", [True, False])
def test_five_thousand_files_cost_little(
    tmp_path: Path, stack: ExitStack, has_library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_library:
        pytest.importorskip("watchfiles")
    else:
        monkeypatch.setitem(sys.modules, "watchfiles", None)
    site = started(stack, tmp_path, 1.0)
    site.is_looking()
    began, used = time.monotonic(), time.process_time()
    until("three seconds", lambda: time.monotonic() - began > 3)
    share = (time.process_time() - used) / (time.monotonic() - began)
    assert share < MOST_PROCESSOR_SHARE, f"{share:.1%} of a CPU"


def test_the_clock_is_used_where_there_is_no_library(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    site = started(stack, tmp_path, 0.2)
    site.is_looking()
    (tmp_path / "app1" / "module1.py").unlink()
    assert site.next(30) == ["app1/module1.py is gone"]
    assert site.said == [
        "py-auto-reload: its files are looked at every 0.2 s (to see changes at once: pip install watchfiles)"
    ]


def test_folders_that_notify_nobody_are_looked_at_by_the_clock(tmp_path: Path, stack: ExitStack) -> None:
    pytest.importorskip("watchfiles")
    table = tmp_path / "mountinfo"
    table.write_text(f"31 22 0:41 / {tmp_path / 'app3'} rw - vboxsf vagrant rw\n")
    site = started(stack, tmp_path, 0.5, table)
    site.is_looking()
    (tmp_path / "app3" / "module3.py").write_text("changed")
    assert site.next(20) == ["app3/module3.py has changed"], "sooner than files that the kernel notifies of are"
