"""Parameter studies over signac workspaces, on one machine and on clusters.

Declare operations with conditions on a subclass of :class:`FlowProject`, then ``python project.py status`` and ``run``.
"""

from pointillist.definition.aggregates import aggregator, get_aggregate_id
from pointillist.definition.conditions import false, has_keys, isfile, not_, true
from pointillist.definition.grid import grid, make_jobs
from pointillist.project import FlowProject

__version__ = "0.1.0"

Project = FlowProject

__all__ = [
    "FlowProject",
    "Project",
    "__version__",
    "aggregator",
    "false",
    "get_aggregate_id",
    "grid",
    "has_keys",
    "isfile",
    "make_jobs",
    "not_",
    "true",
]
