"""What goes over an upgrade as JSON comes out of it the same; what is of another shape is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.master import handover
from penstock.master.long_requests import LongRequests
from penstock.master.luggage import HandoverError
from penstock.master.packing import Before, ended_from
from penstock.master.touch import TouchWatch
from penstock.observe.scoreboard import ThreadRow
from penstock.observe.stats import Ended
from penstock.values import asdict


def over(value: Any) -> Any:
    """Carry something as an upgrade does."""
    return json.loads(json.dumps(value))


def test_sums_of_workers_that_are_gone() -> None:
    ended = Ended(5, 1, 900, threads=(ThreadRow(requests=3), ThreadRow(requests=2)), app_requests=(4, 1))
    assert ended_from(over(asdict(ended))) == ended


def test_requests_that_took_long() -> None:
    before, after = LongRequests(0.0), LongRequests(0.0)
    before.keep(2, "0 GET /slow\nFile x, line 1")
    after.unpack(over(before.pack()))
    assert after.of(2) == before.of(2) != ()


def test_file_that_is_touched_between_two_programs_is_noticed(short_dir: Path) -> None:
    path, gone = short_dir / "touched", short_dir / "not-there"
    path.write_text("1")
    before = TouchWatch([str(path), str(gone)])
    packed = over(before.pack())
    path.write_text("22")
    after = TouchWatch([str(path), str(gone)])
    after.unpack(packed)
    assert after.changed() == [str(path)] and after.changed() == []


@pytest.mark.parametrize("found", [{}, {"format": 0, "state": {}}, {"format": handover.FORMAT, "state": []}])
def test_state_of_another_format_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(HandoverError, match="stop and start the instance"):
        handover.state_of(found)


@pytest.mark.parametrize("state", [{}, {"links": [{}]}, {"links": [], "fleet": {}}, {"links": 3}, {"links": [3]}])
def test_state_of_another_shape_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(HandoverError, match=r"the state of Penstock 9\.0 has another shape"):
        Before.read("9.0", state)
