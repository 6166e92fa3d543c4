"""Bars for downloads at a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from typing import Any


class ProgressBar:
    """Tells how downloads proceed. rich is imported with the first byte."""

    def __init__(self) -> None:
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if not sys.stderr.isatty():
            if done == 0:
                size = f", {total / 1e6:.1f} MB" if total else ""
                print(f"fetching {name}{size}", file=sys.stderr, flush=True)
            return
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
            )
            self._bars.start()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total)
