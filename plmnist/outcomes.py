"""What attacks did to each image: the smallest budget that turns it, and how many withstand all attacks together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist.errors import PlmnistError
from plmnist.results import load_attack, load_outcomes
from plmnist.sample import Sample

if TYPE_CHECKING:
    import numpy as np

__all__ = ["common_sample", "smallest_budgets", "worst_case"]


def smallest_budgets(folder: Path | str, attack: str, wanted: Sample) -> np.ndarray[Any, Any] | None:
    """Return, of some test images, the smallest epsilon at which an attack turns each; 0 if it is wrong to begin with.

    None if that was not kept, or the attack was not made on all of them.
    """
    import numpy as np

    try:
        smallest = load_outcomes(folder, attack)["smallest_epsilon"]
    except PlmnistError:
        return None
    attacked = Sample.of_record(load_attack(folder, attack))
    if len(smallest) != attacked.n:
        return None
    if attacked == wanted:
        return smallest
    rows, wanted_rows = np.asarray(attacked.rows()), np.asarray(wanted.rows())
    if not np.isin(wanted_rows, rows).all():
        return None
    return smallest[np.searchsorted(rows, wanted_rows)]


def common_sample(samples: Iterable[Sample]) -> Sample:
    """Return the images that several attacks have in common, if they have any part in common: the fewest."""
    return min(samples, key=lambda sample: sample.n)


def worst_case(folder: Path | str, records: Mapping[str, Mapping[str, Any]]) -> tuple[Sample, dict[float, int]] | None:
    """Return how many images withstand several attacks, each of them and at every budget up to an epsilon.

    Parameters
    ----------
    folder
        The folder of a network that was attacked.
    records
        Attack -> its record in that folder.

    Returns
    -------
    tuple or None
        The images that all these attacks met, and epsilon -> how many of them withstand, for each epsilon that all
        curves have. None if an attack did not keep what became of each image, or met other images than the others.
    """
    import numpy as np

    sample = common_sample(Sample.of_record(record) for record in records.values())
    found = [smallest_budgets(folder, attack, sample) for attack in records]
    known = [smallest for smallest in found if smallest is not None]
    if len(known) < len(found):
        return None
    smallest = np.min(known, axis=0)
    budgets = set.intersection(*({point["epsilon"] for point in record["curve"]} for record in records.values()))
    return sample, {epsilon: int((smallest > epsilon).sum()) for epsilon in sorted(budgets)}
