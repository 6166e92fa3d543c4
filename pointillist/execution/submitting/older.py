"""Cluster jobs that signac-flow has submitted, before the project came here.

It remembers in the project document (``_status``) what it has handed over, by ids that are the names of cluster jobs,
and in ``.bundles`` which of them ever went up together. What of that is in the queue enters the ledger, as submissions
of which the scheduler's answer was lost: like any of those they are found by their names, and followed. That is looked
for once, and again when the document has changed since: some try a project with both before they change over.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pointillist.execution.submitting.asking import Asking
from pointillist.state.older import older_ids
from pointillist.state.rests import Rests
from pointillist.state.submissions import Ledger, LedgerWriter, Submission
from pointillist.state.tasks import TaskKey

if TYPE_CHECKING:
    from pointillist.study import Study

_IN_THE_QUEUE = range(4, 8)
"""What signac-flow writes for submitted, held, queued and active."""

_NOBODY = "signac-flow"
"""The session that has submitted it: none of ours, and none that lives."""

_AGGREGATE = re.compile(r"agg-[0-9a-f]{32}|[0-9a-f]{32}")


def stored_status(project: Study) -> dict[str, int]:
    """Return the scheduler status of tasks by their ids, as signac-flow has last written it down."""
    try:
        with open(_document(project), "rb") as file:
            content = file.read()
        # Every command asks, and hardly any document has it.
        status = json.loads(content).get("_status", {}) if b'"_status"' in content else {}
    except (OSError, ValueError, AttributeError):
        return {}
    return dict(status) if isinstance(status, dict) else {}


def inherit(project: Study, ledger: Ledger) -> None:
    """Enter into the ledger what signac-flow has left in the queue, unless its own record is as it was last time.

    Where there is no scheduler nothing is entered: nobody could ever say what became of it.
    """
    done = os.path.join(ledger.path, f"inherited by {type(project).__name__}")
    seen = _modified(_document(project))
    if seen is None or seen == _modified(done):
        return
    queued = {known_as for known_as, status in stored_status(project).items() if status in _IN_THE_QUEUE}
    scheduler = project._environment.script_scheduler() if queued else None
    if scheduler is None:
        return
    candidates = [one for one in _submissions(project, queued, scheduler.name) if not _is_followed(ledger, one)]
    answer = Asking(project._environment, project.sessions(), Rests(project.state_folder)).ask(candidates)
    # Whoever may only look at the project can submit nothing either.
    with contextlib.suppress(OSError), contextlib.closing(project.sessions().open()) as session:
        writer = LedgerWriter(ledger, session, each_at_once=False)
        for one in candidates:
            jobs, known = answer.jobs.get(one.name), ledger.find(one.name)
            # What the scheduler can't be asked about may be there.
            if jobs is None or any(not job.state.is_final for job in jobs.values()):
                # What was learnt of an earlier cluster job of that name is not about this one.
                writer.intend(replace(one, writer=session.id, time=0.0 if known is None else answer.asked))
        writer.close()
        os.makedirs(ledger.path, exist_ok=True)
        with open(done, "w"):
            pass
        os.utime(done, ns=(seen, seen))


def _document(project: Study) -> str:
    return os.path.join(project.path, "signac_project_document.json")


def _modified(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _submissions(project: Study, queued: set[str], scheduler: str) -> Iterator[Submission]:
    """Yield the cluster jobs that may be in the queue; nobody has written down when they were submitted."""
    tasks, environment = _tasks_of(project, queued), project._environment.__name__
    for name, ids in _cluster_jobs(project, queued):
        element = [key for known_as in ids for key in tasks.get(known_as, ())]
        if element:
            yield Submission(name, _NOBODY, 0.0, scheduler, environment, [element], False, "", "", {})


def _is_followed(ledger: Ledger, one: Submission) -> bool:
    known = ledger.find(one.name)
    return known is not None and known.is_open


def _tasks_of(project: Study, ids: set[str]) -> dict[str, list[TaskKey]]:
    """Return the tasks that ids stand for: of an operation one, of a group those of its operations."""
    groups = project.definition.groups.values()
    older: dict[str, set[str]] = {}
    if any("agg-" in known_as for known_as in ids):
        older = older_ids(project.read_workspace(), [one for group in groups for one in group.operations.values()])
    tasks: dict[str, list[TaskKey]] = {}
    for known_as in ids:
        if found := _AGGREGATE.search(known_as):
            for group in groups:
                if project._job_operation_id(found[0], list(group.operations)) == known_as:
                    ours = sorted(older.get(found[0], {found[0]}))
                    tasks[known_as] = [(name, one) for one in ours for name in group.operations]
    return tasks


def _cluster_jobs(project: Study, queued: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each cluster job that may be there, and the ids in it.

    A bundle is never removed, so what was in one may since have gone up on its own, or in another.
    """
    folder = os.path.join(project.path, ".bundles")
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
                ids = [known_as for line in file if (known_as := line.strip()) in queued]
                if ids:
                    yield os.path.relpath(path, folder), ids
    for known_as in sorted(queued):
        yield known_as, [known_as]
