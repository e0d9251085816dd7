"""Files that are put on a machine and taken away again, in a folder that stands for its root, and on the real one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.deploy.artifact import (
    Artifact,
    ArtifactError,
    Manifest,
    Tree,
    compare,
    directory,
    install,
    link,
)

IS_ROOT = os.geteuid() == 0


def snapshot(root: Path) -> dict[str, tuple[str, int, int, int]]:
    """Everything below `root`: kind and content, mode, owner."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        what = os.readlink(path) if path.is_symlink() else "/" if path.is_dir() else path.read_bytes().hex()
        found[str(path.relative_to(root))] = (what, status.st_mode, status.st_uid, status.st_gid)
    return found


SITE = Artifact("/etc/nginx/conf.d/app.conf", "server {}\n", why="the site")


def test_what_is_missing_is_written_with_its_mode_and_the_directories_above(tmp_path: Path) -> None:
    (change,) = install([Artifact("/etc/app/key", "secret\n", 0o640)], Tree(str(tmp_path)), "app")
    assert change.words == ("new",)
    assert (tmp_path / "etc/app/key").read_text() == "secret\n"
    assert (tmp_path / "etc/app/key").stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / "etc/app").stat().st_mode & 0o7777 == 0o755


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    wanted = [SITE, directory("/srv/app", 0o750), link("/srv/app/current", "releases/1")]
    assert len(install(wanted, Tree(str(tmp_path)), "app")) == 3
    before = {path: path.lstat().st_ino for path in tmp_path.rglob("*")}
    assert install(wanted, Tree(str(tmp_path)), "app") == []
    assert {path: path.lstat().st_ino for path in tmp_path.rglob("*")} == before


def test_everything_is_taken_away_to_the_byte_the_mode_and_the_time(tmp_path: Path) -> None:
    old = tmp_path / "etc/nginx/conf.d/app.conf"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old \xff\r\n")
    old.chmod(0o604)
    os.utime(old, ns=(1_000_000_007, 2_000_000_009))
    (tmp_path / "etc/link").symlink_to("nowhere")
    (tmp_path / "srv").mkdir(mode=0o700)
    before = snapshot(tmp_path)
    tree = Tree(str(tmp_path))
    install([SITE, link("/etc/link", "elsewhere"), directory("/srv", 0o755)], tree, "app")
    install([Artifact(SITE.path, "third\n"), Artifact("/opt/a/b/c", "x")], tree, "app")
    assert snapshot(tmp_path) != before
    assert Manifest(tree, "app").take_away() == []
    (tmp_path / "var/lib").rmdir()
    (tmp_path / "var").rmdir()
    assert snapshot(tmp_path) == before
    assert old.stat().st_mtime_ns == 2_000_000_009


def test_what_was_as_it_should_be_is_not_ours_and_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/issue").write_text("hello\n")
    tree = Tree(str(tmp_path))
    assert install([Artifact("/etc/issue", "hello\n")], tree, "app") == []
    assert Manifest(tree, "app").take_away() == []
    assert (tmp_path / "etc/issue").read_text() == "hello\n"


