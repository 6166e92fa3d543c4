"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(is_so: Callable[[], object], patience_s: float = 60, *, every_s: float = 0.02) -> None:
    """Wait for something, and look every so often; fail when it takes too long."""
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, f"not so after {patience_s:g} s"
        time.sleep(every_s)
