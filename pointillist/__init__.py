"""Parameter studies over signac workspaces, on one machine and on clusters.

Declare operations with conditions on a subclass of :class:`FlowProject`, then ``python project.py status`` and ``run``.
"""

from pointillist import directives
from pointillist.definition.aggregates import aggregator, get_aggregate_id
from pointillist.definition.conditions import false, has_keys, isfile, not_, true
from pointillist.definition.grid import grid
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.definition.labels import classlabel, label, staticlabel
from pointillist.definition.marks import cmd, with_job
from pointillist.later import names_from
from pointillist.project import FlowProject
from pointillist.state.making import make_jobs
from pointillist.uncaught import keep_short

__version__ = "0.1.0"

Project = FlowProject

# Loaded when somebody asks: commands that do not use them start faster.
_LATER = {
    "aggregates": "pointillist.aggregates",
    "environment": "pointillist.environment",
    "environments": "pointillist.environments",
    "errors": "pointillist.errors",
    "hooks": "pointillist.hooks",
    "labels": "pointillist.labels",
    "scheduling": "pointillist.scheduling",
    "template": "pointillist.template",
    "util": "pointillist.util",
    "get_environment": "pointillist.environment:get_environment",
    "init": "pointillist.cli.init:init",
    "redirect_log": "pointillist.execution.tracking:redirect_log",
}

__all__ = [
    "FlowProject",
    "IgnoreConditions",
    "Project",
    "__version__",
    "aggregator",
    "classlabel",
    "cmd",
    "directives",
    "environment",
    "environments",
    "errors",
    "false",
    "get_aggregate_id",
    "get_environment",
    "grid",
    "has_keys",
    "hooks",
    "init",
    "isfile",
    "label",
    "make_jobs",
    "not_",
    "redirect_log",
    "scheduling",
    "staticlabel",
    "true",
    "with_job",
]

__getattr__ = names_from(__name__, _LATER)

keep_short()
