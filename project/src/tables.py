"""Rows as text, CSV and Parquet. The bytes depend on the rows (and, for Parquet, on the version of pyarrow) alone."""

import csv
import io
from collections.abc import Sequence
from typing import Any

Rows = Sequence[dict[str, Any]]


def as_text(rows: Rows) -> str:
    """Return aligned columns; an empty cell is a dash."""
    header = list(rows[0]) if rows else []
    cells = [header, *([_text(name, value) for name, value in row.items()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    return "".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + "\n" for line in cells
    )


def as_csv(rows: Rows) -> str:
    """Return CSV in full precision; an empty cell is empty, several values in a cell are divided by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    for row in rows:
        cells = row.values()
        writer.writerow([" ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in cells])
    return text.getvalue()


def as_parquet(rows: Rows) -> bytes:
    """Return Parquet, which keeps types: several values in a cell are a list."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(list(rows))
    for place, field in enumerate(table.schema):
        if pyarrow.types.is_null(field.type):  # nothing but empty cells, as of standard deviations of one seed each
            table = table.set_column(place, field.name, table.column(place).cast(pyarrow.float64()))
    content = io.BytesIO()
    pyarrow.parquet.write_table(table, content)
    return content.getvalue()


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6f}" if name.endswith(("_avg", "_std")) else str(value)
