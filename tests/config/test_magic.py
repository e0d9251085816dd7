"""Magic variables."""

from __future__ import annotations

from penstock.config.files import ConfigFile
from penstock.config.magic import file_letters, letters, path_hash, substitute
from tests.config.support import surroundings


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