def test_what_somebody_changed_since_is_left_and_named_until_it_is_gone(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    install([SITE, directory("/srv/app")], tree, "app")
    place = tmp_path / SITE.path[1:]
    place.write_text("mine\n")
    (tmp_path / "srv/app/notes").write_text("mine\n")
    remarks = Manifest(tree, "app").take_away()
    assert any(SITE.path in remark and "changed" in remark for remark in remarks)
    assert any("srv/app" in remark and "left" in remark for remark in remarks)
    assert place.read_text() == "mine\n"
    place.unlink()
    (tmp_path / "srv/app/notes").unlink()
    assert Manifest(tree, "app").take_away() == []
    assert not (tmp_path / "var/lib/penstock").exists()


def test_a_diff_shows_what_would_change_and_no_secret(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    assert compare(SITE, tree).diff() == ["--- /dev/null", f"+++ {SITE.path}", "@@ -0,0 +1 @@", "+server {}"]
    install([SITE], tree, "app")
    assert compare(Artifact(SITE.path, "server { }\n", 0o600), tree).diff()[-2:] == ["-server {}", "+server { }"]
    assert compare(Artifact(SITE.path, "server {}\n", 0o600), tree).words == ("mode 0644 -> 0600",)
    diff = compare(Artifact("/etc/key", "password\n", secret=True), tree).diff()
    assert "password" not in "".join(diff) and "/etc/key" in diff[0]


def test_links_are_followed_as_they_will_be_where_the_folder_is_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    (root / "var/run").symlink_to("/run")
    (root / "out").symlink_to("../../..")
    tree = Tree(str(root))
    install([Artifact("/var/run/app/x", "1"), Artifact("/out/y", "2"), Artifact("/../../z", "3")], tree, "app")
    assert (root / "run/app/x").read_text() == "1"
    assert (root / "y").read_text() == "2"
    assert (root / "z").read_text() == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


@pytest.mark.parametrize(
    ("artifact", "says"),
    [
        (Artifact("relative", "x"), "not absolute"),
        (Artifact("/circle/x", "x"), "circle"),
        (Artifact("/etc", "x"), "has to be a file"),
        (directory("/etc/issue"), "has to be a directory"),
        (Artifact("/etc/pipe", "x"), "neither file"),
        (Artifact("/etc/issue/x", "x"), "can not make the directory|can not write"),
    ],
)
def test_what_can_not_be_is_refused_with_its_reason(tmp_path: Path, artifact: Artifact, says: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/issue").write_text("hello\n")
    os.mkfifo(tmp_path / "etc/pipe")
    (tmp_path / "circle").symlink_to("/circle2")
    (tmp_path / "circle2").symlink_to("/circle")
    with pytest.raises(ArtifactError, match=says):
        install([artifact], Tree(str(tmp_path)), "app")
    assert (tmp_path / "etc/issue").read_text() == "hello\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 9, "entries": []}', '{"version": "x"}'])
def test_a_damaged_manifest_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    place = tmp_path / "var/lib/penstock/app/manifest.json"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        Manifest(Tree(str(tmp_path)), "app")


def test_an_entry_that_leads_out_of_the_root_is_refused(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    install([SITE], tree, "app")
    place = tmp_path / "var/lib/penstock/app/manifest.json"
    document = json.loads(place.read_text())
    document["entries"][0]["path"] = "etc/passwd"
    place.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="damaged"):
        Manifest(tree, "app")


WRITER = """
import sys
from penstock.deploy.artifact import Artifact, ArtifactError, Tree, install
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
try:
    install([Artifact("/etc/small", "x"), Artifact("/etc/app", "y" * 100_000)], Tree(sys.argv[1]), "app")
except ArtifactError as error:
    sys.exit(str(error))
"""


def test_what_does_not_fit_leaves_the_old_content_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/app").write_text("old\n")
    done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and os.strerror(errno.EFBIG) in done.stderr, done.stderr
    assert (tmp_path / "etc/app").read_text() == "old\n"
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["app", "small"]
    assert Manifest(Tree(str(tmp_path)), "app").take_away() == []
    assert sorted(path.name for path in (tmp_path / "etc").iterdir()) == ["app"]


KILLED = """
import os, signal, sys
from penstock.deploy.artifact import Artifact, Tree, install, link
left = int(sys.argv[2])
def kill(event, arguments):
    global left
    if event in ("open", "os.rename", "os.mkdir", "os.symlink", "os.chmod") and sys.argv[1] in str(arguments):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
tree = Tree(sys.argv[1])
sys.addaudithook(kill)
install([Artifact("/etc/a", "new\\n"), link("/srv/app/current", "1"), Artifact("/srv/app/b", "b")], tree, "app")
"""


def test_a_run_that_is_killed_anywhere_can_be_gone_on_with_and_undone(tmp_path: Path) -> None:
    for count in range(200):
        root = tmp_path / str(count)
        for name in ("etc", "srv", "var", "var/lib"):
            (root / name).mkdir(parents=True)
        (root / "etc/a").write_text("old\n")
        before = snapshot(root)
        done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(count)], capture_output=True, check=False)
        assert (root / "etc/a").read_text() in ("old\n", "new\n")
        if count % 2:
            again = [sys.executable, "-c", KILLED, str(root), "100000"]
            assert subprocess.run(again, capture_output=True, check=False).returncode == 0
            assert (root / "srv/app/b").read_text() == "b"
        assert Manifest(Tree(str(root)), "app").take_away() == []
        assert snapshot(root) == before, count
        if done.returncode == 0:
            return
        assert done.returncode == -9, done.stderr
    pytest.fail("the run was never finished")


@pytest.mark.skipif(not IS_ROOT, reason="owners can be set by root only")
def test_owners_are_set_and_given_back_on_the_machine(tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_text("old\n")
    os.chown(place, 1, 1)
    tree = Tree("/")
    manifest = Manifest(tree, f"test-{os.getpid()}")
    assert manifest.tree.is_machine
    try:
        change = manifest.put(Artifact(str(place), "new\n", 0o640, "root", "nogroup", secret=True))
        assert "group daemon -> nogroup" in change.words and "owner daemon -> root" in change.words
        assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (0, 0o640)
        with pytest.raises(ArtifactError, match="there is no user nobody-here"):
            manifest.put(Artifact(str(tmp_path / "x"), "new\n", owner="nobody-here"))
        assert not (tmp_path / "x").exists()
    finally:
        assert manifest.take_away() == []
    assert (place.stat().st_uid, place.stat().st_gid, place.read_text()) == (1, 1, "old\n")


def test_what_is_given_away_is_never_what_a_link_leads_to(tmp_path: Path) -> None:
    """A folder of the application's user, whom nobody hinders from putting links into it at any time."""
    if not IS_ROOT:
        pytest.skip("only root gives files away")
    theirs = tmp_path / "etc"
    theirs.mkdir()
    (theirs / "shadow").write_text("secret")
    (theirs / "shadow").chmod(0o600)
    media = tmp_path / "media"
    (media / "sub").mkdir(parents=True)
    (media / "sub/shadow").write_text("upload")
    (media / "file").symlink_to(theirs / "shadow")
    (media / "folder").symlink_to(theirs)
    code = """
import os, sys
from pathlib import Path
from penstock.deploy.artifact import give
media, theirs = sys.argv[1:]
def swap(event, arguments):
    # As soon as the folder has been listed, a link takes its place.
    if event == "os.chown" and str(arguments[0]).endswith("shadow") and os.path.isdir(f"{media}/sub"):
        os.rename(f"{media}/sub", f"{media}/away")
        os.symlink(theirs, f"{media}/sub")
sys.addaudithook(swap)
give(Path(media), (1, 1), 0o7750)
"""
    subprocess.run([sys.executable, "-c", code, str(media), str(theirs)], check=True)
    assert (media / "sub").is_symlink(), "the race was run"
    status = (theirs / "shadow").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o600)
    assert theirs.stat().st_uid == 0
    assert (media / "away/shadow").stat().st_uid == 1
    assert (media / "away/shadow").stat().st_mode & 0o007 == 0
    assert (media / "file").lstat().st_uid == 1
