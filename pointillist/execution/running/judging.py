"""How a task has ended: by its post-conditions, then by how its process ended. Decides; writes nothing."""

from __future__ import annotations

from typing import NamedTuple

from pointillist.errors import EXIT_NOTHING_SELECTED, EXIT_USAGE, PointillistError
from pointillist.execution.requeues import earlier_starts, has_stopped, most_requeues, spent
from pointillist.execution.running.launch import Launcher
from pointillist.execution.running.processes import Ended
from pointillist.execution.running.work import Work
from pointillist.state.journal import Outcome
from pointillist.state.place import Place
from pointillist.state.plan import Plan
from pointillist.state.tasks import Task

_NEVER_BEGAN = (EXIT_USAGE, EXIT_NOTHING_SELECTED)
"""How ``exec`` ends that finds no such job, or no state point in its folder."""


class Verdict(NamedTuple):
    """How a task has ended."""

    outcome: Outcome
    message: str = ""
    goes_on: bool = False
    """Whether it has stopped to go on in a later start of its cluster job."""


class Judge:
    """Decides how tasks have ended.

    Parameters
    ----------
    plan
        Answers the post-conditions; what it knows of the task must be new.
    launcher
        Knows the directives of a task.
    """

    def __init__(self, plan: Plan, launcher: Launcher) -> None:
        self._plan = plan
        self._launcher = launcher
        self._place = Place.here()

    def verdict(self, work: Work, task: Task, ended: Ended, *, is_stopped: bool) -> Verdict:
        """Decide how a task has ended.

        Parameters
        ----------
        work, ended
            Its process, and how that ended.
        is_stopped
            Whether the user has stopped the run.
        """
        try:
            lost = self._plan.lost(task)
            if lost is not None and ended.exit_code == 0:
                return Verdict(Outcome.ENDED, str(lost))
            if lost is not None and not task.operation.cmd and ended.exit_code in _NEVER_BEGAN:
                # Another task gave its job another state point after this one was claimed; it is open under the new id.
                return Verdict(Outcome.INTERRUPTED, str(lost))
            if lost is None and self._plan.is_complete(task):
                return Verdict(Outcome.COMPLETED)
            if ended.exit_code != 0 and not is_stopped and work.reached and task.aggregate.id not in work.reached:
                # The process never came to it: another one may.
                return Verdict(Outcome.INTERRUPTED, "the batch ended before it came to this task")
            if work.is_warned and has_stopped(ended.exit_code):
                return self._stopped_in_time(task)
            if ended.exit_code == 0:
                unmet = [str(c) for c in task.operation.post if not self._plan.facts.holds(c, task.aggregate)]
                message = f"it ended well, but its post-condition does not hold: {unmet[0]}" if unmet else ""
                return Verdict(Outcome.ENDED, message)
            if is_stopped:
                return Verdict(Outcome.INTERRUPTED, "stopped by the user")
            return Verdict(Outcome.FAILED, ended.in_words())
        except PointillistError as error:
            return Verdict(Outcome.FAILED, str(error))

    def refusal(self, task: Task) -> str:
        """Say why a task must not begin: its cluster job was put back more often than it allows; else empty."""
        try:
            most = most_requeues(self._launcher.directives_of(task))
        except Exception:
            return ""  # it fails when it is started, and says why
        if most is None:
            return ""
        count = self._starts(task)
        return spent(count, most) if count > most else ""

    def _stopped_in_time(self, task: Task) -> Verdict:
        """Decide about a task that has stopped because the time of its cluster job is nearly up."""
        most = most_requeues(self._launcher.directives_of(task))
        count = self._starts(task)
        if most is not None and self._place is not None and count >= most:
            return Verdict(Outcome.FAILED, f"it ran short of time; {spent(count, most)}")
        message = "it stopped because the time of its cluster job was nearly up, to go on later"
        return Verdict(Outcome.INTERRUPTED, message, goes_on=True)

    def _starts(self, task: Task) -> int:
        """Count the earlier starts of our cluster job in which a task was begun; 0 outside of one."""
        if self._place is None:
            return 0
        return earlier_starts(self._plan.journal.attempts_at(*task.key), self._place)
