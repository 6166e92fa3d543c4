"""What a project file that runs as a program says of an exception that nobody catches.

Python would show a traceback where there is nothing to mend in the code: it was interrupted while it imported something
large, or it was started where there is no signac project. All other exceptions, and other programs, are left to Python.
"""

from __future__ import annotations

import sys
from types import TracebackType

from pointillist.errors import PointillistError, ProjectNotFoundError


def keep_short() -> None:
    """Say such exceptions in this process without a traceback, unless somebody else takes care of exceptions."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _say


def _say(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, (KeyboardInterrupt, ProjectNotFoundError)) and _is_project_file() and "--debug" not in sys.argv:
        if isinstance(error, PointillistError):
            print(f"Error: {error}", error.hint, sep="\n", file=sys.stderr)
            raise SystemExit(error.exit_code)
        return
    sys.__excepthook__(kind, error, traceback)


def _is_project_file() -> bool:
    """Say whether this program is a file that ends with ``Project.get_project().main()``, or the like."""
    try:
        with open(sys.modules["__main__"].__file__ or "", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (OSError, AttributeError):
        return False
    return "FlowProject" in text and ".main(" in text
