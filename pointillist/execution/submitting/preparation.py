"""Prepare a submission on paper: which tasks, put together how, with which requests and scripts.

Writes nothing and asks the scheduler for nothing but the size of its arrays, so that ``submit --pretend`` is this and
nothing else.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pointillist.cluster.errors import ClusterError, NoPartitionFits, RequestError
from pointillist.cluster.schedulers import SCHEDULERS, scheduler_class
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request
from pointillist.execution.submitting.chains import chained
from pointillist.execution.submitting.parcels import Element, Line, Parcel, elements_of, parcels_of
from pointillist.execution.submitting.scripts import (
    Observed,
    Renderer,
    Script,
    ScriptLine,
    carries_array,
    passes_signal_on,
    run_command,
    unheeded,
)
from pointillist.execution.submitting.units import Units
from pointillist.execution.submitting.wishes import Wishes
from pointillist.state.submissions import Presence
from pointillist.state.tasks import State, TaskKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pointillist.cluster.environments import ComputeEnvironment
    from pointillist.cluster.schedulers.base import Scheduler
    from pointillist.definition.groups import Group
    from pointillist.state.plan import Plan
    from pointillist.state.tasks import Task
    from pointillist.study import Study


@dataclass
class Parts:
    """A parcel ready to be handed over."""

    parcel: Parcel
    request: Request
    text: str
    script: str
    """Path relative to the project."""
    elements: list[list[TaskKey]]
    """The tasks of each element; more than the parcel's where groups go up as one."""
    cores: int
    gpus: int
    """What each of its cluster jobs takes up, whole nodes where no less is given away."""

    command: str = ""
    """The line that hands the script over; empty where there is no scheduler."""

    @property
    def name(self) -> str:
        """Its name in the queue."""
        return self.request.name

    @property
    def shown(self) -> str:
        """The script as ``--pretend`` shows it, with the line that would hand it over."""
        return f"{self.text}\n# Submit command: {self.command}\n" if self.command else self.text

    @property
    def cluster_jobs(self) -> int:
        """How many cluster jobs it makes."""
        return len(self.elements)

    @property
    def tasks(self) -> int:
        """How many tasks they hold."""
        return sum(map(len, self.elements))


@dataclass
class Prepared:
    """Everything that a submission would hand over."""

    parts: list[Parts] = field(default_factory=list)
    refused: list[ClusterError] = field(default_factory=list)
    """What can't be submitted as it is."""
    unknown: int = 0
    """Tasks of which it is not known whether they are on the cluster."""
    present: int = 0
    """Tasks that are on the cluster already."""
    warnings: list[str] = field(default_factory=list)
    """What a script leaves out of what was asked for."""

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return sum(one.tasks for one in self.parts)

    @property
    def cluster_jobs(self) -> int:
        """How many cluster jobs."""
        return sum(one.cluster_jobs for one in self.parts)

    def hours(self, what: Callable[[Parts], int]) -> float | None:
        """Return core- or GPU-hours at most; None when some request has no time limit."""
        total = 0.0
        for one in self.parts:
            count = what(one)
            if count and one.request.walltime_s is None:
                return None
            total += count * one.cluster_jobs * (one.request.walltime_s or 0) / 3600
        return total


def prepare(
    project: Study,
    plan: Plan,
    wants: Callable[[Task], bool],
    wishes: Wishes,
    groups: Sequence[Group] = (),
) -> Prepared:
    """Decide what to submit, and write the scripts, on paper only; each of ``groups`` goes up as one."""
    environment: type[ComputeEnvironment] = project._environment
    scheduler = environment.script_scheduler() or _scheduler_of(wishes.template)
    prepared = Prepared()
    startable, failed = _startable(plan, wants, wishes, prepared)
    after: dict[TaskKey, set[TaskKey]] = {}
    tasks = startable
    if wishes.everything:

        def is_there(key: TaskKey) -> bool:
            where = plan.on_cluster(key)
            return where is not None and where.submission.id is not None

        after = chained(plan, startable, wants=wants, is_there=is_there)
        found = {key: plan.find(*key) for key in after}
        tasks = [task for task in found.values() if task is not None]
    units = Units(plan, groups)
    tasks, after = units.gathered(tasks, after)
    tasks = tasks[: wishes.num]
    if not tasks:
        return prepared
    kept = {task.key for task in tasks}
    after = {key: {one for one in before if one in kept or plan.on_cluster(one)} for key, before in after.items()}
    retried = {units.of(task).key for task in startable if task.key in failed}
    elements = elements_of(
        tasks,
        needs_of=units.needs,
        bundle=wishes.bundle,
        parallel=wishes.parallel,
        retried=lambda unit: unit.key in retried,
        after=after,
    )
    maker = _Maker(project, plan, environment, scheduler, wishes, units)
    for parcel in maker.parcels(elements):
        try:
            prepared.parts.append(maker.make(parcel))
        except (NoPartitionFits, RequestError) as error:
            prepared.refused.append(error)
    prepared.warnings = list(dict.fromkeys(maker.warnings))
    return prepared


