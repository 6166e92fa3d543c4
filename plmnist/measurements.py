"""Everything that was counted in result folders, as one tidy table: a row for each job, attack, epsilon and metric.

This is the one place from which tables, figures and reports take their numbers. Reading needs neither torch nor, until
a data frame is asked for, pandas.

Beside each attack there is the worst case of all of them together, for a network that met all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist import outcomes, results
from plmnist.config import ATTACKS, Configuration

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "NO_ATTACK", "WORST", "Measurement", "measurements", "to_dataframe"]

NO_ATTACK = "none"
WORST = "worst"
"""All attacks together: an image counts only if it withstands each, at every budget up to epsilon."""

_PARTS = {
    "train": "training images, in the last epoch, with dropout",
    "val": "validation images",
    "test": "test images",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number about one network.

    Attributes
    ----------
    attack
        ``fgsm``, ``pgd``, ``noise``, ``none``, or ``worst``: all attacks together, on the images that all of them met.
    epsilon
        Budget in pixel units; 0 without attack.
    metric
        ``<part>_acc`` (share classified correctly), ``<part>_loss`` (mean cross-entropy in nats), or
        ``test_acc_given_clean`` (share that still is, of the images classified correctly before the attack).
    numerator, denominator
        The integers a share is made of; for a loss, None and the number of images.
    counted
        What the denominator counts, in words.
    value
        The number itself; None for a share of nothing.
    """

    attack: str
    epsilon: float
    metric: str
    numerator: int | None
    denominator: int
    counted: str
    value: float | None


PARAMETERS = tuple(field.name for field in fields(Configuration))
COLUMNS = ("job", *PARAMETERS, *(field.name for field in fields(Measurement)))
"""Columns of the table: the name of the folder, the parameters, and what :class:`Measurement` holds."""


def measurements(folder: Path | str, *, worst_case: bool = True) -> list[Measurement]:
    """Return what the records in a folder say: of the training, and of every attack on the present network.

    A record that is not there contributes nothing.

    Parameters
    ----------
    folder
        A result folder.
    worst_case
        Whether to count what withstands all attacks together, for which the outcome of each image is read: 3 ms a
        folder with 10,000 images, ten times what its records take.

    Raises
    ------
    ResultError
        If a record is there and can't be understood.
    """
    folder = Path(folder)
    if not (folder / results.TRAIN_RECORD).exists():
        return []
    train = results.load_train(folder)
    found = list(_of_training(train))
    records = {}
    for attack in ATTACKS:
        if (folder / results.ATTACK_RECORDS[attack]).exists():
            record = results.load_attack(folder, attack)
            if record["model_sha256"] == train["model_sha256"]:
                records[attack] = record
                found += _of_attack(record, attack)
    return [*found, *_of_all_attacks(folder, records)] if worst_case else found


def to_dataframe(folders: Iterable[Path | str]) -> pd.DataFrame:
    """Return the measurements of many folders as a data frame.

    Parameters
    ----------
    folders
        Result folders; one without results contributes no rows. A single path is taken as a workspace: its subfolders
        are read.

    Returns
    -------
    pandas.DataFrame
        The columns of :data:`COLUMNS`. ``fgsm_epsilon`` is the budget in the configuration, ``epsilon`` that of the
        row; the former is missing as long as a network has not been attacked.

    Raises
    ------
    ResultError
        If a record is damaged.

    Examples
    --------
    >>> frame = to_dataframe("workspace")  # doctest: +SKIP
    >>> attacked = frame[(frame.metric == "test_acc") & (frame.attack == "pgd")]  # doctest: +SKIP
    >>> attacked.groupby(["training", "epsilon"]).value.agg(["mean", "std"])  # doctest: +SKIP
    """
    import pandas as pd

    if isinstance(folders, str | os.PathLike):
        folders = sorted(path for path in Path(folders).iterdir() if path.is_dir())
    rows = [row for folder in folders for row in rows_of(folder)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"numerator": "Int64", "denominator": "Int64"})


def rows_of(folder: Path | str, found: Sequence[Measurement] | None = None) -> list[dict[str, Any]]:
    """Return the rows of the table for one folder, of which the measurements may have been found already."""
    found = measurements(folder) if found is None else found
    if not found:
        return []
    about = {"job": Path(folder).name, **parameters_of(folder)}
    return [about | asdict(measurement) for measurement in found]


def parameters_of(folder: Path | str) -> dict[str, Any]:
    """Return the parameters of a trained folder, from its records; ``fgsm_epsilon`` is None before an attack.

    Raises
    ------
    ResultError
        If the network is not trained or a record is damaged.
    """
    folder = Path(folder)
    for attack in ATTACKS:
        if (folder / results.ATTACK_RECORDS[attack]).exists():
            return asdict(Configuration.from_mapping(results.load_attack(folder, attack)["config"]))
    config = Configuration.from_mapping({**results.load_train(folder)["config"], "fgsm_epsilon": 0.0})
    return asdict(config) | {"fgsm_epsilon": None}


def _of_training(record: dict[str, Any]) -> Iterator[Measurement]:
    for part, counted in _PARTS.items():
        correct, n = record[f"{part}_correct"], record[f"n_{part}"]
        yield Measurement(NO_ATTACK, 0.0, f"{part}_acc", correct, n, counted, correct / n)
        yield Measurement(NO_ATTACK, 0.0, f"{part}_loss", None, n, counted, record[f"{part}_loss"])


def _of_attack(record: dict[str, Any], attack: str) -> Iterator[Measurement]:
    n, clean = record["n_test"], record["clean_correct"]
    for point in record["curve"]:
        correct, both = point["adversarial_correct"], point["adversarial_correct_given_clean"]
        yield Measurement(attack, point["epsilon"], "test_acc", correct, n, "test images", correct / n)
        yield Measurement(
            attack,
            point["epsilon"],
            "test_acc_given_clean",
            both,
            clean,
            "test images classified correctly before the attack",
            both / clean if clean else None,
        )


def _of_all_attacks(folder: Path, records: dict[str, dict[str, Any]]) -> Iterator[Measurement]:
    if records.keys() >= set(ATTACKS) and (worst := outcomes.worst_case(folder, records)) is not None:
        sample, withstanding = worst
        for epsilon, count in withstanding.items():
            yield Measurement(WORST, epsilon, "test_acc", count, sample.n, "test images", count / sample.n)
