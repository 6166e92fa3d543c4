"""Groups of jobs, remembered between commands where nothing but ids and state points decides them.

An id is the hash of its state point, so for the same ids and the same parameters the groups are the same. As soon as a
function of the user's has a say, nothing is remembered.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Iterable, Mapping

from pointillist.definition.aggregates import Aggregate, aggregator
from pointillist.state import cache
from pointillist.state.survey import YES
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


class Groups:
    """Groups of jobs, as places in a column of all jobs."""

    def __init__(self, groups: Iterable[tuple[str, ...]], places: Mapping[str, int]) -> None:
        groups = list(groups)
        self._members = [places[job_id] for group in groups for job_id in group]
        self._ends = list(itertools.accumulate(map(len, groups)))

    def __len__(self) -> int:
        return len(self._ends)

    def each(self, column: bytes | bytearray) -> bytes:
        """Say for each group whether a claim holds for each of its jobs; the first for which it does not decides."""
        spread = bytes(map(column.__getitem__, self._members))
        answers, begin = bytearray(), 0
        for end in self._ends:
            answers.append((spread[begin:end].lstrip(_TRUE) or _TRUE)[0])
            begin = end
        return bytes(answers)


_TRUE = bytes([YES])
