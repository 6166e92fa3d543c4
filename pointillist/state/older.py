"""The ids that signac-flow has for aggregates.

It takes jobs in the order in which the file system lists their folders, and the id of an aggregate depends on the
order of its jobs. Lines that it has queued, and programs that hand over ``tuple(project)``, name aggregates so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from pointillist.definition.asking import ask
from pointillist.definition.operations import Operation
from pointillist.errors import UserConditionError
from pointillist.state.workspace import Workspace


def older_ids(workspace: Workspace, operations: Iterable[Operation]) -> dict[str, str]:
    """Return our ids of aggregates by those that signac-flow has for the same jobs on this machine."""
    known = set(workspace.job_ids)
    if not known:
        return {}
    listed = [name for name in os.listdir(workspace.path) if name in known]
    ids: dict[str, str] = {}
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
        for aggregate in theirs:
            if (jobs := frozenset(aggregate.job_ids)) in own:
                ids[aggregate.id] = own[jobs]
    return ids
