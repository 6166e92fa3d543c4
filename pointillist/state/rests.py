"""Rests: schedulers that failed a moment ago and are left in peace for a while, by all commands of a project.

One small file for all of them. The first failure asks for a short rest, each further one for twice as long.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FIRST_REST_S = 5.0
LONGEST_REST_S = 300.0


@dataclass(frozen=True)
class Rest:
    """A scheduler that is not to be asked yet.

    Attributes
    ----------
    left_s
        For how many seconds.
    words
        What was the matter.
    """

    left_s: float
    words: str


class Rests:
    """What is known of schedulers that failed.

    Parameters
    ----------
    folder
        The folder of the engine's files in the project.
    clock
        The time, in seconds since 1970.
    """

    def __init__(self, folder: str, clock: Callable[[], float] = time.time) -> None:
        self._path = os.path.join(folder, "rests.json")
        self._clock = clock

    def of(self, name: str) -> Rest | None:
        """Return the rest of a scheduler; None when it may be asked."""
        entry = self._read().get(name)
        if entry is None:
            return None
        left_s = entry["until"] - self._clock()
        # A rest from the future is one of a clock that was wrong.
        return Rest(left_s, entry["words"]) if 0 < left_s <= LONGEST_REST_S else None

    def failed(self, name: str, words: str) -> None:
        """Take note that a scheduler has failed."""
        known = self._read()
        count = known[name]["count"] + 1 if name in known else 1
        rest_s = min(FIRST_REST_S * 2 ** min(count - 1, 20), LONGEST_REST_S)
        self._write(known | {name: {"count": count, "until": self._clock() + rest_s, "words": words}})

    def answered(self, name: str) -> None:
        """Take note that a scheduler has answered."""
        known = self._read()
        if known.pop(name, None) is not None:
            self._write(known)

    def end(self) -> None:
        """Let everybody be asked at once: a person wants to know."""
        known = self._read()
        if known:
            self._write({name: entry | {"until": 0.0} for name, entry in known.items()})

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            with open(self._path, encoding="utf-8") as file:
                known = json.load(file)
            return {
                str(name): {
                    "count": int(entry["count"]),
                    "until": float(entry["until"]),
                    "words": str(entry["words"]),
                }
                for name, entry in known.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _write(self, known: dict[str, dict[str, Any]]) -> None:
        # Whoever may only look at the project asks as often as he likes.
        with contextlib.suppress(OSError):
            draft = f"{self._path}.{os.getpid()}"
            with open(draft, "w", encoding="utf-8") as file:
                json.dump(known, file)
            os.replace(draft, self._path)
