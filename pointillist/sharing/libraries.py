"""The libraries that only archives need."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from pointillist.errors import PointillistError


@contextlib.contextmanager
def needed_for_metadata(library: str) -> Iterator[None]:
    """Import a library in this block; where it is missing, a sentence says how to install it."""
    try:
        yield
    except ImportError as error:
        raise PointillistError(
            f"The metadata of an archive are made with the library {library}, which is not installed.",
            hint=f"{sys.executable} -m pip install 'pointillist[export]'",
        ) from error
