"""Numbers of things in sentences, and the ends of these."""

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


def sentence(words: str) -> str:
    """Return words as a sentence; what others have written may end with a full stop already."""
    return words if words.endswith((".", "!", "?")) else f"{words}."
