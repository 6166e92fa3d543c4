"""Random streams, each determined by a seed, a purpose and an epoch.

Splitting the data, initial weights, batch order and dropout draw from separate streams: changing how one of them is
used does not move the others, and every epoch can be reproduced without the ones before it. Everything is derived from
the raw 64-bit output of NumPy's SFC64 generator, whose stream is fixed by NumPy's compatibility policy, and not from
distribution functions, whose results may change between releases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "MASK_LEVELS",
    "fill_mask",
    "fill_uniform",
    "mask_scale",
    "pack_mask",
    "permutation",
    "stream",
    "uniform",
]

_T = TypeVar("_T", np.float32, np.bool_)

MASK_LEVELS = 65536
"""Drop probabilities are rounded to multiples of 1 / `MASK_LEVELS`."""

_MASK_PIECE = 1 << 16
_PACKED_PIECE = 1 << 18  # larger, so that threads which draw at the same time seldom need the interpreter


def stream(seed: int, purpose: str, *, epoch: int = 0) -> np.random.SFC64:
    """Return the bit generator for one purpose.

    Parameters
    ----------
    seed
        Root seed, in [0, 2**64).
    purpose
        Any text; the study uses ``split``, ``init``, ``order``, ``dropout`` and ``start``.
    epoch
        Epoch the numbers are for, counted from 1; 0 for what happens once.
    """
    digest = hashlib.sha256(purpose.encode()).digest()
    key = int.from_bytes(digest[:8], "little")
    return np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(key, epoch)))


def permutation(source: np.random.SFC64, n: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0 to `n` - 1 in random order: the order of `n` random 64-bit keys."""
    return np.argsort(source.random_raw(n))


def uniform(source: np.random.SFC64, shape: tuple[int, ...], bound: float) -> npt.NDArray[np.float32]:
    """Return float32 numbers of the given shape, uniform in [-`bound`, `bound`), on a grid of 2**24 values."""
    raw = source.random_raw(int(np.prod(shape)))
    unit = (raw >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return ((2.0 * unit - 1.0) * bound).astype(np.float32).reshape(shape)


def fill_mask(source: np.random.SFC64, drop_prob: float, out: npt.NDArray[np.float32]) -> None:
    """Fill `out` with a dropout mask: 0 where a unit is dropped, 1 / (1 - `drop_prob`) where it is kept.

    One draw of 16 bits decides each element, so `drop_prob` is rounded to a multiple of 2**-16; the scale of the kept
    units belongs to the rounded value, which keeps the expectation at exactly 1.
    """
    threshold, scale = _threshold(drop_prob), mask_scale(drop_prob)
    for bits, piece in _pieces(source, out, _MASK_PIECE):
        np.multiply(bits >= threshold, scale, out=piece)


def pack_mask(source: np.random.SFC64, drop_prob: float, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the mask that :func:`fill_mask` would make, one bit an element: 1 where a unit is kept.

    Returns
    -------
    array
        uint8, shape (rows, columns / 8 rounded up); each row is packed by itself, the first element in the lowest bit.
    """
    threshold = _threshold(drop_prob)
    kept = np.empty(shape[0] * shape[1], np.bool_)
    for bits, piece in _pieces(source, kept, _PACKED_PIECE):
        np.greater_equal(bits, threshold, out=piece)
    if shape[1] % 8 == 0:  # all rows at once take a third of the time
        return np.packbits(kept, bitorder="little").reshape(shape[0], -1)
    return np.packbits(kept.reshape(shape), axis=1, bitorder="little")


def mask_scale(drop_prob: float) -> np.float32:
    """Return the value of kept units in a mask."""
    return np.float32(MASK_LEVELS / (MASK_LEVELS - int(_threshold(drop_prob))))


def fill_uniform(source: np.random.SFC64, out: npt.NDArray[np.float32]) -> None:
    """Fill `out` with numbers uniform in (-1, 1), on a grid of 2**16 values, symmetric about 0."""
    for bits, piece in _pieces(source, out, _MASK_PIECE):
        np.multiply(bits, np.float32(2.0**-15), out=piece)
        piece -= np.float32(1 - 2.0**-16)


def _threshold(drop_prob: float) -> np.uint16:
    return np.uint16(min(round(drop_prob * MASK_LEVELS), MASK_LEVELS - 1))


def _pieces(
    source: np.random.SFC64, out: npt.NDArray[_T], length: int
) -> Iterator[tuple[npt.NDArray[np.uint16], npt.NDArray[_T]]]:
    """Yield 16 random bits for each element of a contiguous array, with the elements they are for."""
    flat = out.reshape(-1)
    assert np.shares_memory(flat, out)
    # In pieces that stay in the cache; a piece takes a whole number of 64-bit words, so their size has no influence.
    for start in range(0, flat.size, length):
        piece = flat[start : start + length]
        bits = source.random_raw(-(-piece.size // 4)).astype("<u8", copy=False).view("<u2")
        yield bits[: piece.size], piece
