"""What a handful of seeds, and one test set, say about an accuracy: two kinds of error that are never mixed.

Over seeds
    A combination of parameters is trained once for each seed. The standard deviation of those values says how far apart
    seeds are, the t interval where the mean of many more would lie. The test set is the same for all of them.
Of the test set
    One network classifies `correct` of `n` images. Wilson's interval says which share of all images of that kind this
    one network may classify correctly, if the test set was drawn from them at random. The seed is fixed.

All functions are pure. Intervals are two-sided, at a level of 95 %, each for itself: where many are looked at, one in
twenty misses.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["LEVEL", "Interval", "OverSeeds", "over_seeds", "paired_difference", "t_quantile", "wilson"]

LEVEL = 0.95

ROUNDING = 1e-12


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length."""
        return (self.high - self.low) / 2

    def __contains__(self, value: object) -> bool:
        """Say whether a number lies within."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class OverSeeds:
    """The values of one quantity over seeds.

    Attributes
    ----------
    values
        Seed -> value, sorted by seed; at least one.
    """

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values.values())

    @property
    def sd(self) -> float | None:
        """Standard deviation with n - 1; None for one seed."""
        return statistics.stdev(self.values.values()) if self.n > 1 else None

    @property
    def interval(self) -> Interval | None:
        """Student's t interval for the mean of infinitely many seeds; None for one seed, or seeds of one value.

        Shares are steps of one image, so a few seeds may agree by chance; a standard deviation of 0 would then pass for
        certainty.

        With few seeds it is wide, as it should be: its half width is 8.98 standard deviations for two seeds, 2.48 for
        three, 1.24 for five. It is not cut off at 0 and 1.
        """
        if self.sd is None or self.sd < ROUNDING:
            return None
        half = t_quantile(self.n - 1) * self.sd / math.sqrt(self.n)
        return Interval(self.mean - half, self.mean + half)


def over_seeds(values: Mapping[int, float]) -> OverSeeds:
    """Sum up the values of one quantity, given by seed.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not values:
        raise ValueError("statistics over seeds need at least one seed")
    return OverSeeds(dict(sorted(values.items())))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> OverSeeds | None:
    """Sum up the differences `b` - `a` over the seeds that both have; None if they share none.

    A seed fixes the split into training and validation part, the order of the images and, for networks of equal shape,
    the initial weights, so the difference within a seed varies less than the difference of two means.
    """
    shared = a.keys() & b.keys()
    return over_seeds({seed: b[seed] - a[seed] for seed in shared}) if shared else None


def wilson(correct: int, n: int) -> Interval:
    """Return Wilson's score interval for a share (Wilson 1927, without continuity correction).

    Parameters
    ----------
    correct, n
        Successes and trials, ``0 <= correct <= n`` and ``n >= 1``.

    Raises
    ------
    ValueError
        If the counts are impossible.
    """
    from scipy.special import ndtri

    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"{correct} of {n} is not a share")
    z2 = float(ndtri((1 + LEVEL) / 2)) ** 2
    middle = (correct + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (correct * (n - correct) / n + z2 / 4)) / (n + z2)
    # Exactly 0 and 1 at the ends, where rounding would leave a trace.
    return Interval(0.0 if correct == 0 else middle - half, 1.0 if correct == n else middle + half)


def t_quantile(degrees_of_freedom: int) -> float:
    """Return the number of standard errors that a 95 % interval reaches to each side."""
    # scipy.stats gives the same and takes half a second to import.
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + LEVEL) / 2))
