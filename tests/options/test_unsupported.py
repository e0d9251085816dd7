"""Every name of uWSGI has a row: in the table, or among those that are not supported."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from penstock.options.known import known_names
from penstock.options.table import BY_NAME
from penstock.options.unsupported import PATH, Unsupported, explain, find, parse, rows, without

each_row = pytest.mark.parametrize("row", rows(), ids=lambda row: row.names[0])


def test_every_name_of_uwsgi_has_exactly_one_row() -> None:
    rest = [name for row in rows() for name in row.names]
    assert len(rest) == len(set(rest))
    assert not set(rest) & set(BY_NAME), "supported by now: run `make generate`"
    assert set(rest) | {name for name, option in BY_NAME.items() if option.verdict != "new"} == set(known_names())


@each_row
def test_a_row_says_what_the_option_does_why_it_is_not_here_and_what_to_use(row: Unsupported) -> None:
    assert list(row.names) == sorted(row.names)
    assert row.family.outlook in ("later", "never") and row.family.effect in ("ignored", "stops")
    for text in (row.does, row.family.why, row.instead, row.family.instead):
        assert len(text) > 5 and not text.endswith((".", ";")) and "\n" not in text
    verb = row.does.split()[0].rstrip(",")
    assert verb.islower() and verb.endswith("s"), f"'it {row.does}' is no sentence"
    assert row.argument in ("none", "optional", "required")
    # Names of one option take a value alike; uWSGI itself errs with none of them.
    assert {known_names()[name].argument for name in row.names} == {row.argument}


@each_row
def test_options_to_use_instead_are_here(row: Unsupported) -> None:
    words = set(re.findall(r"(?<![\w./*-])[a-z]+(?:-[a-z0-9]+)+(?![\w*-])", f"{row.instead} {row.family.why}"))
    assert words & set(known_names()) <= set(BY_NAME)


def test_families_stand_in_order_and_once() -> None:
    titles = [line.split("\t")[0] for line in PATH.read_text().splitlines() if line.startswith("@")]
    assert titles == sorted(titles) and len(titles) == len(set(titles))
    assert {row.family.title for row in rows()} == {title[1:] for title in titles}


@pytest.mark.parametrize("name", ["chroot", "unshare", "setns", "immediate-uid", "emperor", "zerg", "fastrouter"])
def test_what_can_not_be_left_out_stops_the_start(name: str) -> None:
    row = find(name)
    assert row is not None and row.family.effect == "stops"


def test_a_letter_is_a_name_too() -> None:
    assert find("Q") is find("spooler") is not None


TEXT = """\
# names
@Cooking\tlater\tignored\tnobody cooks\tgo out
boil,cook\tmakes it hot
fry\tmakes it fat\tuse oil
@Locks\tnever\tstops\tthieves would come\tbuy a dog
lock\tshuts the door
"""


def test_rows_are_read_with_their_family() -> None:
    boil, fry, lock = parse(TEXT)
    assert boil.names == ("boil", "cook") and boil.does == "makes it hot" and boil.instead == "go out"
    assert fry.family is boil.family and fry.instead == "use oil"
    assert lock.family.effect == "stops" and lock.family.outlook == "never"


def test_what_is_supported_by_now_is_taken_out() -> None:
    assert without(TEXT, []) == TEXT
    assert without(TEXT, ["cook", "other"]) == TEXT.replace("boil,cook", "boil")
    assert "Locks" not in without(TEXT, ["lock"]) and "Cooking" in without(TEXT, ["lock"])
    rest = without(TEXT, ["boil", "cook", "fry"])
    assert "Cooking" not in rest and "lock\t" in rest


def test_many_options_of_a_family_are_still_one_line() -> None:
    names = ["fastrouter-to", "rawrouter-to", "sslrouter-to", "sslrouter-events", "sslrouter-to"]
    message, cure = explain(list(dict.fromkeys(names)))
    assert message.startswith("fastrouter-to, rawrouter-to, sslrouter-to and sslrouter-events are not supported and ")
    assert "(penstock help sslrouter-events and so on for the others)" in message
    assert cure == "use nginx or HAProxy as the balancer"


def test_each_option_of_a_family_has_its_own_advice() -> None:
    assert explain(["immediate-uid", "chroot"])[1].startswith("for immediate-uid: set uid, which")


def test_an_ordinary_start_reads_nothing_of_it() -> None:
    code = """
import sys
from penstock import cli
from penstock.config.argv import parse_argv
from penstock.config.load import load
from penstock.config.files import FileReader
from penstock.config.load import Sources
from penstock.config.surroundings import Surroundings
here = Surroundings.here()
load(Sources(parse_argv(["--http", ":0", "--module", "x"]), {}, here, FileReader(here.cwd)))
print("penstock.options.unsupported" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", done.stderr