def _scheduler_of(template: str) -> Scheduler | None:
    """Return the scheduler that a template is named after, to show its header where there is no scheduler."""
    name = template.removesuffix(".sh")
    return scheduler_class(name)() if name in SCHEDULERS else None


def _startable(
    plan: Plan, wants: Callable[[Task], bool], wishes: Wishes, prepared: Prepared
) -> tuple[list[Task], set[TaskKey]]:
    startable, failed = [], set()
    for task in plan.tasks_in([State.QUEUED, State.RUNNING, State.ELIGIBLE, State.FAILED]):
        if not wants(task):
            continue
        state = plan.state(task)
        where = plan.on_cluster(task.key)
        if where is not None:
            prepared.present += 1
            prepared.unknown += where.presence is Presence.UNKNOWN
        elif state is State.ELIGIBLE or (state is State.FAILED and wishes.retry_failed):
            startable.append(task)
            if state is State.FAILED:
                failed.add(task.key)
    return startable, failed


class _Maker:
    """Makes requests and scripts of parcels."""

    def __init__(
        self,
        project: Study,
        plan: Plan,
        environment: type[ComputeEnvironment],
        scheduler: Scheduler | None,
        wishes: Wishes,
        units: Units,
    ) -> None:
        self._project = project
        self._plan = plan
        self._environment = environment
        self._scheduler = scheduler
        self._wishes = wishes
        self._units = units
        self._folder = os.path.relpath(project.state_folder, project.path)
        """Of the engine's files, relative to the project."""
        self.warnings: list[str] = []
        self._renderer = Renderer([project.template_folder, *environment.template_folders()], environment)

    def parcels(self, elements: list[Element]) -> list[Parcel]:
        """Put elements together, in arrays where the scheduler and the template have them."""
        if not self._wishes.arrays or self._scheduler is None or len(elements) < 2:
            return parcels_of(elements, arrays=False)
        largest = None
        with contextlib.suppress(ClusterError):
            largest = self._scheduler.largest_array()
        parcels = parcels_of(elements, smallest=self._scheduler.smallest_array, largest=largest)
        several = next((one for one in parcels if len(one.elements) > 1), None)
        if several is None or self._template_takes_arrays(several):
            return parcels
        return parcels_of(elements, arrays=False)

    def make(self, parcel: Parcel) -> Parts:
        """Return a parcel with its request and its script."""
        token = secrets.token_hex(5)
        label = "+".join(parcel.operations)
        file = re.sub(r"[^\w.-]", "-", label, flags=re.ASCII)[:60]
        name = self._project._id_separator.join([type(self._project).__name__[:12], file[:40], token])
        request = self._request(parcel, name, f"{file}-{token}")
        if not self._wishes.force:
            request = self._environment.place(request)
        text, seen = self._render(parcel, request)
        self._look_for_unheeded(parcel, seen)
        if request.signal_before_s and not passes_signal_on(text):
            self.warnings.append(
                f"The template {self._wishes.template} replaces the body of the script: the signal before the time"
                " limit does not reach the work."
            )
        failed_too = self._wishes.retry_failed
        elements = [
            [task.key for unit in element.tasks for task in self._units.members(unit, failed_too=failed_too)]
            for element in parcel.elements
        ]
        path = os.path.join(self._folder, "scripts", f"{file}-{token}.sh")
        cores, gpus = self._environment.taken(request)
        return Parts(parcel, request, text, path, elements, cores, gpus, self._submit_command(request, path))

    def _submit_command(self, request: Request, path: str) -> str:
        if self._scheduler is None:
            return ""
        return self._scheduler.submit_line(path, request, self._environment.all_flags(self._wishes.flags))

    def _request(self, parcel: Parcel, name: str, stem: str) -> Request:
        needs, wishes = parcel.first.needs, self._wishes
        array = None
        if len(parcel.elements) > 1:
            array = Array(len(parcel.elements), limit=wishes.at_once)
        output = wishes.output
        if not output and self._scheduler is not None:
            stem = os.path.join(self._folder, "logs", "cluster", stem)
            output = self._scheduler.output_pattern(stem, array=array is not None)
        return Request(
            name=name,
            processes=needs.processes,
            threads_per_process=needs.threads,
            gpus_per_process=needs.gpus_per_process,
            gpus=needs.loose_gpus or None,
            memory_bytes=needs.memory_bytes,
            memory_per_core_bytes=needs.memory_per_core_bytes,
            walltime_s=needs.walltime_s,
            partition=wishes.partition,
            output=output,
            hold=wishes.hold,
            after=tuple(Dependency(After.OK, one) for one in wishes.after),
            array=array,
            signal_before_s=needs.signal_before_s,
            requeue=needs.requeue,
        )

    def _look_for_unheeded(self, parcel: Parcel, seen: set[str]) -> None:
        if self._scheduler is None:
            return
        for line in parcel.first.lines:
            for key in unheeded(self._units.declared(line.tasks[0]), seen):
                self.warnings.append(
                    f"The template {self._wishes.template} does not read the directive {key!r} of"
                    f" {line.operation.name}: {self._scheduler.name} is not asked for it."
                )

    def _render(self, parcel: Parcel, request: Request) -> tuple[str, set[str]]:
        """Return a script, and what its template has looked at."""
        element = parcel.first
        seen: set[str] = set()
        is_array = request.array is not None
        lines, first = [], 0
        for line in element.lines:
            end = first + len(line.tasks)
            slots = (first, -1 if len(element.lines) == 1 else end) if is_array else None
            lines.append(self._line(line, slots, len(parcel.elements), seen))
            first = end
        script = Script(
            project=self._project,
            environment=self._environment,
            request=request,
            lines=lines,
            elements=[[task.aggregate.id for task in one.tasks] for one in parcel.elements] if is_array else None,
            parallel=bool(self._wishes.parallel) and len(lines) > 1,
            template=self._wishes.template,
            options=self._wishes.options | {"partition": request.partition or None},
            seen=seen,
        )
        return self._renderer.render(script, self._scheduler), seen

    def _line(self, line: Line, slots: tuple[int, int] | None, elements: int, seen: set[str]) -> ScriptLine:
        name = line.operation.name
        names = self._units.operations(line.tasks[0])
        directives = self._units.directives(line.tasks[0])
        options = ["--retry-failed"] if line.retries else []
        if self._wishes.on_execution:
            options.append(f"--ignore-conditions={self._wishes.on_execution}")
        ids = [task.aggregate.id for task in line.tasks]
        command = run_command(
            self._project._entrypoint,
            name,
            None if slots is not None else ids,
            slots=slots,
            directives=directives,
            options=options,
        )
        command += f" {more}" if (more := self._units.submit_options(line.tasks[0])) else ""
        if slots is not None:
            what = f"{name}: element of {elements}"
        else:
            what = f"{name}: {len(ids)} tasks in one process" if len(ids) > 1 else f"{name}({ids[0]})"
        return ScriptLine(
            name=name,
            id=self._project._job_operation_id(ids[0], names),
            cmd=command,
            directives=Observed(directives, seen),
            what=what,
            _jobs=_LazyJobs(self._plan, line.tasks[0]),
        )

    def _template_takes_arrays(self, parcel: Parcel) -> bool:
        """Whether a script keeps the lines that make it an array; a template may replace them all."""
        assert self._scheduler is not None
        request = replace(self._request(parcel, "array", "array"), array=Array(2))
        of_array = set(self._scheduler.header_lines(request))
        needed = of_array - set(self._scheduler.header_lines(replace(request, array=None)))
        text, _ = self._render(Parcel(parcel.elements[:2]), request)
        return carries_array(text) and needed <= set(text.splitlines())


class _LazyJobs(tuple[Any, ...]):
    """The signac jobs of a line, opened when a template looks at them."""

    def __new__(cls, plan: Plan, task: Task) -> _LazyJobs:
        made = super().__new__(cls)
        made._open = lambda: [plan.workspace.job(i) for i in task.aggregate.job_ids]  # type: ignore[attr-defined]
        return made

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open())  # type: ignore[attr-defined]

    def __getitem__(self, index: Any) -> Any:
        return self._open()[index]  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self._open())  # type: ignore[attr-defined]
