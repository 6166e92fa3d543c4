"""Which of the test images an attack is made on."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plmnist.sample import Sample


def test_every_tenth_image_of_ten_thousand_is_a_sample_of_a_thousand():
    assert list(Sample.spread(1000, 10_000).rows()) == list(range(0, 10_000, 10))


@given(st.integers(1, 400), st.integers(1, 400))
def test_a_spread_sample_has_images_as_far_from_each_other_but_for_one_place(n, of):
    sample = Sample.spread(n, of)
    rows = list(sample.rows())
    assert len(rows) == len(set(rows)) == sample.n == min(n, of)
    assert rows == sorted(rows)
    assert 0 <= rows[0] <= rows[-1] < of
    gaps = {b - a for a, b in pairwise([*rows, of])}
    assert max(gaps) - min(gaps) <= 1
    assert Sample.of_record({"n_test": sample.n, **sample.entry()}) == sample


def test_all_images_are_no_subset():
    for n in (None, 359, 1000):
        assert Sample.spread(n, 359).entry() == {}
        assert str(Sample.spread(n, 359)) == "all 359 test images"


@pytest.mark.parametrize(
    "subset",
    [
        {"spread": 99, "of": 359},
        {"spread": 100, "of": 50},
        {"spread": 100},
        {"last": 100, "of": 359},
        {"spread": "100", "of": 359},
        {"first": 100, "spread": 100, "of": 359},
        [100],
        None,
        7,
    ],
)
def test_a_subset_that_says_nothing_is_refused(subset):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Sample.of_record({"n_test": 100, "subset": subset})
