"""The corpus of messages, as Python sees it: `inspect()` says of each case what its name or the file beside it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from penstock._engine import catalogue, inspect

CASES = Path(__file__).parent / "cases"
LIMITS: dict[str, int] = json.loads((CASES / "http1/limits.json").read_text())

Protocol = Literal["http", "uwsgi", "chunked", "proxy"]
KINDS: tuple[tuple[Protocol, str, str], ...] = (
    ("http", "http1", "http"),
    ("uwsgi", "uwsgi", "bin"),
    ("chunked", "chunked", "bin"),
    ("proxy", "proxy", "bin"),
)


def cases(verdict: str) -> list[Any]:
    """Every case that is valid, or invalid, as (protocol, path), named after its file."""
    found = [
        pytest.param(protocol, path, id=f"{directory}/{path.stem}")
        for protocol, directory, suffix in KINDS
        for path in sorted((CASES / directory / verdict).glob(f"*.{suffix}"))
    ]
    assert len(found) > 60, f"there are only {len(found)} {verdict} cases"
    return found


def latin1(pairs: list[tuple[bytes, bytes]]) -> list[list[str]]:
    """Pairs as the expectations have them."""
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in pairs]


@pytest.mark.parametrize(("protocol", "path"), cases("invalid"))
def test_an_invalid_case_is_refused_for_its_reason(protocol: Protocol, path: Path) -> None:
    code = path.name.split("--")[0]
    result = inspect(protocol, path.read_bytes(), LIMITS)
    assert result.get("code") == code
    assert (result["status"], result["fault"]) == tuple(catalogue()["errors"][code][:2])


@pytest.mark.parametrize(("protocol", "path"), cases("valid"))
def test_a_valid_case_means_what_is_written_beside_it(protocol: Protocol, path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    result = inspect(protocol, path.read_bytes(), LIMITS)
    assert result["step"] == "done"
    if protocol == "chunked":
        assert (result["body"].decode("latin-1"), result["used"]) == (expected["data"], expected["used"])
    elif protocol == "proxy":
        assert (result["client"], result["used"]) == (expected["client"], expected["used"])
    elif protocol == "uwsgi":
        assert latin1(result["vars"]) == expected["vars"]
        for name in ("modifier1", "modifier2", "content_length", "used"):
            assert result[name] == expected[name]
    else:
        framing = f"length:{result['length']}" if result["framing"] == "length" else result["framing"]
        assert (framing, result["used"]) == (expected["framing"], expected["head_bytes"])
        assert latin1(result["headers"]) == expected["headers"]
        for name in ("keep_alive", "expect_continue", "version"):
            assert result[name] == expected[name]
        for name in ("method", "target", "path", "query"):
            assert result[name].decode("latin-1") == expected[name]


def test_every_error_has_a_case_and_the_reverse() -> None:
    named = {path.name.split("--")[0] for path in CASES.glob("*/invalid/*")}
    assert named == set(catalogue()["errors"])
