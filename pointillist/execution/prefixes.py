"""What goes before the command of a task, so that it gets its threads and ranks: the compute environment says it.

To choose an environment may mean to ask for the name of the machine and for its schedulers. So it is asked for when a
task has ranks, or when some environment has words of its own for every command; a laptop's `run` does neither.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pointillist.definition.asking import ask
from pointillist.errors import UserOperationError

if TYPE_CHECKING:
    from pointillist.execution.job_operations import JobOperation
    from pointillist.study import Study


def any_has_own(project: Study) -> bool:
    """Say whether the environment of a project, or any it may turn out to have, decides itself what goes before."""
    if "pointillist.cluster.environments" not in sys.modules:
        return False  # nobody has defined one
    from pointillist.cluster.environments import environments, has_own_prefix

    chosen = project._chosen_environment
    return any(map(has_own_prefix, environments() if chosen is None else [chosen]))


def prefix_of(operation: JobOperation, project: Study) -> str:
    """Return what goes before the command of a job-operation; empty, or with a blank at its end.

    Raises
    ------
    UserOperationError
        When an environment's own method raises.
    """
    directives = operation.directives
    if not (directives["nranks"] or any_has_own(project)):
        return f"export OMP_NUM_THREADS={directives['omp_num_threads']}; " if directives["omp_num_threads"] else ""
    environment = project._environment
    text: str = ask(
        lambda: environment.get_prefix(operation),
        lambda what: UserOperationError(f"The environment {environment.__name__} raised {what}."),
    )
    return text if not text or text[-1].isspace() else f"{text} "
