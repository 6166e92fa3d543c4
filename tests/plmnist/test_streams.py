from __future__ import annotations

import hashlib

import numpy as np
import pytest

from plmnist.streams import fill_mask, mask_scale, pack_mask, permutation, stream, uniform


def test_streams_are_what_they_were():
    # The numbers of every published study depend on these.
    raw = stream(7, "order", epoch=3).random_raw(4)
    assert hashlib.sha256(raw.astype("<u8").tobytes()).hexdigest()[:16] == "6b136998314f678d"
    assert permutation(stream(7, "order", epoch=3), 8).tolist() == [2, 1, 7, 5, 0, 4, 3, 6]
    assert uniform(stream(7, "init"), (2,), 0.5).tolist() == [-0.4504814147949219, -0.47779470682144165]
    mask = np.empty((2, 3), np.float32)
    fill_mask(stream(7, "dropout", epoch=1), 0.5, mask)
    assert mask.tolist() == [[2.0, 2.0, 0.0], [2.0, 0.0, 0.0]]


def test_streams_differ_by_seed_purpose_and_epoch():
    keys = [
        (1, "split", 0),
        (2, "split", 0),
        (1, "init", 0),
        (1, "split", 1),
        (2**32 + 1, "split", 0),
        (2**64 - 1, "split", 0),
    ]
    drawn = {tuple(stream(seed, purpose, epoch=epoch).random_raw(4).tolist()) for seed, purpose, epoch in keys}
    assert len(drawn) == len(keys)


def test_permutation_contains_each_number_once():
    assert np.array_equal(np.sort(permutation(stream(1, "order"), 1000)), np.arange(1000))


def test_uniform_fills_its_range():
    values = uniform(stream(1, "init"), (100, 1000), 0.25)
    assert values.dtype == np.float32
    assert values.min() >= -0.25
    assert values.max() < 0.25
    assert abs(values.mean()) < 5 * 0.25 / np.sqrt(3 * values.size)
    assert values.std() == pytest.approx(0.25 / np.sqrt(3), rel=0.01)


@pytest.mark.parametrize("drop_prob", [0.1, 0.5, 0.9, 0.99999])
def test_mask_drops_the_right_share_and_keeps_the_expectation(drop_prob):
    mask = np.empty((500, 1001), np.float32)
    fill_mask(stream(1, "dropout"), drop_prob, mask)
    values = np.unique(mask)
    assert len(values) <= 2
    assert values[0] == 0
    share = np.mean(mask == 0)
    assert abs(share - drop_prob) < 5 * np.sqrt(drop_prob * (1 - drop_prob) / mask.size) + 2.0**-16
    if len(values) == 2:
        kept = 1 - round(drop_prob * 65536) / 65536 or 1 / 65536
        assert values[1] == np.float32(1 / kept)


def test_mask_does_not_depend_on_the_pieces_it_is_drawn_in(monkeypatch):
    whole, pieces = np.empty((300, 7), np.float32), np.empty((300, 7), np.float32)
    fill_mask(stream(1, "dropout"), 0.3, whole)
    monkeypatch.setattr("plmnist.streams._MASK_PIECE", 64)
    fill_mask(stream(1, "dropout"), 0.3, pieces)
    assert np.array_equal(whole, pieces)


@pytest.mark.parametrize("shape", [(300, 7), (41, 64), (3, 1)])
def test_packed_mask_is_the_mask_at_one_bit_an_element(monkeypatch, shape):
    monkeypatch.setattr("plmnist.streams._PACKED_PIECE", 64)
    for drop_prob in (0.1, 0.5):
        mask = np.empty(shape, np.float32)
        fill_mask(stream(1, "dropout"), drop_prob, mask)
        packed = pack_mask(stream(1, "dropout"), drop_prob, shape)
        assert packed.shape == (shape[0], -(-shape[1] // 8))
        kept = np.unpackbits(packed, axis=1, count=shape[1], bitorder="little")
        assert np.array_equal(kept * mask_scale(drop_prob), mask)
