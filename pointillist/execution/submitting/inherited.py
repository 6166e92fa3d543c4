"""Cluster jobs that signac-flow has submitted, before the project came here.

It remembers in the project document (``_status``) what it has handed over, by ids that are the names of cluster jobs,
and in ``.bundles`` which of them ever went up together. They enter the ledger as submissions of which the scheduler's
answer was lost: like any of those they are looked for in the queue by their names, then followed or withdrawn. That is
done once, and again when signac-flow has submitted since: some look at a project with both before they change over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pointillist.state.journal import TaskKey
from pointillist.state.older import older_ids
from pointillist.state.submissions import Ledger, LedgerWriter, Submission

if TYPE_CHECKING:
    from pointillist.study import Study

_IN_THE_QUEUE = range(4, 8)
"""What signac-flow writes for submitted, held, queued and active."""

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
    """Enter into the ledger what signac-flow has left in the queue, unless that was done before.

    Where there is no scheduler nothing is entered: nobody could ever say what became of it.
    """
    done = os.path.join(ledger.path, f"inherited by {type(project).__name__}")
    seen = _modified(_document(project))
    if seen is None or seen == _modified(done):
        return
    status = stored_status(project)
    queued = {known_as for known_as, code in status.items() if code in _IN_THE_QUEUE}
    scheduler = project._environment.script_scheduler() if queued else None
    if scheduler is None:
        return
    content = hashlib.sha256(json.dumps(status, sort_keys=True).encode()).hexdigest()
    # Whoever may only look at the project can submit nothing either.
    with contextlib.suppress(OSError):
        if not _says(done, content):
            _enter(project, ledger, queued, scheduler.name)
            os.makedirs(ledger.path, exist_ok=True)
            with open(done, "w") as file:
                file.write(content)
        os.utime(done, ns=(seen, seen))


def _document(project: Study) -> str:
    return os.path.join(project.path, "signac_project_document.json")


def _modified(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _says(path: str, content: str) -> bool:
    try:
        with open(path) as file:
            return file.read() == content
    except FileNotFoundError:
        return False


def _enter(project: Study, ledger: Ledger, queued: set[str], scheduler: str) -> None:
    tasks = _tasks_of(project, queued)
    environment = project._environment.__name__
    with contextlib.closing(project.sessions().open()) as session:
        writer = LedgerWriter(ledger, session, each_at_once=False)
        for name, ids in _cluster_jobs(project, queued):
            known = ledger.find(name)
            element = [key for known_as in ids for key in tasks.get(known_as, ())]
            if element and not (known is not None and known.is_open):
                # What was learnt of an earlier cluster job of that name is not about this one.
                now = 0.0 if known is None else time.time()
                writer.intend(Submission(name, session.id, now, scheduler, environment, [element], False, "", "", {}))
        writer.close()


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
