"""Tables as text: for a terminal, plain and never cut off in a pipe; as Markdown, HTML or CSV.

Builds text only. A cell that holds control characters (a state point may hold anything) is shown escaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple


class Styled(NamedTuple):
    """A cell in a colour, which a terminal shows and other formats leave out."""

    text: str
    style: str


Cell = str | Styled

FORMATS = ("terminal", "markdown", "html", "csv")
STATE_STYLES = {
    "completed": "green",
    "running": "cyan",
    "queued": "blue",
    "eligible": "yellow",
    "failed": "bold red",
    "broken": "bold red",
}
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


class Table:
    """Columns with headings, and rows of cells.

    Parameters
    ----------
    columns
        The headings.
    rows
        As many cells each.
    numbers
        The columns that are aligned right.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Sequence[str] = ()) -> None:
        self.columns = list(columns)
        self.rows = [list(row) for row in rows]
        self.numbers = set(numbers)


def has_colour(file: Any) -> bool:
    """Say whether text for this file may hold colours."""
    return bool(
        hasattr(file, "isatty")
        and file.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def render(parts: Iterable[Table | str], *, form: str = "terminal", colour: bool = False) -> str:
    """Return tables and lines of text, one under the other, in one of :data:`FORMATS`."""
    draw = {"terminal": _terminal, "markdown": _markdown, "html": _html, "csv": _csv}[form]
    texts = []
    for part in parts:
        if isinstance(part, Table):
            texts.append(draw(part, colour=colour))
        elif form != "csv":
            texts.append(f"<p>{_escape_html(part)}</p>" if form == "html" else part)
    return "\n\n".join(text for text in texts if text)


def clean(text: str) -> str:
    """Return text in which control characters are escaped, so that it can't change the terminal or the layout."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def coloured(text: str, style: str) -> str:
    """Return text in a style, for a terminal."""
    return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m" if style else text


def _plain(cell: Cell) -> str:
    return clean(cell.text if isinstance(cell, Styled) else cell)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 0 if unicodedata.combining(c) else 1 for c in text)


def _terminal(table: Table, *, colour: bool) -> str:
    plain = [[_plain(cell) for cell in row] for row in table.rows]
    widths = [_width(column) for column in table.columns]
    # Row by row: a `zip` of as many columns as there are rows takes minutes for a hundred thousand of them.
    for texts in plain:
        for number, text in enumerate(texts):
            if len(text) > widths[number] or not text.isascii():
                widths[number] = max(widths[number], _width(text))
    heading: list[Cell] = [Styled(column, "bold") for column in table.columns]
    is_number = [column in table.numbers for column in table.columns]
    lines = []
    for cells, texts in zip([heading, *table.rows], [table.columns, *plain], strict=True):
        parts = []
        for number, (cell, text) in enumerate(zip(cells, texts, strict=True)):
            space = " " * (widths[number] - _width(text))
            shown = coloured(text, cell.style) if colour and isinstance(cell, Styled) else text
            parts.append(space + shown if is_number[number] else shown + space)
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _markdown(table: Table, *, colour: bool) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells) + " |"

    rule = ["---:" if column in table.numbers else ":---" for column in table.columns]
    return "\n".join([line(table.columns), line(rule), *(line(map(_plain, row)) for row in table.rows)])


def _escape_html(text: str) -> str:
    import html

    return html.escape(text)


def _html(table: Table, *, colour: bool) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_escape_html(cell)}</{tag}>" for cell in cells) + "</tr>"

    rows = [line(map(_plain, row), "td") for row in table.rows]
    return "\n".join(["<table>", line(table.columns, "th"), *rows, "</table>"])


def _csv(table: Table, *, colour: bool) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_plain(cell) for cell in row] for row in table.rows)
    return text.getvalue().rstrip("\n")
