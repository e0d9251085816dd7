"""Magic variables."""

from __future__ import annotations

from pathlib import Path

from penstock.config.files import ConfigFile
from penstock.config.magic import file_letters, letters, path_hash, substitute
from tests.config.support import read, surroundings


def table(path: str = "/srv/app/cfg/t1.ini", section: str = "") -> dict[str, str]:
    file = file_letters(ConfigFile("cfg/t1.ini", path, 4711, ""), section)
    return letters(file, file, surroundings("/srv/app"))


def test_parts_of_the_directory() -> None:
    assert [table()[digit] for digit in "01234"] == ["srv", "app", "cfg", "", ""]
    assert table()["9"] == ""


def test_about_the_file() -> None:
    assert substitute("%o %p %s %n %e %d %c %i", table()) == (
        "cfg/t1.ini /srv/app/cfg/t1.ini t1.ini t1 ini /srv/app/cfg/ cfg 4711",
        [],
    )
    assert substitute("%x%X", table(section="dev"))[0] == "devdev"
    assert substitute("%d %c %0", table("/t1.ini"))[0] == "/  "
    assert substitute("%n|%e", table("/srv/plain"))[0] == "plain|"


def test_the_hash_is_uwsgis() -> None:
    # uWSGI 2.0.21 prints this for %j of a file of this name.
    assert path_hash("/tmp/cfg/t1.ini") == "843D88A9"


def test_what_has_no_meaning_stays() -> None:
    assert substitute("%Y-%m %%d 100%", table()) == ("%Y-%m %d 100%", ["%Y", "%m", "%"])
    assert substitute("%(d) %%(d)", table()) == ("%(d) %(d)", [])


def test_what_looks_percent_encoded_is_named(tmp_path: Path) -> None:
    """`%4` is a part of the file's directory, in a password too."""
    (tmp_path / "app.ini").write_text(
        "[uwsgi]\n"
        "env = DATABASE_URL=postgres://me:p%40ss@db/shop\n"
        "env = KEPT=postgres://me:p%%40ss@db/shop\n"
        "mine = https://%2Fdata\n"
        "env = CACHE=%dcache\n"
        "pidfile = /run/%2f%(mine).pid\n"
    )
    said = read("--ini", "app.ini", cwd=tmp_path)
    found = [finding for finding in said.findings if finding.code == "percent-escape"]
    assert [finding.origin and finding.origin.line for finding in found] == [2, 4]
    assert "%4 of %40" in found[0].message and found[0].cure == "write %%40 where %40 is meant"
    assert said.texts("env")[1] == "KEPT=postgres://me:p%40ss@db/shop"
