"""Which tasks the end of their cluster job failed.

An end is judged once, by whichever command hears of it first, and the verdict stays in the ledger. So all attempts at
its tasks count and each of these is known, also where the command is about other jobs, other operations, or no group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from pointillist.state.journal import Attempt, Journal, Outcome
from pointillist.state.plan import Plan
from pointillist.state.submissions import Ending, Submission
from pointillist.state.tasks import TaskKey

if TYPE_CHECKING:
    from pointillist.state.tasks import Task
    from pointillist.study import Study

_FAILING = ("failed", "timed out", "out of memory")


class Blame:
    """Says which tasks of a project the ends of cluster jobs failed."""

    def __init__(self, project: Study) -> None:
        self._project = project
        self._plans: dict[str, Plan] = {}

    def failed(
        self, plan: Plan, one: Submission, number: int, ending: Ending, *, left_output: bool
    ) -> dict[TaskKey, str]:
        """Return the tasks that the end of an element failed, with the fingerprint of what each depends on.

        Parameters
        ----------
        plan
            Of the command that has heard of it; it may be about a part of the project.
        left_output
            Whether the element has written anything.
        """
        journal = plan.journal if plan.journal.is_whole else self._journal
        attempts = {key: since(journal, key, one.time) for key in one.elements[number]}
        keys = failed_by(ending, one.elements[number], attempts, left_output=left_output)
        tasks = {key: plan.find(*key) or self._find(key) for key in keys}
        return {key: plan.fingerprint(task) for key, task in tasks.items() if task is not None}

    @cached_property
    def _journal(self) -> Journal:
        return self._project.journal()

    def _find(self, key: TaskKey) -> Task | None:
        """Find a task in the whole project, on jobs that its operation or a group of it puts together."""
        definition = self._project.definition
        for name, group in definition.groups.items():
            if key[0] in group.operations:
                if name not in self._plans:
                    workspace, sessions = self._project.read_workspace(), self._project.sessions()
                    self._plans[name] = Plan(definition.only(group), workspace, self._journal, sessions)
                if (task := self._plans[name].find(*key)) is not None:
                    return task
        return None


def since(journal: Journal, key: TaskKey, moment: float) -> Attempt | None:
    """Return the last attempt at a task, when it began after a moment."""
    attempt = journal.last(*key)
    # Clocks of different hosts agree within a second, or nothing does.
    return attempt if attempt is not None and attempt.started >= moment - 1 else None


def failed_by(
    ending: Ending,
    element: Iterable[TaskKey],
    attempts: Mapping[TaskKey, Attempt | None],
    *,
    left_output: bool = False,
) -> list[TaskKey]:
    """Decide which tasks the end of their cluster job failed, beside those of which the journal says it itself.

    A task that was at work when the job was killed for what it did failed; so did all tasks of a job that ended in
    error before it came to any. Tasks that the job never reached, or that died with a node, may simply run again.
    """
    keys = list(element)
    begun = [key for key in keys if attempts.get(key) is not None]
    if ending.state in _FAILING:
        if not begun:
            return keys
        cut_short = (None, Outcome.INTERRUPTED)
        return [key for key in begun if (attempt := attempts[key]) is not None and attempt.outcome in cut_short]
    return keys if ending.state == "gone" and left_output and not begun else []
