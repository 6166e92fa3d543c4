"""Numbers of things in sentences."""

from __future__ import annotations


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number and the word for so many: ``counted(2, "job")`` is ``2 jobs``.

    Parameters
    ----------
    number
        How many.
    one, several
        The words for one and for any other number; by default the latter ends in ``s``.
    """
    return f"{number} {one if number == 1 else several or one + 's'}"
