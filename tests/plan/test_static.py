"""What the options of static files become."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.plan.machine import Machine
from penstock.plan.types import ExpiryPlan, StaticMapPlan, StaticPlan
from tests.plan.test_resolve import plan, refusal

MAP = ("--static-map", "/s=/")


def static(*argv: str, cwd: Path | str = "/") -> StaticPlan:
    return plan(*argv, cwd=cwd).engine.static


def test_places_are_tried_in_uwsgis_order(tmp_path: Path) -> None:
    made = static(
        "--static-map2", "/b=two/", "--static-map", "/a/=one", "--check-static", "all", "--check-static", "more",
        cwd=tmp_path,
    )  # fmt: skip
    assert made.maps == (
        StaticMapPlan("/", f"{tmp_path}/all", keeps_prefix=True),
        StaticMapPlan("/", f"{tmp_path}/more", keeps_prefix=True),
        StaticMapPlan("/a", f"{tmp_path}/one"),
        StaticMapPlan("/b", f"{tmp_path}/two", keeps_prefix=True),
    )


def test_nothing_is_read_where_nothing_is_served() -> None:
    assert static() == StaticPlan()
    assert static("--static-safe", "/a") == StaticPlan()


def test_how_files_are_served() -> None:
    made = static(
        *MAP, "--static-safe", "/a", "--static-index", "index.html", "--static-index", "/x/i.htm", "--static-skip-ext",
        ".py", "--static-gzip", r"\.svg$", "--static-gzip-prefix", "js", "--static-gzip-suffix", ".css",
        "--static-gzip-all", "--fileserve-mode", "nginx", "--check-static-docroot",
    )  # fmt: skip
    assert made.safe == ("/a",)
    assert made.index == ("index.html", "x/i.htm")
    assert made.skipped_suffixes == (".py",)
    assert (made.compressed_patterns, made.compressed_prefixes) == ((r"\.svg$",), ("/js",))
    assert (made.compressed_suffixes, made.compressed_all) == ((".css",), True)
    assert (made.serve_mode, made.docroot) == ("x-accel-redirect", True)


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("static-expires", r"\.css$ 60", ExpiryPlan("name", r"\.css$", 60, from_change=False)),
        ("static-expires", "  /data/static/*   2592000 ", ExpiryPlan("name", "/data/static/*", 2592000, False)),
        ("static-expires-mtime", "/* 60", ExpiryPlan("name", "/*", 60, from_change=True)),
        ("static-expires-uri", "^/a 0", ExpiryPlan("uri", "^/a", 0, from_change=False)),
        ("static-expires-uri-mtime", "^/a 1", ExpiryPlan("uri", "^/a", 1, from_change=True)),
        ("static-expires-path-info", "^/a 2", ExpiryPlan("path-info", "^/a", 2, from_change=False)),
        ("static-expires-path-info-mtime", "^/a 3", ExpiryPlan("path-info", "^/a", 3, from_change=True)),
        ("static-expires-type", "text/css=4", ExpiryPlan("type", "text/css", 4, from_change=False)),
        ("static-expires-type", "text/css 4", ExpiryPlan("type", "text/css", 4, from_change=False)),
        ("static-expires-type-mtime", "text/css=5", ExpiryPlan("type", "text/css", 5, from_change=True)),
    ],
)
def test_expiry(option: str, value: str, rule: ExpiryPlan) -> None:
    assert static(*MAP, f"--{option}", value).expires == (rule,)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("static-expires", "60", "PATTERN SECONDS"),
        ("static-expires", r"\.css$", "PATTERN SECONDS"),
        ("static-expires", r"\.css$ -1", "PATTERN SECONDS"),
        ("static-expires", r"\.css$ 1d", "PATTERN SECONDS"),
        ("static-expires", r"\.css$ 99999999999999999999999999", "ten years"),
        ("static-expires-type", "text/css=", "TYPE=SECONDS"),
        ("static-expires-type", "=5", "TYPE=SECONDS"),
        ("static-index", "../x", "index.html"),
        ("static-index", "/", "index.html"),
        ("static-skip-ext", "", "empty"),
        ("file-serve-mode", "sendfile", "x-accel-redirect"),
        ("static-map2", "/a", "PREFIX=PATH"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_read(option: str, value: str, words: str) -> None:
    from penstock.config.findings import ConfigError

    with pytest.raises(ConfigError, match=words):
        static(*MAP, f"--{option}={value}")


@pytest.mark.parametrize("option", ["static-gzip", "static-expires", "static-expires-uri"])
def test_a_bad_pattern_is_an_error_with_its_place(option: str, tmp_path: Path) -> None:
    file = tmp_path / "a.ini"
    value = "(" if option == "static-gzip" else "( 60"
    file.write_text(f"[uwsgi]\nstatic-map = /s=/\n{option} = {value}\n")
    error = str(refusal("--http", ":0", "--module", "a", "--ini", str(file)))
    assert f"{file}:3" in error and "no regular expression" in error


def test_types_of_files_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "types").write_text("# comment\ntext/x-special  spc css\n\nbroken\n")
    table = dict(line.split(" ") for line in Machine.here().mime_types([str(tmp_path / "types")]).splitlines())
    assert (table["spc"], table["css"], table["html"]) == ("text/x-special", "text/x-special", "text/html")


def test_a_file_of_types_that_is_not_there_is_said() -> None:
    assert any("mimefile = /none" in note for note in plan(*MAP, "--mimefile", "/none").notes)


def test_a_forgotten_map_is_said() -> None:
    assert any("static-gzip-all is about static files" in note for note in plan("--static-gzip-all").notes)
