"""What becomes of each thing that a file may say, kind by kind."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml

from penstock.config.pairs import Kind, Malformed, kind_of
from penstock.convert.conversion import Refused
from penstock.convert.writing import Target
from tests.config.realistic import FILES, HERE
from tests.convert.support import converted, meaning

TARGETS: tuple[Target, ...] = ("ini", "toml", "yaml", "json")

SITE = """\
; my site
[uwsgi]
base = /srv/app
chdir = %(base)
workers = %k        ; one for each
socket = /run/a.sock
env = A=1
master

# what nginx asks
http-socket = :8000
env = B=%d
harakiri = 60
disable-logging = True
vacuum = false
"""


def test_toml() -> None:
    text = converted(SITE, "ini", "toml").text
    assert (
        text
        == """\
[uwsgi]
# my site
base = "/srv/app"
chdir = "%(base)"
# one for each
processes = '%k'
socket = "/run/a.sock"
env = ["A=1", 'B=%d']
master = true

# what nginx asks
http-socket = ":8000"
harakiri = 60
disable-logging = true
vacuum = false
"""
    )
    assert tomllib.loads(text)["uwsgi"]["harakiri"] == 60


def test_yaml_is_what_any_library_reads() -> None:
    text = converted(SITE, "ini", "yaml").text
    document = yaml.safe_load(text)["uwsgi"]
    assert document["env"] == ["A=1", "B=%d"] and document["http-socket"] == ":8000" and document["vacuum"] is False
    assert "  # what nginx asks\n" in text


def test_json_is_what_any_library_reads_and_comments_are_counted() -> None:
    done = converted(SITE, "ini", "json")
    document = json.loads(done.text)["uwsgi"]
    assert document["env"] == ["A=1", "B=%d"] and document["processes"] == "%k" and document["master"] is True
    assert any("3 lines of comments" in note.text for note in done.notes)


def test_ini_keeps_comments_and_empty_lines_where_they_are() -> None:
    assert (
        converted(SITE, "ini", "ini").text
        == """\
[uwsgi]
# my site
base = /srv/app
chdir = %(base)
# one for each
processes = %k
socket = /run/a.sock
env = A=1
master = true

