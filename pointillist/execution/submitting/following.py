"""Follow what was submitted: where each task is on the cluster, and what became of those that left it.

Asks the scheduler once, about our own cluster jobs only and while the workspace is being read, and compares the answer
with the ledger. What the answer does not prove is not concluded: as long as the scheduler can't be asked, every
task that was handed to it counts as being there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from pointillist.errors import EXIT_AGAIN
from pointillist.execution.submitting.asking import Answer, Asking
from pointillist.execution.submitting.blame import Blame
from pointillist.execution.submitting.older import inherit
from pointillist.state.journal import Attempt
from pointillist.state.place import NAME_VARIABLES, SUBMISSION_VARIABLE
from pointillist.state.rests import Rests
from pointillist.state.submissions import Ending, Ledger, LedgerWriter, OnCluster, Presence, Submission
from pointillist.state.tasks import TaskKey

if TYPE_CHECKING:
    from threading import Thread

    from pointillist.cluster.schedulers.jobs import ClusterJob
    from pointillist.state.plan import Plan
    from pointillist.state.sessions import Sessions
    from pointillist.study import Study

SETTLE_S = 30.0
"""For so long after its submission was cut short, a cluster job may still turn up in the queue."""

OUTPUT_TAIL_BYTES = 64 * 1024

_HUNGRY = "out of memory"
_KILLED = 128 + 9
NEXT_STEPS = {
    "timed out": "give it more walltime, then: python project.py submit",
    "out of memory": "give it more memory, then: python project.py submit",
    "failed": "mend the cause, then: python project.py submit --retry-failed",
}
"""What to do about a task that its cluster job failed."""


class Following:
    """Where tasks are on the cluster.

    Parameters
    ----------
    ledger
        What was submitted.
    asking
        Asks the schedulers.
    sessions
        Where to record what is new.
    blame
        Says which tasks an end failed.
    root
        The project folder.
    clock
        The time, in seconds since 1970.
    """

    def __init__(
        self,
        ledger: Ledger,
        asking: Asking,
        sessions: Sessions,
        blame: Blame,
        root: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ledger = ledger
        self._asking = asking
        self._sessions = sessions
        self._blame = blame
        self._root = root
        self._clock = clock
        self._answer: Answer | None = None
        self._thread: Thread | None = None
        self._present: dict[TaskKey, OnCluster] | None = None

    @property
    def troubles(self) -> list[Exception]:
        """Why some of the cluster can't be seen; known once the first task was looked for."""
        return self._answer.troubles if self._answer is not None else []

    def start(self) -> None:
        """Begin to ask, in a thread of its own, when there is anything to ask about."""
        if self.ledger.open():
            from threading import Thread

            self._thread = Thread(target=self._ask_ahead, daemon=True)
            self._thread.start()

    def present(self, plan: Plan) -> Mapping[TaskKey, OnCluster]:
        """Return where each task is that is on the cluster, also where the plan, or the project, no longer knows it."""
        if self._present is None:
            self._present = self._settle(plan)
        return self._present

    def of(self, plan: Plan, key: TaskKey) -> OnCluster | None:
        """Return where a task is on the cluster; None when it is not there, or no longer."""
        return self.present(plan).get(key)

    def concerned(self, plan: Plan) -> Iterable[TaskKey]:
        """Return the tasks of which the cluster knows something that the workspace does not."""
        return [*self.present(plan), *self.ledger.failed()]

    def failure(self, plan: Plan, key: TaskKey) -> Attempt | None:
        """Return how the last cluster job of a task failed it, when it did."""
        self.of(plan, key)
        return self.ledger.failure(key)

    def _ask_ahead(self) -> None:
        # What is wrong is told to whoever needs the answer, and asks again.
        with contextlib.suppress(Exception):
            self._ask()

    def _ask(self) -> None:
        self._answer = self._asking.ask(self.ledger.open())

    def _settle(self, plan: Plan) -> dict[TaskKey, OnCluster]:
        """Compare the answer with the ledger, record what is new, and return what is still there."""
        opened = self.ledger.open()
        if not opened:
            return {}
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._answer is None:
            self._ask()
        assert self._answer is not None
        present: dict[TaskKey, OnCluster] = {}
        news: list[Callable[[LedgerWriter], None]] = []
        for one in opened:
            self._compare(plan, one, self._answer, present, news)
        self._record(news)
        return present

    def _compare(
        self,
        plan: Plan,
        one: Submission,
        answer: Answer,
        present: dict[TaskKey, OnCluster],
        news: list[Callable[[LedgerWriter], None]],
    ) -> None:
        jobs = answer.jobs.get(one.name)
        cluster_id = one.id
        if cluster_id is None and jobs:
            # What ended under that name before is remembered beside what is there now.
            cluster_id = min(jobs.values(), key=lambda job: job.state.is_final).job_id
            news.append(lambda writer, name=one.name, found=cluster_id: writer.accept(name, found))  # type: ignore[misc]
            one.id = cluster_id
        for number in one.open_elements():
            where = self._where(one, number, jobs, answer)
            if isinstance(where, OnCluster):
                present.update(dict.fromkeys(one.elements[number], where))
            elif isinstance(where, Ending):
                left_output = bool(self._output(one, number))
                where.failed = self._blame.failed(plan, one, number, where, left_output=left_output)
                news.append(lambda writer, name=one.name, n=number, end=where: writer.end(name, n, end))  # type: ignore[misc]
            else:
                news.append(lambda writer, name=one.name, words=where: writer.withdraw(name, words))  # type: ignore[misc]
                return

    def _where(
        self, one: Submission, number: int, jobs: Mapping[str, ClusterJob] | None, answer: Answer
    ) -> OnCluster | Ending | str:
        """Return where an element is, how it ended, or, as words, that it was never submitted."""
        if jobs is None:
            words = "being submitted" if one.id is None else "the scheduler can't be asked where it is"
            if one.name in answer.elsewhere:
                words = f"on cluster {one.cluster}, which can't be asked from here"
            return OnCluster(Presence.UNKNOWN, one, number, words)
        if one.id is None:
            if one.writer not in answer.dead_writers:
                return OnCluster(Presence.UNKNOWN, one, number, "being submitted")
            if not one.is_inherited and answer.asked - one.time < SETTLE_S:
                return OnCluster(Presence.UNKNOWN, one, number, "its submission was cut short; it may yet turn up")
            return "its submission was cut short and never reached the scheduler"
        job = jobs.get(one.element_id(number) or "")
        if job is None:
            return self._gone(one, number)
        return self._ended(one, number, job, answer.asked) if job.state.is_final else _present(one, number, job)

    def _ended(self, one: Submission, number: int, job: ClusterJob, asked: float) -> Ending:
        """Say how an element ended that the scheduler still knows."""
        state, words = job.state.value, _ENDINGS.get(job.state.value, "")
        if job.exit_code == EXIT_AGAIN:
            state, words = "stopped", "Its time was nearly up; the next submit goes on."
        # A reason to wait may still stand there when a job has ended; it says nothing about the end.
        elif state == "failed" or "it waits for failed" in job.reason_words:
            words = job.reason_words or words
        if state == "failed" and job.exit_code in (None, _KILLED) and self._output_says(one, number) == _HUNGRY:
            # Where no cgroups watch over memory, the scheduler kills, and only the output says for what.
            state, words = _HUNGRY, _ENDINGS[_HUNGRY]
        return Ending(state, words, asked, job.exit_code, job.node)

    def _gone(self, one: Submission, number: int) -> Ending:
        """Say what can be said of an element that the scheduler has forgotten."""
        text = self._output(one, number)
        state = self._output_says(one, number)
        if state:
            return Ending(state, _ENDINGS.get(state, ""), self._clock())
        if one.after and text == "":
            return Ending("cancelled", "What it waited for failed, so it was never started.", self._clock())
        if text == "" and not os.path.exists(os.path.join(self._root, one.output_of(number))):
            return Ending("cancelled", "It left the queue without being started.", self._clock())
        return Ending("gone", "The scheduler no longer knows how it ended.", self._clock())

    def _output_says(self, one: Submission, number: int) -> str:
        """Return how an element ended as far as the scheduler has said so in its output; empty when it has not."""
        with contextlib.suppress(Exception):
            state = self._asking.scheduler_of(one).read_output(self._output(one, number))
            return state.value if state is not None else ""
        return ""

    def _output(self, one: Submission, number: int) -> str:
        try:
            with open(os.path.join(self._root, one.output_of(number)), "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - OUTPUT_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _record(self, news: list[Callable[[LedgerWriter], None]]) -> None:
        if not news:
            return
        # Whoever may only look at the project sees the same and records nothing.
        with contextlib.suppress(OSError):
            session = self._sessions.open()
            writer = LedgerWriter(self.ledger, session, each_at_once=False)
            try:
                for one in news:
                    one(writer)
            finally:
                writer.close()
                session.close()


def _present(one: Submission, number: int, job: ClusterJob) -> OnCluster:
    """Say where an element is that waits or runs."""
    running = job.state.value in ("running", "suspended", "ending")
    presence = Presence.RUNNING if running else Presence.QUEUED
    if job.state.value == "unknown":
        presence = Presence.UNKNOWN
    words = job.reason_words or ("" if running else job.native_state.lower())
    return OnCluster(presence, one, number, f"on {job.node}" if running and job.node else words)


_ENDINGS = {
    "completed": "Its script ended well.",
    "cancelled": "It was cancelled.",
    "timed out": "It ran into its time limit.",
    "out of memory": "It used more memory than it asked for.",
    "node failed": "Its node failed.",
    "preempted": "It had to make room for another cluster job.",
    "failed": "Its script ended with an error.",
}


def follow(project: Study) -> Following | None:
    """Begin to look for the tasks of a project on the cluster; None where there is nothing to look for.

    Within a cluster job its own tasks are not "on the cluster" but at hand, and a thousand elements of an array must
    not put a thousand questions: there nothing is looked for, and the claims keep two processes apart.
    """
    if os.environ.get(SUBMISSION_VARIABLE):
        return None
    ledger = project.ledger()
    if _is_within(ledger):
        return None
    inherit(project, ledger)
    if not os.path.isdir(ledger.path) or _is_within(ledger):
        return None
    asking = Asking(project._environment, project.sessions(), Rests(project.state_folder))
    following = Following(ledger, asking, project.sessions(), Blame(project), project.path)
    following.start()
    return following


def _is_within(ledger: Ledger) -> bool:
    """Whether this process works within a cluster job of the ledger."""
    return any(ledger.find(os.environ[name]) for name in NAME_VARIABLES if name in os.environ)
