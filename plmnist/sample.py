"""Which of the test images an attack is made on: all of them, or a part that is spread evenly over them.

The images of a set need not be alike from its start to its end: the first half of MNIST's test images is harder than
the second. Older records are of the first images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Sample"]

_KINDS = {"spread", "first"}


@dataclass(frozen=True)
class Sample:
    """A part of the test images, or all of them.

    Attributes
    ----------
    n, of
        How many, of how many there are.
    kind
        ``spread``: one from each of `n` stretches of equal length, the first of it; ``first``: the first ones.
    """

    n: int
    of: int
    kind: str = "spread"

    @classmethod
    def spread(cls, n: int | None, of: int) -> Sample:
        """Return a sample that is spread evenly; of all images for None, or if there are no more than `n`."""
        return cls(of if n is None else min(n, of), of)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Sample:
        """Return the images that the record of an attack is about.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it does not say so.
        """
        n: int = record["n_test"]
        subset = record.get("subset", {"spread": n, "of": n})
        (kind,) = _KINDS & set(subset)
        if not subset[kind] == n <= subset["of"]:
            raise ValueError(f"subset is {subset}, n_test {n}")
        return cls(n, subset["of"], kind)

    @property
    def is_all(self) -> bool:
        """Whether no image is left out."""
        return self.n == self.of

    def rows(self) -> Sequence[int]:
        """Return the places of the images in the test part, in rising order."""
        if self.is_all or self.kind == "first":
            return range(self.n)
        return [i * self.of // self.n for i in range(self.n)]

    def entry(self) -> dict[str, Any]:
        """Return what the record of an attack says of a part of the images; nothing of all of them."""
        return {} if self.is_all else {"subset": {self.kind: self.n, "of": self.of}}

    def __str__(self) -> str:
        if self.is_all:
            return f"all {self.n:,} test images"
        if self.kind == "first":
            return f"the first {self.n:,} of {self.of:,} test images"
        return f"{self.n:,} test images spread evenly over all {self.of:,}"
