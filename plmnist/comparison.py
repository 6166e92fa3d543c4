"""Comparison of result files that were computed on two different machines.

On the same machine equal bytes are asked for. Another processor, or other instructions of the same one, rounds
differently in the last bit, and training carries that on: a hidden unit that is just on at one place is just off at the
other. Networks then differ visibly, what is counted hardly. ``docs/provenance.md`` has the measurements that the limits
here are set by.

Each function compares two files and returns whether the difference is one that may be (None: there is no use in
comparing), and how large it is beside what is allowed, in words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plmnist.config import ATTACKS
from plmnist.results import ATTACK_FILES, ATTACK_RECORDS

__all__ = [
    "COMPARATORS",
    "Comparison",
    "compare_arrays",
    "compare_checks",
    "compare_histories",
    "compare_networks",
    "compare_records",
    "leave_derived",
]

Comparison = tuple[bool | None, str]

WEIGHT_LIMIT = 0.2
"""Of each tensor: the norm of the difference as a share of the norm. Measured: up to 0.09."""

COUNT_LIMIT = 0.005
COUNT_ALWAYS = 5
"""Of each count: a share of the images it is a count of, and so many images however few there are. Measured: up to
0.0027 of 10,000 images, and 3 of 359."""

LOSS_LIMIT = 0.1
"""Of each loss: a share of its value. Measured: up to 0.05."""

IMAGE_LIMITS = {"clean_correct": 0.02, "smallest_epsilon": 0.15, "adversarial": 0.1}
"""Of each array with an entry for every image, or pixel: the share of entries that differ. Measured: up to 0.006, 0.065
and 0.041."""

_COUNTS = ("_correct", "_given_clean", "_confusion")

_NEVER_COMPARED = ("clean_prediction", "adversarial_prediction")
"""Of ten images, one of which is a tenth already."""


def compare_networks(original: Path, again: Path) -> Comparison:
    """Compare the tensors of two networks."""
    import numpy as np
    from safetensors.numpy import load_file

    try:
        left, right = load_file(original), load_file(again)
    except Exception as error:
        return False, f"not a network: {error}"
    if {k: v.shape for k, v in left.items()} != {k: v.shape for k, v in right.items()}:
        return False, "networks of other shapes"
    largest: dict[str, tuple[float, float]] = {}
    for name, tensor in left.items():
        one, other = tensor.astype(np.float64), right[name].astype(np.float64)
        distance = float(np.linalg.norm(one - other)) / (float(np.linalg.norm(one)) or 1.0)
        _widen(largest, "relative distance of weights", distance, WEIGHT_LIMIT)
    return _judge(largest)


def compare_records(original: Path, again: Path) -> Comparison:
    """Compare two records, ``train.json`` or that of an attack: counts, losses, and all else to the letter.

    Hashes of files are left out, because those files are compared themselves. Rates follow from counts.
    """
    try:
        left, right = (json.loads(path.read_bytes()) for path in (original, again))
    except ValueError as error:
        return False, f"not JSON: {error}"
    largest: dict[str, tuple[float, float]] = {}
    for name, one, other, n in _pairs(left, right):
        if name.endswith("_sha256") or name.endswith(("_acc", "_acc_given_clean")):
            continue
        if _are_numbers(one, other) and (name.endswith(_COUNTS) or name == "n_zero_gradient"):
            _widen(largest, "images", abs(one - other), max(COUNT_ALWAYS, COUNT_LIMIT * n))
        elif _are_numbers(one, other) and name.endswith("_loss"):
            _widen(largest, "share of a loss", abs(one - other) / (abs(one) or 1.0), LOSS_LIMIT)
        elif one != other:
            return False, f"{name} is {one!r} and {other!r}"
    return _judge(largest)


def compare_histories(original: Path, again: Path) -> Comparison:
    """Compare two tables of epochs: losses as shares, accuracies as shares of all images."""
    largest: dict[str, tuple[float, float]] = {}
    try:
        left, right = ([line.split(",") for line in p.read_text().splitlines()] for p in (original, again))
        if left[0] != right[0] or len(left) != len(right):
            return False, "other columns or another number of epochs"
        for one, other in zip(left[1:], right[1:], strict=True):
            for name, a, b in zip(left[0], map(float, one), map(float, other), strict=True):
                if name.endswith("_loss"):
                    _widen(largest, "share of a loss", abs(a - b) / (abs(a) or 1.0), LOSS_LIMIT)
                elif name.endswith("_acc"):
                    # A validation set of digits has 119 images, of which five are four per cent.
                    _widen(largest, "accuracy", abs(a - b), 0.05)
                elif a != b:
                    return False, f"{name} is {a} and {b}"
    except (ValueError, IndexError):
        return False, "not a table of numbers"
    return _judge(largest)


def compare_arrays(original: Path, again: Path) -> Comparison:
    """Compare the outcomes of images in two attacks: which images, and what share of outcomes and pixels differs."""
    import numpy as np

    largest: dict[str, tuple[float, float]] = {}
    try:
        with np.load(original, allow_pickle=False) as left, np.load(again, allow_pickle=False) as right:
            if sorted(left.files) != sorted(right.files):
                return False, "other arrays"
            for name in left.files:
                one, other = left[name], right[name]
                if one.shape != other.shape or one.dtype != other.dtype:
                    return False, f"{name} has another shape or type"
                if name in IMAGE_LIMITS:
                    _widen(largest, f"share of {name}", float((one != other).mean()), IMAGE_LIMITS[name])
                elif name not in _NEVER_COMPARED and not np.array_equal(one, other):
                    return False, f"{name} differs"
    except Exception as error:
        return False, f"not readable: {error}"
    return _judge(largest)


def compare_checks(original: Path, again: Path) -> Comparison:
    """Compare the outcomes of two self-checks; their sentences hold numbers of files that are compared themselves."""
    try:
        left, right = (json.loads(path.read_bytes()) for path in (original, again))
        outcomes = [[(check["name"], check["passed"]) for check in record["checks"]] for record in (left, right)]
    except (ValueError, KeyError, TypeError) as error:
        return False, f"not the record of checks: {error}"
    changed = [f"{one[0]}" for one, other in zip(*outcomes, strict=False) if one != other]
    if changed or len(outcomes[0]) != len(outcomes[1]):
        return False, f"other outcomes: {', '.join(changed) or 'another number of checks'}"
    return True, "the same outcomes"


def leave_derived(original: Path, again: Path) -> Comparison:
    """Leave alone what shows or sums up other files, which are compared themselves."""
    return None, "derived from files that are compared"


COMPARATORS = {
    "model.safetensors": compare_networks,
    "history.csv": compare_histories,
    **dict.fromkeys((next(iter(ATTACK_FILES[attack].values())) for attack in ATTACKS), compare_arrays),
    "train.json": compare_records,
    **dict.fromkeys(ATTACK_RECORDS.values(), compare_records),
    "checks.json": compare_checks,
    "fgsm.png": leave_derived,
}
"""File name -> what compares two of them."""


def _pairs(left: Any, right: Any, name: str = "", n: int = 0) -> Iterator[tuple[str, Any, Any, int]]:
    """Yield the entries of two records side by side, with the number of images that each is a count of."""
    if isinstance(left, dict) and isinstance(right, dict) and list(left) == list(right):
        for key in left:
            split = key.partition("_")[0]
            images = left.get(f"n_{split}") or left.get("n_test") or n
            # The hashes of the data are no hashes of results.
            if key == "data_sha256":
                yield "data", left[key], right[key], 0
            else:
                yield from _pairs(left[key], right[key], key, images)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for one, other in zip(left, right, strict=True):
            yield from _pairs(one, other, name, n)
    else:
        yield name, left, right, n


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _widen(largest: dict[str, tuple[float, float]], what: str, found: float, limit: float) -> None:
    """Remember what comes closest to its limit, or is farthest beyond it; no number is as far as can be."""
    found = math.inf if math.isnan(found) else found
    before, allowed = largest.get(what, (0.0, limit))
    if found / limit >= before / allowed:
        largest[what] = (found, limit)


def _judge(largest: dict[str, tuple[float, float]]) -> Comparison:
    is_within = all(found <= limit for found, limit in largest.values())
    text = ", ".join(f"{what} {found:.2g} of {limit:.2g}" for what, (found, limit) in largest.items())
    return is_within, f"max deviation: {text}"
