"""Tables on standard output: coloured at a terminal, plain and never cut off in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

STATE_STYLES = {
    "completed": "green",
    "running": "cyan",
    "queued": "blue",
    "eligible": "yellow",
    "failed": "bold red",
    "broken": "bold red",
}


def console() -> Console:
    """Return a console on standard output; in a pipe its lines are as long as they need to be."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, numbers: Sequence[str] = ()) -> Table:
    """Return a table; the columns named in ``numbers`` are aligned right."""
    result = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        result.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    for row in rows:
        result.add_row(*row)
    return result
