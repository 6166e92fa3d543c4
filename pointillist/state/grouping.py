"""Groups of jobs, remembered between commands where nothing but ids and state points decides them.

An id is the hash of its state point, so for the same ids and the same parameters the groups are the same. As soon as a
function of the user's has a say, nothing is remembered.
"""

from __future__ import annotations

import hashlib
from array import array

from pointillist.definition.aggregates import Aggregate, aggregator
from pointillist.state import cache
from pointillist.state.workspace import Workspace


def aggregates_of(how: aggregator, workspace: Workspace) -> list[Aggregate]:
    """Group all jobs of a workspace."""
    ids = workspace.job_ids
    recipe = how.recipe
    path = workspace.cache_file("groups", len(ids)) if recipe is not None and not how.is_single else ""
    if not path:
        return how.aggregates(workspace, ids)
    jobs = hashlib.sha256("".join(ids).encode()).digest()
    remembered = cache.load(path)
    # Those of other jobs are of no use again.
    known = remembered[1] if remembered and remembered[0] == jobs else {}
    key = repr(recipe)
    if key not in known:
        found = how.aggregates(workspace, ids)
        places = {job_id: place for place, job_id in enumerate(ids)}
        members = array("Q", (places[job_id] for aggregate in found for job_id in aggregate.job_ids))
        sizes = array("Q", (len(aggregate.job_ids) for aggregate in found))
        known[key] = ([aggregate.id for aggregate in found], sizes.tobytes(), members.tobytes())
        cache.save(path, (jobs, known))
        return found
    aggregate_ids, sizes_data, members_data = known[key]
    members = array("Q", members_data)
    made, end = [], 0
    for aggregate_id, size in zip(aggregate_ids, array("Q", sizes_data), strict=True):
        begin, end = end, end + size
        made.append(Aggregate(aggregate_id, tuple([ids[place] for place in members[begin:end]])))
    return made
