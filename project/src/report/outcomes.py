"""What attacks did to each image: the smallest budget that turns it, and whether it withstands all attacks together."""

from pathlib import Path
from typing import Any

import numpy as np

from plmnist.errors import PlmnistError
from plmnist.measurements import Measurement
from plmnist.results import load_attack, load_outcomes
from plmnist.sample import Sample

WORST = "worst"
MEMBERS = ("fgsm", "pgd", "noise")
"""The attacks that an image has to withstand in the worst case."""


def smallest_budgets(folder: Path, attack: str, wanted: Sample) -> Any:
    """Return, of some test images, the smallest epsilon at which an attack turns each; 0 if it is wrong to begin with.

    None if that was not kept, or the attack was not made on all of them.
    """
    try:
        smallest = load_outcomes(folder, attack)["smallest_epsilon"]
    except PlmnistError:
        return None
    attacked = Sample.of_record(load_attack(folder, attack)).rows()
    places = {row: place for place, row in enumerate(attacked)}
    if len(smallest) != len(attacked) or not places.keys() >= set(wanted.rows()):
        return None
    return smallest[[places[row] for row in wanted.rows()]]


def worst_case(folder: Path, samples: dict[str, Sample]) -> tuple[Sample, list[Measurement]] | None:
    """Return how many of the images that all attacks met withstand all of them, at each epsilon that all had.

    What a smaller budget turns is turned. None if an attack was not made, did not keep what became of each image, or
    met other images than the others.
    """
    if not samples.keys() >= set(MEMBERS):
        return None
    sample = min((samples[attack] for attack in MEMBERS), key=lambda sample: sample.n)
    found = [smallest_budgets(folder, attack, sample) for attack in MEMBERS]
    if any(smallest is None for smallest in found):
        return None
    smallest = np.min(found, axis=0)
    curves = [load_attack(folder, attack)["curve"] for attack in MEMBERS]
    budgets = set.intersection(*({point["epsilon"] for point in curve} for curve in curves))
    return sample, [_measured(epsilon, int((smallest > epsilon).sum()), sample.n) for epsilon in sorted(budgets)]


def _measured(epsilon: float, withstood: int, n: int) -> Measurement:
    return Measurement(WORST, epsilon, "test_acc", withstood, n, "test images", withstood / n)
