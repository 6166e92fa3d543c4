"""Calls of the user's own functions that answer a question: a condition, a label, a directive, a command line.

What such a function prints is no part of any answer, so it goes to standard error. Whatever it raises, ``exit()``
included, becomes an error of ours that names it; only Ctrl-C and the news of a broken job go through.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from pointillist.errors import BrokenJobError, PointillistError

T = TypeVar("T")


def ask(function: Callable[[], T], failed: Callable[[str], PointillistError]) -> T:
    """Return what a call of a user's function returns.

    Parameters
    ----------
    function
        Makes the call.
    failed
        Returns the error to raise instead of the user's, given the latter in words.
    """
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        return function()
    except (KeyboardInterrupt, BrokenJobError):
        raise
    except BaseException as error:
        # These words stand at the end of a sentence, and may be one themselves.
        raise failed(f"{type(error).__name__}: {error}".removesuffix(".")) from error
    finally:
        sys.stdout = stdout
