"""The schema of configuration files: what starts is valid, and what is refused for its value is not."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from penstock.commands.schema import run, schema
from penstock.config.argv import parse_argv
from penstock.config.files import FileReader
from penstock.config.load import Sources, read
from penstock.options.table import BY_NAME, OPTIONS
from tests.config.support import CASES, NAMES, case, surroundings

VALIDATOR = Draft7Validator(schema())

ABOUT_VALUES = {"bad-mapping", "bad-mode", "flag-word", "not-a-number"}
"""Findings that a schema can foresee; what a value means (ranges, addresses) it leaves to the start."""

NOT_STANDARD = {
    *("json_comma", "json_half_character", "toml_bad", "yaml_bad", "yaml_loose", "yaml_plain"),
    *("loose", "trailing_comma"),
}
"""Files that Penstock reads, or refuses with a reason, and a library for their kind does not."""


def problems(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_it_is_a_schema_and_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    Draft7Validator.check_schema(schema())
    assert run([]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
    assert run(["workers"]) == 1
    told = "[penstock] penstock schema takes no workers: it describes every configuration file\n"
    assert capsys.readouterr() == ("", told)


def test_every_option_that_may_stand_in_a_file_is_in_it() -> None:
    names = {name for option in OPTIONS if option.role != "command" for name in option.names}
    assert set(schema()["definitions"]["options"]["properties"]) == names


READERS = {".js": json.loads, ".toml": tomllib.loads, ".yaml": yaml.safe_load, ".yml": yaml.safe_load}
FILES = sorted(path for path in CASES.iterdir() if path.suffix in READERS)
REALISTIC = sorted(
    path for path in (CASES / "realistic").iterdir() if path.suffix in READERS and path.name != "expected.toml"
)


def document_in(path: Path) -> Any:
    """What a library for its kind reads from a file; None where that refuses it, as it is known to."""
    try:
        document = READERS[path.suffix](path.read_text())
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, yaml.YAMLError):
        assert path.stem in NOT_STANDARD
        return None
    return document


@pytest.mark.parametrize("path", REALISTIC, ids=lambda path: path.name)
def test_files_as_people_write_them(path: Path) -> None:
    document = document_in(path)
    assert document is None or not problems(document)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_the_corpus(path: Path) -> None:
    document = document_in(path)
    if document is None:
        return
    expected = json.loads(path.with_suffix(".json").read_text())
    refused = {code for code, _ in expected.get("errors", [])} & ABOUT_VALUES
    assert bool(problems(document)) == bool(refused), problems(document)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_the_corpus(name: str, tmp_path: Path) -> None:
    """Each pair of each case, as if it stood in a file of its own."""
    this = case(name, tmp_path)
    sources = Sources(parse_argv(this.argv), this.environ, surroundings(tmp_path), FileReader(str(tmp_path)))
    settings = read(sources)
    for entry in settings.entries:
        option = BY_NAME.get(entry.key)
        if option is None or option.role != "setting" or entry.value is None:
            continue
        if [other.origin for other in settings.entries].count(entry.origin) > 1:
            continue
        about = {finding.code for finding in settings.findings if finding.origin == entry.origin}
        found = problems({"uwsgi": {entry.key: entry.value}})
        if about & ABOUT_VALUES and "$(" not in entry.value and "%(" not in entry.value:
            assert found, entry
        elif not about & ABOUT_VALUES and "bad-value" not in about and "number-range" not in about:
            assert not found, entry


@pytest.mark.parametrize(
    "document",
    [
        {"uwsgi": {"processes": "many"}},
        {"uwsgi": {"processes": -1}},
        {"uwsgi": {"processes": [1, 2]}},
        {"uwsgi": {"master": "perhaps"}},
        {"uwsgi": {"protocol": "gopher"}},
        {"uwsgi": {"static-map": "/static"}},
        {"uwsgi": {"chmod-socket": "rw"}},
        {"tool": {"penstock": {"threads": "a few"}}},
        {"threads": {}},
        [],
    ],
)
def test_what_is_wrong_is_seen(document: Any) -> None:
    assert problems(document)


@pytest.mark.parametrize(
    "document",
    [
        {"uwsgi": {"processes": "auto", "http": [":80", ":81"], "work": 20, "harakiri": "5m"}},
        {"uwsgi": {"workers": "%k", "listen": "$(BACKLOG)", "master": True}, "dev": {"threads": "not looked at"}},
        {"uwsgi": [{"if-env": "A", "threads": 2}, {"endif": None}]},
        {"tool": {"penstock": {"env": {"A": "1", "B": 2}, "static-map": {"/static": "/srv"}}}, "project": {}},
        {"processes": 2, "chmod-socket": "660", "env": ["A=1"]},
    ],
)
def test_what_is_right_is_valid(document: Any) -> None:
    assert not problems(document)
