"""Percentiles, spread and paired ratios, on numbers whose answers are known."""

from __future__ import annotations

import pytest

from benchmarks.figures import paired, percentile, spread


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_a_measured_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_percentile_of_few_values_does_not_lie_between_them() -> None:
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 200.0], 0.5) == 1.0
    assert percentile([1.0, 200.0], 0.99) == 200.0


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_spread_is_half_the_distance_between_the_quartiles() -> None:
    assert spread([90, 95, 100, 105, 110]) == pytest.approx(0.05)


def test_one_disturbed_round_does_not_widen_the_spread() -> None:
    assert spread([100, 100, 100, 100, 1000]) == 0


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0, 0.0]])
def test_there_is_no_spread_of_one_value_or_of_nothing(values: list[float]) -> None:
    assert spread(values) == 0


def test_a_ratio_is_taken_round_by_round() -> None:
    # The machine became three times slower after the first round, for both.
    found = paired([10.0, 30.0, 33.0], [20.0, 60.0, 60.0])
    assert found is not None
    assert found.value == 0.5


def test_rounds_that_one_of_them_failed_are_left_out() -> None:
    found = paired([10.0, None, 30.0, 40.0], [5.0, 5.0, None, 10.0])
    assert found is not None
    assert found.value == 3.0


def test_there_is_no_ratio_without_a_common_round() -> None:
    assert paired([None, 1.0], [1.0, None]) is None
    assert paired([1.0], [0.0]) is None
