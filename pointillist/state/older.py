"""The ids that signac-flow has for aggregates.

It takes jobs in the order in which the file system lists their folders, and the id of an aggregate depends on the
order of its jobs. Lines that it has queued, and programs that hand over ``tuple(project)``, name aggregates so.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable

from pointillist.definition.asking import ask
from pointillist.definition.operations import Operation
from pointillist.errors import UserConditionError
from pointillist.state.workspace import Workspace


def older_ids(workspace: Workspace, operations: Iterable[Operation]) -> dict[str, set[str]]:
    """Return our ids of aggregates by those that signac-flow has on this machine.

    Where the order decides which jobs are together (``groupsof`` without ``sort_by``), one of its aggregates may be
    none of ours: then it stands for each of ours that has any of its jobs.
    """
    known = set(workspace.job_ids)
    if not known:
        return {}
    listed = [name for name in os.listdir(workspace.path) if name in known]
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for operation in operations:
        if operation.aggregator.is_single:
            continue
        try:
            ours, theirs = ask(
                lambda operation=operation: [  # type: ignore[misc]
                    operation.aggregator.aggregates(workspace, order) for order in (workspace.job_ids, listed)
                ],
                UserConditionError,
            )
        except UserConditionError:
            continue  # it has no aggregates at all, which others tell
        own = {frozenset(aggregate.job_ids): aggregate.id for aggregate in ours}
        with_job: defaultdict[str, set[str]] = defaultdict(set)
        for aggregate in ours:
            for job_id in aggregate.job_ids:
                with_job[job_id].add(aggregate.id)
        for aggregate in theirs:
            same = own.get(frozenset(aggregate.job_ids))
            ids[aggregate.id] |= {same} if same else set().union(*(with_job[job_id] for job_id in aggregate.job_ids))
    return ids
