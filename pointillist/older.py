"""What programs written for signac-flow's insides ask of a project, by its private names.

Each is a thin face of what the engine has; nothing of the engine uses them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import get_aggregate_id
from pointillist.definition.groups import choose
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.definition.older import ConditionsByFunction, HooksByFunction
from pointillist.study import Study

if TYPE_CHECKING:
    from pointillist.cluster.schedulers.older import JobStatus
    from pointillist.definition.older_directives import _Directives
    from pointillist.execution.submitting.scripts import ScriptLine


class OlderProject(Study):
    """A study that answers to the private names of signac-flow's projects."""

    _collect_preconditions = ConditionsByFunction("pre")
    _collect_postconditions = ConditionsByFunction("post")
    _OPERATION_HOOK_REGISTRY = HooksByFunction()

    @property
    def _label_functions(self) -> dict[Callable[..., Any], str]:
        return {label.function: label.name for label in self.definition.labels}

    def _reregister_aggregates(self) -> None:
        """Look at the jobs anew; there is nothing to do, because every command and question does."""

    def _get_default_directives(self) -> _Directives:
        from pointillist.definition.older_directives import default_directives

        return default_directives()

    def _get_submission_operations(
        self,
        aggregates: Iterable[tuple[Any, ...]],
        default_directives: Any = None,
        ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
        ignore_conditions_on_execution: IgnoreConditions = IgnoreConditions.NONE,
        names: Iterable[str] | None = None,
    ) -> Iterator[ScriptLine]:
        """Yield what could be submitted now, in the form that templates know: a line for each group and aggregate."""
        from pointillist.execution.submitting.scripts import ScriptLine, run_command

        options = [f"--ignore-conditions={ignore_conditions_on_execution}"] if ignore_conditions_on_execution else []
        groups = self.groups if names is None else {one.name: one for one in choose(names, self.groups)}
        several = {name: one.aggregator for name, one in groups.items() if not one.aggregator.is_single}
        stores = {name: set(one._create_AggregateStore(self)) for name, one in several.items()}
        for jobs in map(tuple, aggregates):
            aggregate_id = get_aggregate_id(jobs)
            for name, group in groups.items():
                is_one_of_its = aggregate_id in stores[name] if name in stores else len(jobs) == 1
                if is_one_of_its and group._eligible(jobs, ignore_conditions):
                    directives = group._get_submission_directives(default_directives or {}, jobs)
                    line = run_command(self._entrypoint, name, [aggregate_id], directives=directives, options=options)
                    yield ScriptLine(
                        name=name,
                        id=self._job_operation_id(aggregate_id, list(group.operations)),
                        cmd=f"{line} {group.submit_options}".rstrip(),
                        directives=directives,
                        what=f"{name}({aggregate_id})",
                        _jobs=jobs,
                    )

    def _query_scheduler_status(
        self, err: Any = None, ignore_errors: bool = False, status_parallelization: str = "none"
    ) -> dict[str, JobStatus]:
        """Return the state of each task that the scheduler knows, by its id; of one without a scheduler nothing."""
        from pointillist.cluster.schedulers.older import JobStatus
        from pointillist.errors import NoSchedulerError, SubmitError

        try:
            found = self.scheduler_jobs(self._environment.get_scheduler())
            return {job.name(): job.status() or JobStatus.unknown for job in found}
        except NoSchedulerError:
            return {}
        except SubmitError as error:
            if not ignore_errors:
                raise
            print(f"{error}", file=err or sys.stderr)
            return {}

    def _get_cached_scheduler_status(self) -> dict[str, int]:
        """Return what was last known of each task on a cluster, by its id, without asking the scheduler."""
        from pointillist.execution.questions import remembered_status

        return remembered_status(self)

    def _fetch_status(
        self,
        aggregates: Iterable[tuple[Any, ...]] | None = None,
        err: Any = None,
        ignore_errors: bool = False,
        *_: Any,
        **__: Any,
    ) -> list[dict[str, Any]]:
        """Return a dictionary for each aggregate, as ``status --json`` of signac-flow has it."""
        from pointillist.execution.questions import status_of_aggregates

        return status_of_aggregates(self, aggregates)
