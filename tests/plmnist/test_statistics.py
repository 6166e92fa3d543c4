from __future__ import annotations

import math
import random
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # the package uses scipy.special only

from plmnist.statistics import over_seeds, paired_difference, t_quantile, wilson

rates = st.floats(0, 1)
by_seed = st.dictionaries(st.integers(0, 50), rates, min_size=1, max_size=8)


# Tables of Student's distribution, two-sided 95 %.
@pytest.mark.parametrize(
    ("degrees_of_freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_t_quantiles_are_those_of_the_tables(degrees_of_freedom, quantile):
    assert t_quantile(degrees_of_freedom) == pytest.approx(quantile, abs=5e-4)


@pytest.mark.parametrize(("n", "in_sd"), [(2, 8.98), (3, 2.48), (5, 1.24), (10, 0.72)])
def test_the_half_width_in_standard_deviations_is_that_of_the_textbook(n, in_sd):
    summary = over_seeds({seed: seed**1.5 for seed in range(n)})
    assert summary.interval.half_width / summary.sd == pytest.approx(in_sd, abs=5e-3)


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 3, 7])
def test_the_quantile_cuts_off_one_fortieth_of_the_density(degrees_of_freedom):
    """Integrate the density of Student's distribution from 0 by Simpson's rule, without scipy."""
    v, end, steps = degrees_of_freedom, t_quantile(degrees_of_freedom), 20_000
    scale = math.gamma((v + 1) / 2) / (math.sqrt(v * math.pi) * math.gamma(v / 2))
    heights = [scale * (1 + (end * i / steps) ** 2 / v) ** (-(v + 1) / 2) for i in range(steps + 1)]
    area = end / steps / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2]))
    assert area == pytest.approx(0.475, abs=1e-9)


@given(st.lists(st.tuples(rates, rates), min_size=2, max_size=9, unique_by=lambda pair: round(pair[1] - pair[0], 6)))
def test_intervals_are_those_of_scipy(pairs):
    a, b = ({seed: pair[i] for seed, pair in enumerate(pairs)} for i in (0, 1))
    half_width = stats.t.ppf(0.975, len(b) - 1) * stats.sem(list(b.values()))
    interval = over_seeds(b).interval
    assert (interval.half_width if interval else 0.0) == pytest.approx(half_width, abs=1e-9)
    paired = stats.ttest_rel(list(b.values()), list(a.values())).confidence_interval()
    difference = paired_difference(a, b).interval
    assert (difference.low, difference.high) == pytest.approx((paired.low, paired.high), abs=1e-9)


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_that_of_scipy(counts):
    theirs = stats.binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert tuple(wilson(*counts)) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_closed_form_of_two_seeds():
    summary = over_seeds({1: 0.7, 2: 0.9})
    assert (summary.n, summary.mean, summary.sd) == (2, pytest.approx(0.8), pytest.approx(0.2 / math.sqrt(2)))
    # tan(0.475 pi) is the quantile of Cauchy's distribution, which is Student's with one degree of freedom.
    assert summary.interval.half_width == pytest.approx(math.tan(0.475 * math.pi) * 0.1)


def test_one_seed_has_a_mean_and_no_spread():
    summary = over_seeds({4: 0.9})
    assert (summary.mean, summary.sd, summary.interval) == (0.9, None, None)


def test_seeds_of_one_value_give_no_interval():
    """Neither where they are the same number, nor where they differ in how it was rounded."""
    assert over_seeds({1: 0.1, 2: 0.1, 3: 0.1}).interval is None
    assert paired_difference({1: 0.2, 2: 0.0}, {1: 0.3, 2: 0.1}).interval is None
    assert over_seeds({1: 3 / 10_000, 2: 2 / 10_000}).interval is not None


def test_no_seed_is_an_error():
    with pytest.raises(ValueError, match="at least one seed"):
        over_seeds({})


@given(by_seed)
def test_mean_and_deviation_agree_with_sums_of_squares(values):
    summary = over_seeds(values)
    n, total = len(values), sum(values.values())
    assert summary.mean == pytest.approx(total / n)
    assert list(summary.values) == sorted(values)
    if n > 1:
        squares = sum((value - total / n) ** 2 for value in values.values())
        assert summary.sd == pytest.approx(math.sqrt(squares / (n - 1)), abs=1e-12)
        assert (summary.interval is None) == (summary.sd < 1e-12)
        assert summary.interval is None or summary.mean in summary.interval


def test_the_interval_covers_the_truth_in_nineteen_cases_of_twenty():
    draw = random.Random(1)
    trials = 4000
    samples = ({seed: draw.gauss(5.0, 2.0) for seed in range(3)} for _ in range(trials))
    hits = sum(5.0 in over_seeds(sample).interval for sample in samples)
    assert hits / trials == pytest.approx(0.95, abs=0.012)


# Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score method without continuity correction).
@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(correct, n, low, high):
    interval = wilson(correct, n)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_ends_are_where_the_score_test_gives_way(counts):
    """The ends are the shares p for which (correct/n - p)^2 is z^2 p (1 - p) / n."""
    correct, n = counts
    z = standard.NormalDist().inv_cdf(0.975)
    interval = wilson(correct, n)
    for p in interval:
        assert (correct / n - p) ** 2 == pytest.approx(z**2 * p * (1 - p) / n, rel=1e-6, abs=1e-12)
    assert 0 <= interval.low <= correct / n <= interval.high <= 1


@pytest.mark.parametrize(("share", "half_width"), [(0.98, 0.0027), (0.92, 0.0053), (0.3, 0.0090)])
def test_ten_thousand_images_tell_accuracies_apart_by_about_half_a_percent(share, half_width):
    assert wilson(round(10_000 * share), 10_000).half_width == pytest.approx(half_width, abs=1e-4)


@pytest.mark.parametrize(("correct", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(correct, n):
    with pytest.raises(ValueError, match=f"{correct} of {n}"):
        wilson(correct, n)


def test_a_paired_difference_is_that_of_the_shared_seeds_only():
    found = paired_difference({1: 0.5, 2: 0.6, 3: 0.9}, {2: 0.7, 3: 0.8, 9: 0.1})
    assert found.values == {2: pytest.approx(0.1), 3: pytest.approx(-0.1)}
    assert found.mean == pytest.approx(0.0)
    assert found.sd == pytest.approx(0.1 * math.sqrt(2))


def test_without_a_shared_seed_there_is_no_difference():
    assert paired_difference({1: 0.5}, {2: 0.6}) is None


@given(by_seed, rates)
def test_a_constant_shift_has_no_spread(values, shift):
    found = paired_difference(values, {seed: value + shift for seed, value in values.items()})
    assert found.mean == pytest.approx(shift)
    assert found.sd is None or found.sd == pytest.approx(0, abs=1e-12)


@given(by_seed, by_seed)
def test_the_difference_changes_sign_with_the_order(a, b):
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert (forth is None) == (back is None)
    if forth is not None:
        assert forth.mean == pytest.approx(-back.mean)
        assert forth.n == len(set(a) & set(b))
        if forth.interval is not None:
            assert forth.interval.low == pytest.approx(-back.interval.high, abs=1e-12)
