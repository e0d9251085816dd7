"""Releases as folders: copied, whole or not, listed, switched, and gone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.deploy import releases
from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.layout import Layout, is_name, name_from
from penstock.deploy.releases import Release

LAYOUT = Layout("shop")


def release(stamp: str, failed: str = "") -> Release:
    """One that is whole."""
    return Release(stamp=stamp, digest=stamp, source="/home/me/shop", python="/venv/bin/python", failed=failed)


def a_source(folder: Path) -> Path:
    """A project with what is copied and what is not."""
    for name in (
        "manage.py", ".env", "shop/models.py", ".git/HEAD", "shop/__pycache__/models.pyc", ".venv/pyvenv.cfg",
        "odd/pyvenv.cfg", "odd/lib.py", "media/photo", "shop/media/kept",
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / "manage.py").chmod(0o700)
    (folder / "shop/models.py").chmod(0o600)
    (folder / "linked").symlink_to("shop")
    return folder


def test_the_project_is_copied_without_what_is_not_of_it(tmp_path: Path) -> None:
    source, target = a_source(tmp_path / "source"), tmp_path / "target"
    count = releases.copy(source, target, ["media"])
    found = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert found == {"manage.py", ".env", "shop/models.py", "shop/media/kept", "linked"}
    assert count == len(found)
    assert (target / "manage.py").stat().st_mode & 0o777 == 0o755
    assert (target / "shop/models.py").stat().st_mode & 0o777 == 0o644
    assert os.readlink(target / "linked") == "shop"


def test_whatever_matters_changes_the_digest_and_nothing_else_does(tmp_path: Path) -> None:
    source = a_source(tmp_path / "source")
    digest = releases.digest_of(source, ["media"], "python")
    for name in ("media/photo", ".git/HEAD", "odd/lib.py"):
        (source / name).write_text("changed")
    (source / "shop/models.py").touch()
    assert releases.digest_of(source, ["media"], "python") == digest
    others = {digest, releases.digest_of(source, ["media"], "another")}
    (source / "shop/models.py").write_text("changed")
    others.add(releases.digest_of(source, ["media"], "python"))
    (source / "shop/models.py").chmod(0o700)
    others.add(releases.digest_of(source, ["media"], "python"))
    (source / "shop/models.py").rename(source / "shop/views.py")
    others.add(releases.digest_of(source, ["media"], "python"))
    (source / "linked").unlink()
    others.add(releases.digest_of(source, ["media"], "python"))
    assert len(others) == 6


def test_what_is_neither_file_nor_link_is_left_out_and_named(tmp_path: Path) -> None:
    source = a_source(tmp_path / "source")
    os.mkfifo(source / "pipe")
    heard: list[str] = []
    releases.copy(source, tmp_path / "target", [], heard.append)
    assert len(heard) == 1 and "pipe" in heard[0]
    releases.digest_of(source, [])


def test_a_link_that_takes_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of root")
    (tmp_path / "source").symlink_to("secret")
    with pytest.raises(OSError, match="symbolic links"):
        releases.copy_file(tmp_path / "source", tmp_path / "copy", 0o644)
    (tmp_path / "planted").symlink_to("secret")
    with pytest.raises(FileExistsError):
        releases.copy_file(tmp_path / "secret", tmp_path / "planted", 0o644)
    assert (tmp_path / "secret").read_text() == "of root" and not (tmp_path / "copy").exists()


def test_only_whole_releases_are_listed_the_newest_first(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    assert releases.listing(tree, LAYOUT) == [] and releases.current(tree, LAYOUT) == ""
    for stamp in ("20260101-000000", "20260102-000000", "20260103-000000"):
        tree.on_disk(LAYOUT.release(stamp)).mkdir(parents=True)
    releases.finish(tree, LAYOUT, release("20260101-000000"))
    releases.finish(tree, LAYOUT, release("20260103-000000", "no"))
    (tree.on_disk(LAYOUT.release("20260102-000000")) / "release.json").write_text("{damaged")
    assert [each.stamp for each in releases.listing(tree, LAYOUT)] == ["20260103-000000", "20260101-000000"]
    assert releases.unfinished(tree, LAYOUT) == ["20260102-000000"]
    releases.switch(tree, LAYOUT, "20260101-000000")
    releases.switch(tree, LAYOUT, "20260103-000000")
    assert releases.current(tree, LAYOUT) == "20260103-000000"
    assert os.readlink(tree.on_disk(LAYOUT.current)) == "releases/20260103-000000"
    releases.remove(tree, LAYOUT, "20260101-000000")
    assert [each.stamp for each in releases.listing(tree, LAYOUT)] == ["20260103-000000"]


def test_a_name_comes_after_all_others_whatever_the_clock_says(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    moments = [
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=UTC),
    ]
    made = []
    for moment in moments:
        made.append(releases.new_stamp(tree, LAYOUT, moment))
        tree.on_disk(LAYOUT.release(made[-1])).mkdir(parents=True)
    assert made == ["20260501-120000", "20260501-120000.001", "20260501-120000.002"]
    assert made == sorted(made)


def test_the_one_that_serves_and_the_newest_stay() -> None:
    found = [release("5", "no"), release("4"), release("3"), release("2", "no"), release("1")]
    gone = [each.stamp for each in releases.superfluous(found, "1", 1)]
    assert gone == ["3", "2"]
    assert releases.superfluous(found, "4", 9) == [found[3]]


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "srv/shop").mkdir(parents=True)
    (tmp_path / "srv/shop/releases").write_text("a file")
    assert releases.listing(Tree(str(tmp_path)), LAYOUT) == []
    with pytest.raises(ArtifactError, match="nowhere"):
        releases.digest_of(tmp_path / "nowhere", [])


def test_the_commit_is_read_from_git(tmp_path: Path) -> None:
    assert releases.revision_of(tmp_path) == ""
    (tmp_path / ".git/refs/heads").mkdir(parents=True)
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    assert releases.revision_of(tmp_path) == ""
    (tmp_path / ".git/refs/heads/main").write_text("0123456789abcdef" * 2 + "01234567\n")
    (tmp_path / "inner").mkdir()
    assert releases.revision_of(tmp_path / "inner") == "0123456789ab"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shop", "shop"),
        ("My_Shop 2", "my-shop-2"),
        ("2shop-", "shop"),
        ("ümläut", "ml-ut"),
        ("123", ""),
        ("x" * 99, "x" * 31),
    ],
)
def test_a_name_for_users_and_services_is_made_of_any_text(text: str, name: str) -> None:
    assert name_from(text) == name
    assert is_name(name) == bool(name)
