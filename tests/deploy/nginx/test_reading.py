"""nginx's files are read as nginx reads them, and what can not be read is told with file and line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.deploy.nginx.reading import Configuration, Directive, read
from tests.test_imports import imported_by


def write(folder: Path, text: str, name: str = "nginx.conf") -> str:
    """Write a file of a configuration; its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def lines(configuration: Configuration) -> list[str]:
    """Every directive with its place, in order."""

    def of(directive: Directive) -> list[str]:
        found = []
        for each in directive.block or ():
            found.append(f"{each.origin.name.rpartition('/')[2]}:{each.origin.line} {each}")
            found += of(each)
        return found

    return of(configuration.main)


def test_includes_stand_in_their_place_with_their_own_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "user www;\nhttp {\n  include sites/*.conf;\n  server_tokens off; include one;\n}\n")
    write(tmp_path, "server {\n  listen 80;\n}\n", "sites/b.conf")
    write(tmp_path, "# nothing\n\nserver_names_hash_bucket_size 64;", "sites/a.conf")
    write(tmp_path, 'charset "utf-8";', "one")
    found = read(path)
    assert lines(found) == [
        "nginx.conf:1 user www",
        "nginx.conf:2 http",
        "a.conf:3 server_names_hash_bucket_size 64",
        "b.conf:1 server",
        "b.conf:2 listen 80",
        "nginx.conf:4 server_tokens off",
        "one:1 charset utf-8",
    ]
    assert found.is_readable
    assert [name.rpartition("/")[2] for name in found.files] == ["nginx.conf", "a.conf", "b.conf", "one"]


def test_a_file_that_is_included_twice_stands_in_both_places(tmp_path: Path) -> None:
    path = write(tmp_path, "http { server { include p; } server { include p; } }")
    write(tmp_path, "listen 81;", "p")
    assert lines(read(path)).count("p:1 listen 81") == 2


def test_paths_count_from_another_root(tmp_path: Path) -> None:
    write(tmp_path, "http { include /etc/nginx/conf.d/*.conf; include rest; }", "etc/nginx/nginx.conf")
    write(tmp_path, "server { }", "etc/nginx/conf.d/a.conf")
    write(tmp_path, "gzip on;", "etc/nginx/rest")
    found = read("/etc/nginx/nginx.conf", root=str(tmp_path))
    assert found.files == ("/etc/nginx/nginx.conf", "/etc/nginx/conf.d/a.conf", "/etc/nginx/rest")
    assert lines(found) == ["nginx.conf:1 http", "a.conf:1 server", "rest:1 gzip on"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("http {\n  server {\n  }\n", 3, "unexpected end of file"),
        ("http { }\n}\n", 2, 'unexpected "}"'),
        ("user www\n", 1, "a ; or } is missing"),
        ("http {\n  include missing.conf;\n}", 2, "missing.conf can not be read: No such file or directory"),
        ("\ninclude a b;\n", 2, "include takes one file name or pattern"),
        ("http {\n include ./nginx.conf;\n}", 2, "includes itself"),
        ("http {\n include .;\n}", 2, "can not be read: Is a directory"),
        ("a {" * 5000 + "}" * 5000, None, "deep"),
    ],
)
def test_what_can_not_be_read_is_told_with_its_place(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path = write(tmp_path, text)
    found = read(path)
    assert not found.is_readable
    assert message in str(found.problems[0])
    if line is not None:
        assert found.problems[0].origin.line == line
    assert all(str(problem.origin).startswith(f"{tmp_path}/") for problem in found.problems)


def test_what_is_whole_is_read_beside_what_is_not(tmp_path: Path) -> None:
    path = write(tmp_path, "http { include sites/*; gzip on; }")
    write(tmp_path, "server { listen 80;", "sites/a")
    write(tmp_path, "server { listen 81; }", "sites/b")
    found = read(path)
    assert [str(problem) for problem in found.problems] == [
        f'{tmp_path}/sites/a:1: unexpected end of file, expecting "}}"'
    ]
    assert "b:1 listen 81" in lines(found) and "nginx.conf:1 gzip on" in lines(found)


def test_files_that_include_themselves_or_each_other_twice_come_to_an_end(tmp_path: Path) -> None:
    path = write(tmp_path, "include f0;")
    for number in range(40):
        write(tmp_path, f"include f{number + 1}; include f{number + 1};", f"f{number}")
    write(tmp_path, "user www;", "f40")
    assert "more than" in str(read(path).problems[0])
    path = write(tmp_path, f"include {tmp_path}/loop;", "self.conf")
    write(tmp_path, f"include {tmp_path}/loop;", "loop")
    assert [str(problem) for problem in read(path).problems] == [f"{tmp_path}/loop:1: {tmp_path}/loop includes itself"]


def test_a_file_that_is_missing_or_no_file_is_a_problem(tmp_path: Path) -> None:
    missing = read(str(tmp_path / "nginx.conf"))
    assert "No such file" in str(missing.problems[0]) and missing.main.block == ()
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in str(read(str(tmp_path / "pipe")).problems[0])


def test_what_stands_in_quotes_is_one_word_and_comments_are_none(tmp_path: Path) -> None:
    text = """log_format x '{"a": "$uri"; } #' "b c"; # ; {\n#server { }\nif ($a ~ "^/x{2}") { return 404; }"""
    assert lines(read(write(tmp_path, text))) == [
        'nginx.conf:1 log_format x {"a": "$uri"; } # b c',
        "nginx.conf:3 if $a ~ ^/x{2}",
        "nginx.conf:3 return 404",
    ]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        (r'"a\\b"', r"a\b"),
        (r'"a\"b"', 'a"b'),
        (r"'a\"b'", 'a"b'),
        (r'"\\\""', '\\"'),
        (r"a\.b", r"a\.b"),
        (r'"\t\n\d"', "\t\n\\d"),
        (r"a\ b", "a\\ b"),
    ],
)
def test_backslashes_are_read_as_nginx_does(tmp_path: Path, written: str, read_as: str) -> None:
    (directive,) = read(write(tmp_path, f"a {written};")).main.block or ()
    assert directive.args == (read_as,)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("ab {};\"'\\#\n$*/~^=é\0")), st.binary(max_size=20))
def test_no_file_breaks_it(tmp_path: Path, text: str, more: bytes) -> None:
    path = tmp_path / "nginx.conf"
    path.write_bytes(b"http { include a; " + text.encode() + more)
    for problem in read(str(path)).problems:
        assert str(problem).startswith(f"{tmp_path}/") and problem.message


@pytest.mark.skipif(shutil.which("nginx") is None, reason="compares with an installed nginx")
def test_nginx_reads_the_same_files(tmp_path: Path) -> None:
    path = write(tmp_path, f"pid {tmp_path}/p; events {{}} http {{ include sites/*; include /etc/nginx/mime.types; }}")
    write(tmp_path, "server { listen 127.0.0.1:18080; include deep/[ab].conf; }", "sites/x")
    write(tmp_path, "# b\n", "deep/b.conf")
    write(tmp_path, "# c\n", "deep/c.conf")
    told = subprocess.run(
        ["nginx", "-T", "-p", str(tmp_path), "-c", path, "-e", str(tmp_path / "log")], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    dumped = [
        line.split()[-1].rstrip(":") for line in told.stdout.splitlines() if line.startswith("# configuration file")
    ]
    assert list(read(path).files) == dumped


def test_crossplane_is_imported_when_a_file_is_read_and_not_before() -> None:
    assert "crossplane" not in imported_by("penstock.deploy.nginx.servers, penstock.cli")
