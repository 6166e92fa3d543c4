"""What became of each folder: a line for the user, two for whoever follows the report file."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path
from typing import IO, Any, Self

from plmnist.errors import PlmnistError


class Report:
    """Tells the user, and whoever follows the report file, what becomes of each folder."""

    is_quiet = False
    """Whether standard output is kept for something else; failures then go to standard error."""

    def __init__(self, arguments: argparse.Namespace, *, verb: str) -> None:
        self._debug: bool = arguments.debug
        self._verb = verb
        self._done: list[str] = []
        self._failed: list[str] = []
        self._file: IO[bytes] | None = None
        if arguments.report:
            try:
                # Unbuffered: each event is one write, so lines of several processes do not mix.
                self._file = open(arguments.report, "ab", buffering=0)  # noqa: SIM115
            except OSError as error:
                raise PlmnistError(f"{arguments.report} cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._file is not None:
            self._file.close()
        if kind is None and not self.is_quiet:
            print(self.last_line, flush=True)

    @property
    def last_line(self) -> str:
        """How many folders are done, and which failed."""
        total = len(self._done) + len(self._failed)
        line = f"{len(self._done)} of {total} folder{'s' if total != 1 else ''} {self._verb}"
        return f"{line}; failed: {', '.join(self._failed)}" if self._failed else line

    @property
    def exit_status(self) -> int:
        return 1 if self._failed else 0

    def started(self, folder: str) -> None:
        self._append({"folder": folder, "event": "start"})

    def done(self, folder: str, summary: str) -> None:
        self._done.append(folder)
        self._append({"folder": folder, "event": "end", "error": None})
        self.say(folder, summary)

    def say(self, folder: str, summary: str) -> None:
        """Tell the user how it went."""
        print(f"{folder}: {summary}", flush=True)

    def failed(self, folder: str, error: Exception) -> None:
        self._failed.append(folder)
        if isinstance(error, PlmnistError):
            text = error.one_line
        elif isinstance(error, OSError):
            text = f"{error.filename or folder}: {error.strerror or error}"
        else:
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = (
                f"this is a bug in plmnist: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            )
            text = " ".join(text.split()) + "; --debug shows more"
        self._append({"folder": folder, "event": "end", "error": text})
        if self._debug:
            traceback.print_exception(error)
        print(f"{folder}: failed: {text}", file=sys.stderr if self.is_quiet else sys.stdout, flush=True)

    def _append(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write((json.dumps(event) + "\n").encode())