# what nginx asks
http-socket = :8000
env = B=%d
harakiri = 60
disable-logging = True
vacuum = false
"""
    )


@pytest.mark.parametrize("kind", TARGETS)
def test_a_name_that_something_asks_for_stays(kind: Target) -> None:
    said = converted("[uwsgi]\nworkers = 2\nenv = N=%(workers)\npyhome = /v\n", "ini", kind).text
    assert "workers" in said and "processes" not in said and "home" in said and "pyhome" not in said


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_blocks_begin_tables_of_their_own_where_a_key_comes_again(kind: Target) -> None:
    text = "[uwsgi]\nif-env = A\nhttp = :1\nendif =\nif-not-env = A\nhttp = :2\nendif =\nhttp = :3\n"
    done = converted(text, "ini", kind)
    tables: list[dict[str, Any]] = (tomllib.loads(done.text) if kind == "toml" else json.loads(done.text))["uwsgi"]
    assert tables == [
        {"if-env": "A", "http": ":1", "endif": ""},
        {"if-not-env": "A", "http": ":2", "endif": ""},
        {"http": ":3"},
    ]
    assert meaning(done.text, kind) == meaning(text, "ini")


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_block_in_which_a_key_comes_again_is_parted_there(kind: Target) -> None:
    text = "[uwsgi]\nif-env = HERE\nroute = ^/a log:a\nroute-if = empty:${A} log:b\nroute = ^/c log:c\nendif =\n"
    done = converted(text, "ini", kind)
    tables: list[dict[str, Any]] = (tomllib.loads(done.text) if kind == "toml" else json.loads(done.text))["uwsgi"]
    assert [list(table) for table in tables] == [["if-env", "route", "route-if"], ["route", "endif"]]
    assert meaning(done.text, kind) == meaning(text, "ini")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<uwsgi><master/><processes>1</processes><vacuum>0</vacuum></uwsgi>", "xml"),
        ('{"uwsgi": {"master": true, "processes": 1, "vacuum": false}}', "json"),
    ],
)
def test_flags_are_written_as_people_write_them(text: str, kind: Kind) -> None:
    assert converted(text, kind, "ini").text == "[uwsgi]\nmaster = true\nprocesses = 1\nvacuum = false\n"
    asked = '{"uwsgi": {"vacuum": true, "env": "V=%(vacuum)"}}'
    assert converted(asked, "json", "ini").text == "[uwsgi]\nvacuum = 1\nenv = V=%(vacuum)\n"


def test_rules_keep_their_order() -> None:
    text = "[uwsgi]\nroute = ^/a x\nroute-if = b y\nroute = ^/c z\n"
    document = tomllib.loads(converted(text, "ini", "toml").text)["uwsgi"]
    assert [list(table.values()) for table in document] == [["^/a x", "b y"], ["^/c z"]]


@pytest.mark.parametrize("kind", TARGETS)
def test_sections_of_the_same_file_are_read_from_the_new_one(kind: Target) -> None:
    text = "[uwsgi]\nini = :base\nprocesses = 2\n[base]\nthreads = 3\nenv = A=1\n[other]\nthreads = 4\n"
    done = converted(text, "ini", kind)
    assert meaning(done.text, kind) == meaning(text, "ini")
    assert meaning(done.text, kind, "other") == meaning(text, "ini", "other")


@pytest.mark.parametrize("kind", TARGETS)
def test_one_section_becomes_the_usual_one_with_what_it_reads(kind: Target) -> None:
    text = "[uwsgi]\nthreads = 9\n[base]\nthreads = 3\n[dev]\nini = :base\nhttp = :8000\n"
    done = converted(text, "ini", kind, "dev")
    assert meaning(done.text, kind) == meaning(text, "ini", "dev")
    assert "9" not in done.text


def test_another_file_is_still_read_and_that_is_said() -> None:
    done = converted("[uwsgi]\nini = other.ini\nini = :base\n", "ini", "toml")
    assert tomllib.loads(done.text)["uwsgi"]["ini"] == ["other.ini", ":base"]
    assert any("other.ini: that file is still read" in note.text for note in done.notes)


def test_a_section_that_has_the_name_of_a_key_is_renamed_in_toml_and_that_is_said() -> None:
    text = "[uwsgi]\nbase = /srv\nchdir = %(base)\nini = :base\n[base]\nthreads = 2\n"
    done = converted(text, "ini", "toml")
    assert meaning(done.text, "toml") == meaning(text, "ini")
    assert any("[base] is called base-section now" in note.text for note in done.notes)


def test_what_is_not_supported_keeps_its_line_below_a_comment_once() -> None:
    once = converted("[uwsgi]\nlegion = a b c d\nproceses = 4\nx = 1\nchdir = %(x)\n", "ini", "ini")
    assert "# legion: Penstock does not support it" in once.text and "\nlegion = a b c d\n" in once.text
    assert "# proceses: there is no such option; did you mean processes?" in once.text
    assert "# x" not in once.text
    assert converted(once.text, "ini", "ini").text == once.text
    assert [note.line for note in once.differs] == [2, 3]


def test_what_differs_from_uwsgi_is_listed_with_its_line() -> None:
    done = converted("[uwsgi]\nmaster = true\nharakiri = 60\nthreads = 2\n", "ini", "yaml")
    assert [(note.line, note.text.split(":")[0]) for note in done.differs] == [
        (2, "master is not needed"),
        (3, "harakiri"),
    ]


def test_the_variables_of_the_file_itself_are_named() -> None:
    done = converted("[uwsgi]\ntouch-reload = %p\nprint = %%p\n", "ini", "toml")
    assert [note.text for note in done.notes] == ["%p is the path of the new file now"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("yaml", "# top\nuwsgi:\n  # why\n  chdir: %(base)/x  # there\n  env: [A=1, 'B=%d #']\n  base: \"%k\\x25d\"\n"),
        ("json", '{"uwsgi": {"processes": %k, "env": ["A=\\u0025d", "B=50%"], "master": true, "vacuum": false}}'),
        ("toml", '# a\n[uwsgi]\nprocesses = %k # b\nenv = {A = "%d", B = 2}\nharakiri = 1_0\n'),
        ("xml", "<uwsgi><!-- why --><processes>%k</processes><env>A=&lt;%d</env><env>B=2</env><master/></uwsgi>"),
        ("xml", "<w><uwsgi id='a'><threads>2</threads></uwsgi><uwsgi id='b'><threads>3</threads></uwsgi></w>"),
    ],
)
@pytest.mark.parametrize("target", TARGETS)
def test_from_every_kind(kind: Kind, text: str, target: Target) -> None:
    done = converted(text, kind, target)
    assert meaning(done.text, target) == meaning(text, kind)
    if "why" in text and target != "json":
        assert "# why\n" in done.text


def test_comments_of_toml_and_yaml_are_kept_also_behind_values() -> None:
    text = converted('[uwsgi]\nmodule = "a" # the app\nenv = "A=#1"\n', "toml", "ini").text
    assert text == "[uwsgi]\n# the app\nmodule = a\nenv = A=#1\n"
    text = converted("uwsgi:\n  module: a # the app\n  env: 'A= #1'\n", "yaml", "ini").text
    assert text == "[uwsgi]\n# the app\nmodule = a\nenv = A= #1\n"


@pytest.mark.parametrize(
    ("value", "why"),
    [('"a\\nb"', "several lines"), ('" a"', "blanks"), ('"a "', "blanks"), ('"a\\u0000b"', "zero byte")],
)
def test_what_an_ini_file_can_not_hold_is_refused_with_its_line(value: str, why: str) -> None:
    with pytest.raises(Refused, match=f"app.toml:3: .*{why}"):
        converted(f"[uwsgi]\n\nmodule = {value}\n", "toml", "ini")
    done = converted(f"[uwsgi]\n\nmodule = {value}\n", "toml", "json")
    assert meaning(done.text, "json") == meaning(f"[uwsgi]\n\nmodule = {value}\n", "toml")


def test_a_key_that_an_ini_file_can_not_hold_is_refused() -> None:
    with pytest.raises(Refused, match="can not be a key"):
        converted('{"uwsgi": {"a=b": "1"}}', "json", "ini")


def test_a_file_without_the_section_is_refused() -> None:
    with pytest.raises(Refused, match=r"no section \[uwsgi\], but \[other\]") as refused:
        converted("[other]\nthreads = 2\n", "ini", "toml", "uwsgi")
    assert refused.value.reasons


def test_a_bracket_that_is_missing_is_malformed() -> None:
    with pytest.raises(Malformed, match="no closing bracket"):
        converted("[uwsgi\nthreads = 2\n", "ini", "toml")


def test_expanded_the_values_of_this_machine_stand_there() -> None:
    text = "[uwsgi]\nbase = /x\nchdir = %(base)\nworkers = %(%k * 2)\nif-env = N\nenv = N=%(_)\nendif =\n"
    done = converted(text, "ini", "ini", expand=True)
    assert done.text == "[uwsgi]\nchdir = /x\nprocesses = 6\nenv = N=3\n"
    assert any("this machine" in note.text for note in done.notes)


def test_expanded_a_percent_sign_stays_one() -> None:
    done = converted("[uwsgi]\nmodule = a%%d\n", "ini", "toml", expand=True)
    assert meaning(done.text, "toml")["module"] == ["a%d"]


def test_what_can_not_be_expanded_is_an_error() -> None:
    with pytest.raises(Refused, match=r"app\.ini:2: chdir: can not read /nowhere"):
        converted("[uwsgi]\nchdir = @(/nowhere/at/all)\n", "ini", "toml", expand=True)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith((".argv", ".env", "trailing_comma.js"))])
def test_what_people_write_means_the_same_as_every_other_kind(name: str) -> None:
    """All configurations of tests/cases/config/realistic."""
    text = (HERE / name).read_bytes().decode().removeprefix("\ufeff")
    kind = kind_of(name)
    assert kind is not None
    if name == "no_section.ini":
        with pytest.raises(Refused, match="no section at all"):
            converted(text, kind, "toml")
        return
    for target in TARGETS:
        done = converted(text, kind, target)
        assert meaning(done.text, target) == meaning(text, kind)
        back: Target = "ini" if kind == "xml" else kind
        assert meaning(converted(done.text, target, back).text, back) == meaning(text, kind)
