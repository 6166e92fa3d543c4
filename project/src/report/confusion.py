"""Which class is taken for which, without attack and under the strongest one, by the networks that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.parameters import ATTACKS
from src.report.answer import percent
from src.report.effects import Effect, compared
from src.report.facts import DataSetResults

from plmnist.registry import DATASETS

Counts = Sequence[Sequence[int]]
"""Images by true class (rows) and predicted class (columns)."""

# Cells are shaded in steps from these shares of their row up; the numbers in them say the same.
SHADES = (0.01, 0.05, 0.2, 0.5)


@dataclass(frozen=True)
class Cell:
    """The share of a class that is taken for another, in per cent, and how dark it is drawn, from 0 up."""

    text: str
    shade: int


@dataclass(frozen=True)
class Matrix:
    """Shares of each class, true by predicted, what they are of, and the largest of the mistakes in words."""

    title: str
    remark: str
    classes: Sequence[str]
    rows: list[list[Cell]]


def matrices(results: DataSetResults, effect: Effect | None) -> list[Matrix]:
    """Return two matrices for each value that is compared, of all its networks together; none if counts are missing."""
    classes = DATASETS[results.name].classes
    found: list[Matrix] = []
    for label, networks in compared(results, effect).items():
        pairs = [network.confusions(results.strongest, results.epsilon) for network in networks]
        if None in pairs:
            return []
        for place, condition in enumerate(("without attack", f"under {ATTACKS[results.strongest]}")):
            counts = added([pair[place] for pair in pairs if pair is not None])
            title = f"{label}, {condition}" if label else condition
            rows = [[_cell(n, sum(row)) for n in row] for row in counts]
            found.append(Matrix(title[:1].upper() + title[1:], describe_largest(counts, classes), classes, rows))
    return found


def added(matrices: Sequence[Counts]) -> Counts:
    """Return the sum of some matrices, cell by cell."""
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def describe_largest(counts: Counts, classes: Sequence[str]) -> str:
    """Say which class is taken for which other one most often, as a share of it; the first of several as frequent."""
    shares = {
        (true, predicted): n / sum(row)
        for true, row in enumerate(counts)
        for predicted, n in enumerate(row)
        if n and predicted != true
    }
    if not shares:
        return "No image is taken for another class."
    true, predicted = max(shares, key=lambda pair: shares[pair])
    return f"Most often {classes[true]} is taken for {classes[predicted]}: {percent(shares[true, predicted])}."


def _cell(n: int, of: int) -> Cell:
    share = n / of if of else 0.0
    text = "" if n == 0 else "<1" if share < 0.005 else f"{100 * share:.0f}"
    return Cell(text, sum(share >= step for step in SHADES))
