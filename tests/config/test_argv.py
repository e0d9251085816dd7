"""The command line: what getopt_long takes, what it does not, and what is said about slips."""

from __future__ import annotations

import random

import pytest

from penstock.config.argv import Given, Positional, parse_argv
from penstock.config.findings import Finding
from penstock.options.known import known_names
from penstock.options.table import OPTIONS


def given(*words: str) -> list[tuple[str, str | None]]:
    """Keys and values; every word must have been understood."""
    found = parse_argv(words)
    assert all(isinstance(word, Given) for word in found), found
    return [(word.key, word.value) for word in found if isinstance(word, Given)]


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        (["--http", ":80"], [("http", ":80")]),
        (["--http=:80"], [("http", ":80")]),
        (["--http=a=b"], [("http", "a=b")]),
        (["--http="], [("http", "")]),
        (["--master"], [("master", None)]),
        (["--master=false"], [("master", "false")]),
        (["-M", "-p", "4"], [("master", None), ("processes", "4")]),
        (["-Mp4"], [("master", None), ("processes", "4")]),
        (["-Mp", "4"], [("master", None), ("processes", "4")]),
        (["-MTi"], [("master", None), ("enable-threads", None), ("single-interpreter", None)]),
        (["-s:3031", "-w", "a:b"], [("socket", ":3031"), ("module", "a:b")]),
        (["-H", "/venv", "-l", "5", "-z9", "-R1", "-b", "2k"],
         [("home", "/venv"), ("listen", "5"), ("socket-timeout", "9"), ("max-requests", "1"), ("buffer-size", "2k")]),
        (["-d", "x.log", "-t", "3", "-L"], [("daemonize", "x.log"), ("harakiri", "3"), ("disable-logging", None)]),
        (["-C", "-T"], [("chmod-socket", None), ("enable-threads", None)]),
        (["-C660"], [("chmod-socket", "660")]),
        (["-C", "660"], [("chmod-socket", "660")]),
        (["--chmod-socket", "660"], [("chmod-socket", "660")]),
        (["--chmod-socket=660"], [("chmod-socket", "660")]),
        (["--chmod-socket", "-M"], [("chmod-socket", None), ("master", None)]),
        (["--http-keepalive", "--master"], [("http-keepalive", None), ("master", None)]),
        (["--http-keepalive", "30"], [("http-keepalive", "30")]),
        (["--virtua", "/a"], [("virtualenv", "/a")]),
        (["--proce", "4"], [("processes", "4")]),
        (["--workers", "4"], [("workers", "4")]),
        (["--legion-freq", "2"], [("legion-freq", "2")]),
        (["--http", "-5"], [("http", "-5")]),
        (["[decoration]"], []),
    ],
)  # fmt: skip
def test_understood(words: list[str], pairs: list[tuple[str, str | None]]) -> None:
    assert given(*words) == pairs


def test_files_stand_anywhere_and_after_two_dashes_everything_is_one() -> None:
    found = parse_argv(["a.ini", "--master", "b.ini", "--", "--http"])
    assert [word.word for word in found if isinstance(word, Positional)] == ["a.ini", "b.ini", "--http"]


def test_the_next_word_of_an_option_without_need_of_one_stays_a_file() -> None:
    found = parse_argv(["--chmod-socket", "app.ini"])
    assert isinstance(found[0], Given) and found[0].value is None
    assert isinstance(found[1], Positional) and found[1].word == "app.ini"


@pytest.mark.parametrize(
    ("words", "code", "piece"),
    [
        (["--workrs", "4"], "unknown-flag", "did you mean --workers?"),
        (["--workrs=4"], "unknown-flag", "did you mean --workers?"),
        (["--zzzzzz"], "unknown-flag", "penstock --help"),
        (["--=x"], "unknown-flag", "penstock --help"),
        (["-E"], "unknown-flag", "in -E"),
        (["-MEp4"], "unknown-flag", "in -MEp4"),
        (["--proc", "x"], "ambiguous-flag", "--processes, --procname"),
        (["--http"], "missing-value", "write --http ADDRESS"),
        (["--http", "--module=app"], "missing-value", "write --http ADDRESS"),
        (["-p"], "missing-value", "-p N|auto"),
        (["--reload"], "missing-value", "write --reload PIDFILE"),
        (["--legion-freq"], "missing-value", "--legion-freq VALUE"),
        (["-http", ":8001"], "unknown-flag", "two dashes; write --http"),
        (["-http=:8001"], "unknown-flag", "write --http=:8001"),
        (["-master"], "unknown-flag", "write --master"),
    ],
)
def test_not_understood(words: list[str], code: str, piece: str) -> None:
    findings = [word for word in parse_argv(words) if isinstance(word, Finding)]
    assert [finding.code for finding in findings] == [code]
    assert piece in str(findings[0])
    assert not any(isinstance(word, Positional) for word in parse_argv(words))


def test_every_name_of_uwsgi_is_understood_with_its_arity() -> None:
    for known in known_names().values():
        word = f"--{known.name}"
        value = None if known.argument == "none" else "9"
        assert given(*([word] if value is None else [f"{word}={value}"])) == [(known.name, value)]


def test_every_option_is_understood() -> None:
    for option in OPTIONS:
        for name in option.names:
            assert given(f"--{name}=1") == [(name, "1")]
        if option.short and option.argument == "required":
            assert given(f"-{option.short}", "1") == [(option.name, "1")]


def test_no_words_make_it_fail() -> None:
    pieces = [
        "-",
        "--",
        "=",
        "http",
        "p",
        "4",
        "M",
        "",
        " ",
        "[",
        "ü",
        "\udcff",
        "--http",
        "-C",
        "660",
        "master",
        "x.ini",
    ]
    chance = random.Random(1)
    for _ in range(3000):
        words = ["".join(chance.choices(pieces, k=chance.randint(0, 4))) for _ in range(chance.randint(0, 5))]
        for word in parse_argv(words):
            assert isinstance(word, Given | Positional | Finding)
