"""Files of the code that change, appear and go."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.master.code_files import FAILED, Change, CodeFiles, is_shared, mounts_of


class Site:
    """A folder of code, and what is watched of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = CodeFiles(grace_s=1.0)
        self.now = 0.0

    def write(self, name: str, text: str = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def tell(self, *names: str, generation: int = 1) -> None:
        status = {str(self.folder / name): (self.folder / name).stat() for name in names}
        self.files.tell(generation, [f"{one.st_mtime_ns} {one.st_size} {path}" for path, one in status.items()])

    def changed(self, after_s: float = 0.1) -> list[str]:
        self.now += after_s
        return [f"{os.path.relpath(one.path, self.folder)} {one.what}" for one in self.files.changed(self.now)]


def test_a_change_is_told_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for name in ("views.py", "other.py", "settings.py"):
        site.write(name)
    site.tell("views.py", "settings.py")
    assert site.changed() == [] and len(site.files) == 2
    site.write("views.py", "new")
    site.write("other.py", "no module of it was imported")
    assert site.changed() == ["views.py has changed"]
    assert site.changed() == []
    os.utime(tmp_path / "settings.py", ns=(1, 1))
    assert site.changed() == ["settings.py has changed"], "older than before"


def test_a_change_before_the_first_look_is_seen(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("views.py")
    site.tell("views.py")
    site.write("views.py", "between import and look")
    assert site.changed() == ["views.py has changed"]


def test_a_file_that_is_renamed_over_has_changed_and_was_never_away(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("views.py", "1")
    site.tell("views.py")
    (tmp_path / "views.py").unlink()
    assert site.changed() == [] and site.files.waits
    site.write("views.py~", "22").rename(tmp_path / "views.py")
    assert site.changed() == ["views.py has changed"] and not site.files.waits


def test_a_file_that_stays_away_is_gone_and_its_return_a_change(tmp_path: Path) -> None:
    site = Site(tmp_path)
    path = site.write("views.py")
    site.tell("views.py")
    path.unlink()
    assert site.changed() == []
    assert site.changed(1.0) == ["views.py is gone"]
    assert site.changed(5.0) == []
    site.write("views.py")
    assert site.changed() == ["views.py has changed"]


def test_new_files_beside_own_code_count_and_others_do_not(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("app/views.py")
    site.write("venv/lib/python3.12/site-packages/django/apps.py")
    site.tell("app/views.py", "venv/lib/python3.12/site-packages/django/apps.py")
    for name in ("app/notes.txt", "app/4913", "app/.#views.py", "app/views.py~", "app/__pycache__/views.pyc"):
        site.write(name)
    site.write("venv/lib/python3.12/site-packages/django/more.py")
    assert site.changed() == []
    site.write("app/local.py")
    assert site.changed() == ["app/local.py is new"]
    assert site.changed() == []
    site.write("app/local.py", "mended")
    assert site.changed() == ["app/local.py has changed"], "nobody has imported it: it may be why"
    site.files.forget(FAILED)
    site.write("app/local.py", "of no concern")
    assert site.changed() == []


def test_new_folders_are_looked_into(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("app/views.py")
    site.tell("app/views.py")
    (tmp_path / "app/sub").mkdir()
    assert site.changed() == []
    assert str(tmp_path / "app/sub") in site.files.folders
    site.write("app/sub/deep/__init__.py")
    assert site.changed() == ["app/sub/deep/__init__.py is new"]


def test_what_failed_code_came_by_is_watched(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("views.py")
    broken = site.write("models.py", "def broken(")
    site.tell("views.py")
    site.files.tell_failed(
        f'Traceback (most recent call last):\n  File "{tmp_path}/views.py", line 1, in <module>\n'
        f'  File "<frozen importlib._bootstrap>", line 9, in load\n  File "relative.py", line 1\n'
        f'  File "{broken}", line 1\n    def broken(\nSyntaxError: never closed\n'
    )
    site.write("models.py", "mended = True")
    assert site.changed() == ["models.py has changed"]


def test_files_are_forgotten_with_their_last_generation(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("views.py")
    site.tell("views.py", generation=1)
    site.tell("views.py", generation=2)
    site.files.forget(1)
    site.write("views.py", "1")
    assert site.changed() == ["views.py has changed"]
    site.files.forget(2)
    site.write("views.py", "22")
    assert site.changed() == [] and len(site.files) == 0


def test_a_change_is_a_value() -> None:
    assert Change("/srv/views.py", "is new") == Change("/srv/views.py", "is new")


def test_folders_of_file_systems_that_notify_nobody_are_known(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "30 22 0:40 / /srv/shared\\040code rw shared:7 master:2 - nfs4 host:/code rw\n"
        "31 22 0:41 / /vagrant rw - vboxsf vagrant rw\n"
        "32 22 0:42 / /app rw - fuse.grpcfuse grpcfuse rw\n"
        "33 31 0:43 / /vagrant/local rw - tmpfs tmpfs rw\n"
        "34 22 0:44 / /over rw - 9p host rw\n35 22 0:45 / /over rw - ext4 /dev/vdb rw\n"
    )
    mounts = mounts_of(table)
    shared = {"/srv/shared code/app", "/vagrant", "/vagrant/site", "/app/x/y"}
    local = {"/", "/srv", "/vagrant/local/a", "/vagrants", "/application", "/over/a"}
    assert {path for path in shared | local if is_shared(path, mounts)} == shared
    assert mounts_of(tmp_path / "missing") == []
    assert not is_shared("/anything", [])


def test_what_became_of_a_file_while_nobody_had_imported_it_is_no_change(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for name in ("views.py", "late.py", "odd.py"):
        site.write(name)
    site.tell("views.py", "late.py", "odd.py", generation=1)
    (tmp_path / "odd.py").unlink()
    assert site.changed() == [] and site.files.waits
    site.tell("views.py", generation=2)
    site.files.forget(1)
    assert not site.files.waits, "nobody waits for a file that is not watched"
    site.write("late.py", "edited before a request has generation 2 import it")
    assert site.changed() == []
    site.tell("late.py", generation=2)
    assert site.changed() == []
    site.write("late.py", "and after it")
    assert site.changed() == ["late.py has changed"]
