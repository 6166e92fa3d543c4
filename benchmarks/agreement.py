"""When a published number agrees with ours: it lies where the same training with other random numbers would put it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from plmnist.statistics import Interval, t_quantile

HEAD = ["published", "ours, mean", "sd over seeds", "difference", "95 % interval for the published"]


def expected(ours: Sequence[float], *, published_n: int = 1) -> Interval:
    """Return where the mean of `published_n` other seeds lies in 95 of 100 cases, from the values of some seeds."""
    mean, sd = statistics.mean(ours), statistics.stdev(ours)
    reach = t_quantile(len(ours) - 1) * sd * (1 / len(ours) + 1 / published_n) ** 0.5
    return Interval(mean - reach, mean + reach)


def compare(published: float, ours: Sequence[float], *, published_n: int = 1) -> list[str]:
    """Return the cells of :data:`HEAD`; one seed has neither a deviation nor an interval."""
    mean = statistics.mean(ours)
    sd, where = "-", "one seed gives none"
    if len(ours) > 1:
        interval = expected(ours, published_n=published_n)
        verdict = "inside" if published in interval else "outside"
        sd, where = f"{statistics.stdev(ours):.4f}", f"{interval.low:.4f} to {interval.high:.4f}, {verdict}"
    return [f"{published:.4f}", f"{mean:.4f}", sd, f"{mean - published:+.4f}", where]


def mean_and_sd(values: Sequence[float]) -> str:
    """Return a mean and a standard deviation over seeds."""
    return f"{statistics.mean(values):.4f} +- {statistics.stdev(values):.4f}"
