"""How a run shows that it is alive: a bar at a terminal, calm lines in a pipe; all on standard error."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection
from typing import Any, Self

from pointillist.execution.running.terms import Observer
from pointillist.state.journal import Attempt, Outcome
from pointillist.state.plan import Plan
from pointillist.state.tasks import Task
from pointillist.wording import counted

LINE_EVERY_S = 10.0


class Progress(Observer):
    """Counts tasks, and says in calm lines when an operation is through and, on long runs, how far things are."""

    def __init__(self, plan: Plan, tasks: Collection[Task]) -> None:
        self._left = plan.count_open(tasks)
        self._total = Counter(self._left)
        self._running: Counter[str] = Counter()
        self._failed = 0
        self._done = 0
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return time.monotonic() - self._began

    def started(self, task: Task) -> None:
        self._running[task.operation.name] += 1

    def ended(self, task: Task, attempt: Attempt) -> None:
        name = task.operation.name
        self._running[name] -= 1
        self._failed += attempt.outcome is Outcome.FAILED
        if attempt.outcome in (Outcome.COMPLETED, Outcome.ENDED, Outcome.FAILED):
            self._done += 1
            self._left[name] -= 1
            if self._left[name] == 0:
                self.operation_through(name)

    def operation_through(self, name: str) -> None:
        """All tasks of an operation have ended."""
        self._line(f"{name}: {counted(self._total[name], 'task')} through")

    def output(self, text: bytes) -> None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()

    def tick(self, *, running: int) -> None:
        if time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._line(self.state())

    def interrupted(self, *, running: int, again: bool) -> None:
        what = "killing" if again else "asking"
        more = "" if again else " to end; Ctrl-C again kills them"
        self._line(f"Stopping: {what} {counted(running, 'running task')}{more}")

    def state(self) -> str:
        """Say in one line how far things are."""
        running = ", ".join(f"{count} x {name}" for name, count in self._running.items() if count)
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._done} of {counted(self._total.total(), 'task')}{failed}" + (
            f"; running: {running}" if running else ""
        )

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        print(f"[{self.seconds:6.1f} s] {text}", file=sys.stderr, flush=True)


class ProgressBar(Progress):
    """A live bar on standard error, with the output of tasks above it."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        # Without a thread of its own: the loop forks workers.
        self._bar: Any = Bar(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar_task = self._bar.add_task("", total=self._total.total())
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tick(self, *, running: int) -> None:
        self._bar.update(self._bar_task, completed=self._done, description=self.state())
        self._bar.refresh()

    def operation_through(self, name: str) -> None:
        return

    def output(self, text: bytes) -> None:
        self._bar.console.print(text.decode(errors="replace"), end="", markup=False, soft_wrap=True)

    def _line(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


def observer_for(plan: Plan, tasks: Collection[Task], *, show_bar: bool) -> Progress:
    """Return what suits standard error."""
    return (ProgressBar if show_bar and sys.stderr.isatty() else Progress)(plan, tasks)
