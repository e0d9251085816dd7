"""Numbers out of numbers: percentiles, spread, paired ratios. Pure; used by the generator and the report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` (0 to 1) of them do not exceed: one that was measured.

    Raises ValueError if there are no values.
    """
    if not values:
        raise ValueError("no values to take a percentile of")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a share of the median: the middle half lies within +- this.

    0 for fewer than two values and where the median is 0. The extremes do not count: on a shared machine one round of
    several meets somebody else's work.
    """
    middle = statistics.median(values) if values else 0.0
    if len(values) < 2 or middle == 0:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return abs((high - low) / 2 / middle)


@dataclass(frozen=True)
class Ratio:
    """How one server compares with another: the median of the rounds' ratios, and their spread."""

    value: float
    spread: float


def paired(own: Sequence[float | None], other: Sequence[float | None]) -> Ratio | None:
    """Compare two servers round by round, since both meet the same machine in a round; None without a common round.

    `None` stands for a round without a result. A round in which the other's value is 0 says nothing and is left out.
    """
    ratios = [
        mine / theirs
        for mine, theirs in zip(own, other, strict=False)
        if mine is not None and theirs  # 0 and None
    ]
    return Ratio(statistics.median(ratios), spread(ratios)) if ratios else None
