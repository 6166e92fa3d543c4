"""Show something again and again, until Ctrl-C; what was shown last stays."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Any

SHORTEST_S = 1.0
WORK_SHARE = 4
"""The pause is at least so many times as long as the work, so that watching a large study does not keep a core busy."""

_HOME_AND_CLEAR = "\x1b[H\x1b[J"


class _Page(io.StringIO):
    """Text that says it is at a terminal when standard output is."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


def watch(draw: Callable[[Any], None], period_s: float) -> None:
    """Call ``draw`` with a file, and show what it wrote, every ``period_s`` seconds until Ctrl-C.

    At a terminal each page takes the place of the one before; in a pipe they follow one another.
    """
    try:
        while True:
            began = time.monotonic()
            page = _Page()
            draw(page)
            sys.stdout.write((_HOME_AND_CLEAR if sys.stdout.isatty() else "") + page.getvalue())
            sys.stdout.flush()
            took = time.monotonic() - began
            time.sleep(max(SHORTEST_S, period_s, WORK_SHARE * took))
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            print()
