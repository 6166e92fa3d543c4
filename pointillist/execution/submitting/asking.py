"""Ask schedulers about our own cluster jobs, once for each of them, and never one that has just failed.

An answer that is cut off between two records looks like a shorter queue. So what an answer lacks is asked for once
more, by the very id or name, before it counts as gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pointillist.state.rests import Rests
from pointillist.state.submissions import Submission
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.cluster.environments import ComputeEnvironment
    from pointillist.cluster.schedulers.base import Scheduler
    from pointillist.cluster.schedulers.jobs import ClusterJob
    from pointillist.state.sessions import Sessions

QUESTION_TIMEOUT_S = 20.0
PAUSE_S = 0.5


@dataclass
class Answer:
    """What schedulers said about our cluster jobs."""

    jobs: dict[str, dict[str, ClusterJob]] = field(default_factory=dict)
    """By the name of the submission; absent where the scheduler could not be asked."""
    troubles: list[Exception] = field(default_factory=list)
    dead_writers: set[str] = field(default_factory=set)
    """Sessions that had ended before the question was put."""
    elsewhere: set[str] = field(default_factory=set)
    """Names of submissions to another cluster than ours."""
    asked: float = 0.0


class Asking:
    """Puts questions about submissions to the schedulers that have them.

    Parameters
    ----------
    environment
        Where we are.
    sessions
        Tells which submitting processes still live.
    rests
        Which schedulers are left in peace for a while.
    clock
        The time, in seconds since 1970.
    """

    def __init__(
        self,
        environment: type[ComputeEnvironment],
        sessions: Sessions,
        rests: Rests,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._environment = environment
        self._sessions = sessions
        self._rests = rests
        self._clock = clock

    def ask(self, opened: list[Submission]) -> Answer:
        """Return what schedulers say of open submissions."""
        answer = Answer(asked=self._clock())
        # Whether a submitter lives is asked before the queue is read: one that ends in between has had its turn.
        writers = {one.writer for one in opened if one.id is None}
        answer.dead_writers = {writer for writer in writers if not self._sessions.is_alive(writer)}
        groups: dict[tuple[str, str, str], list[Submission]] = {}
        for one in opened:
            groups.setdefault((one.scheduler, one.environment, one.cluster), []).append(one)
        for group in groups.values():
            self._ask_one(group, answer)
        return answer

    def scheduler_of(self, submission: Submission) -> Scheduler:
        """Return the scheduler that has a submission.

        Raises
        ------
        SchedulerNotPresent
            When it can't be asked from here.
        """
        from pointillist.cluster.errors import SchedulerNotPresent

        scheduler: Scheduler | None = self._environment.script_scheduler()
        if scheduler is None or scheduler.name != submission.scheduler:
            raise SchedulerNotPresent(
                f"Cluster jobs of this project are with {submission.scheduler} ({submission.environment}),"
                f" which this machine ({self._environment.__name__}) can't ask.",
                hint="What is queued or running there is not known here, and is left alone.",
            )
        scheduler.hurry(QUESTION_TIMEOUT_S)
        return scheduler

    def _ask_one(self, group: list[Submission], answer: Answer) -> None:
        from pointillist.cluster.errors import ClusterError, SchedulerUnavailable

        first = group[0]
        key = f"{first.scheduler} {first.environment}"
        try:
            scheduler = self.scheduler_of(first)
            rest = self._rests.of(key)
            if rest is not None:
                raise SchedulerUnavailable(
                    f"{rest.words} It is not asked again for {rest.left_s:.0f} s.",
                    hint="Nothing is known about queued cluster jobs, so none is touched. `submit` asks at once.",
                )
            here = scheduler.cluster_name() if first.cluster else ""
            if first.cluster and here and here != first.cluster:
                answer.elsewhere.update(one.name for one in group)
                answer.troubles.append(_on_another_cluster(first.cluster, here, group))
                return
            answer.jobs.update(_found(scheduler, group, answer.dead_writers))
            self._rests.answered(key)
        except SchedulerUnavailable as trouble:
            if self._rests.of(key) is None:
                self._rests.failed(key, str(trouble))
            answer.troubles.append(trouble)
        except ClusterError as trouble:
            answer.troubles.append(trouble)


def _on_another_cluster(cluster: str, here: str, group: list[Submission]) -> Exception:
    from pointillist.cluster.errors import SchedulerNotPresent

    tasks = sum(len(one.elements[number]) for one in group for number in one.open_elements())
    return SchedulerNotPresent(
        f"{counted(tasks, 'task is', 'tasks are')} on cluster {cluster}; this machine speaks to cluster {here}.",
        hint="What is queued or running there is not known here, and is left alone.",
    )


def _in_the_queue(scheduler: Scheduler, one: Submission) -> str:
    """Return the name of a submission as the queue has it; signac-flow hands its own over as they are."""
    return one.name if one.is_inherited else scheduler.queue_name(one.name)


def _found(scheduler: Scheduler, group: list[Submission], dead: set[str]) -> dict[str, dict[str, ClusterJob]]:
    """Return the cluster jobs of each submission, by its name."""
    of_id: dict[str, list[Submission]] = {}
    of_name: dict[str, list[Submission]] = {}
    for one in group:
        if one.id is not None:
            of_id.setdefault(one.id, []).append(one)
        else:
            of_name.setdefault(_in_the_queue(scheduler, one), []).append(one)
    found: dict[str, dict[str, ClusterJob]] = {one.name: {} for one in group}
    doubtful = [one for one in group if one.id is None and one.writer in dead]
    for one_id, job in _patiently(scheduler, None if doubtful else list(of_id)).items():
        for one in (*of_id.get(job.job_id, ()), *of_name.get(job.name, ())):
            found[one.name][one_id] = job
    nameless = [one for one in doubtful if not found[one.name]]
    if nameless:
        for one_id, job in scheduler.query_names([_in_the_queue(scheduler, one) for one in nameless]).items():
            for one in of_name.get(job.name, ()):
                found[one.name][one_id] = job
    missing = [
        str(one.element_id(number))
        for one in group
        if one.id is not None
        for number in one.open_elements()
        if one.element_id(number) not in found[one.name]
    ]
    if missing:
        for one_id, job in scheduler.history(missing).items():
            for one in of_id.get(job.job_id, ()):
                found[one.name].setdefault(one_id, job)
    return found


def _patiently(scheduler: Scheduler, ids: list[str] | None) -> dict[str, ClusterJob]:
    """Ask, and once more when the scheduler was only in trouble for a moment."""
    from pointillist.cluster.errors import SchedulerUnavailable

    try:
        return scheduler.query(ids)
    except SchedulerUnavailable as trouble:
        if trouble.timed_out:
            raise
        time.sleep(PAUSE_S)
        return scheduler.query(ids)
