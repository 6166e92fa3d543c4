"""What is said of tasks on the cluster: where they are, why they wait, how they ended, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pointillist.errors import PointillistError
from pointillist.execution.submitting.following import NEXT_STEPS, Following
from pointillist.state.journal import Attempt, Outcome
from pointillist.state.place import Place
from pointillist.state.submissions import Ending, OnCluster, Presence, Submission
from pointillist.state.tasks import State
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.state.tasks import Task, TaskKey

SHOWN = 5


def remark(plan: Plan, task: Task) -> str:
    """Say where a task is on the cluster, or how its last cluster job ended when it did not end well."""
    where = plan.on_cluster(task.key)
    if where is not None:
        certainty = "perhaps in " if where.presence is Presence.UNKNOWN else ""
        return f"{certainty}cluster job {where.id}" + (f": {where.words}" if where.words else "")
    ended = _ended(plan, task)
    return "" if ended is None else ended[0].ending_in_words(ended[1])


def made_in(attempt: Attempt) -> str:
    """Say in which cluster job an attempt was made, and where; nothing of one that was made outside of any."""
    if attempt.cluster_job is None:
        return ""
    return f" in cluster job {attempt.cluster_job.id}" + (f" on {attempt.host}" if attempt.host else "")


def advice(plan: Plan, tasks: Iterable[Task]) -> list[str]:
    """Say what the schedulers did not tell, and what ended badly and why, each once."""
    texts = []
    alike: dict[tuple[str, str, str], list[tuple[Submission, int, Ending]]] = {}
    for task in tasks:
        state = plan.state(task)
        if state in (State.COMPLETED, State.RUNNING, State.QUEUED, State.BROKEN):
            continue
        ended = _ended(plan, task)
        if ended is not None:
            alike.setdefault((task.operation.name, ended[2].state, ended[2].words), []).append(ended)
    for (name, state_, words), found in list(alike.items())[:SHOWN]:
        submission, number, _ = found[0]
        count = "a task's" if len(found) == 1 else f"{len(found)} tasks'"
        step = NEXT_STEPS.get(state_, "python project.py submit")
        log = submission.output_of(number)
        texts.append(
            f"{name}: {count} cluster job {submission.element_id(number)} {state_}. {words}\n"
            + (f"  log: {log}\n" if log else "")
            + f"  next: {step}"
        )
    if len(alike) > SHOWN:
        texts.append(f"... and {counted(len(alike) - SHOWN, 'other kind')} of end; --detailed shows each.")
    for trouble in troubles(plan):
        texts.append(f"Warning: {trouble}" + (f"\n{trouble.hint}" if trouble.hint else ""))
    return texts


def present(plan: Plan) -> Mapping[TaskKey, OnCluster]:
    """Return where each task is that is on the cluster, also where the plan does not know it."""
    return plan.cluster.present(plan) if isinstance(plan.cluster, Following) else {}


def troubles(plan: Plan) -> list[PointillistError]:
    """Return why some of the cluster can't be seen."""
    found = plan.cluster.troubles if isinstance(plan.cluster, Following) else []
    return [error for error in found if isinstance(error, PointillistError)]


def document(plan: Plan, task: Task) -> dict[str, Any] | None:
    """Return what is known of a task on the cluster as plain data; None when it was never there."""
    where = plan.on_cluster(task.key)
    if where is not None:
        return {
            "id": where.id,
            "cluster": where.submission.cluster,
            "state": where.presence.value,
            "reason": where.words,
            "script": where.submission.script,
            "output": where.submission.output_of(where.element),
            "submitted": where.submission.submitted,
        }
    last = plan.cluster.ledger.last(task.key) if isinstance(plan.cluster, Following) else None
    if last is None:
        return None
    submission, number = last
    ending = submission.endings.get(number)
    return {
        "id": submission.element_id(number),
        "cluster": submission.cluster,
        "state": ending.state if ending else "unknown",
        "reason": ending.words if ending else "",
        "script": submission.script,
        "output": submission.output_of(number),
        "submitted": submission.submitted,
    }


def logs(plan: Plan, wanted: Iterable[TaskKey]) -> list[Attempt]:
    """Return what the last cluster job of each task wrote, in the shape of attempts."""
    if not isinstance(plan.cluster, Following):
        return []
    found = []
    for key in wanted:
        last = plan.cluster.ledger.last(key)
        if last is None or not last[0].output_of(last[1]):
            continue
        submission, number = last
        log, name = submission.output_of(number), f"{submission.name}-{number}"
        place = Place(str(submission.element_id(number)), submission.name, "")
        one = Attempt(name, *key, submission.writer, submission.time, log, "", 0, cluster_job=place)
        ending = submission.endings.get(number)
        if ending is not None:
            one.ended, one.host = ending.time, ending.node
            one.outcome = Outcome.COMPLETED if ending.state == "completed" else Outcome.FAILED
        found.append(one)
    return found


def _ended(plan: Plan, task: Task) -> tuple[Submission, int, Ending] | None:
    """Return the last cluster job of a task when it is over and did not end well."""
    if not isinstance(plan.cluster, Following) or plan.state(task) is State.COMPLETED:
        return None
    last = plan.cluster.ledger.last(task.key)
    if last is None:
        return None
    ending = last[0].endings.get(last[1])
    if ending is None or ending.state == "completed":
        return None
    attempt = plan.journal.last(*task.key)
    if attempt is not None and attempt.started > ending.time:
        return None  # it was tried again since, here
    return *last, ending
