"""``IgnoreConditions``: which conditions a command does not ask."""

from __future__ import annotations

from enum import IntFlag


class IgnoreConditions(IntFlag):
    """Conditions to leave out when deciding what is eligible; may be combined with ``|``."""

    NONE = 0
    PRE = 1
    POST = 2
    ALL = 3

    def __invert__(self) -> IgnoreConditions:
        return IgnoreConditions(IgnoreConditions.ALL.value - self.value)

    def __str__(self) -> str:
        return ("none", "pre", "post", "all")[self.value]

    @classmethod
    def of(cls, text: str) -> IgnoreConditions:
        """Return the value of a word on the command line."""
        return cls[text.upper()]
