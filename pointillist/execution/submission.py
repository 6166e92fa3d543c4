"""Hand tasks to a scheduler: prepare parcels and their scripts, then submit them, each recorded before and after.

Nothing is handed over twice: only one ``submit`` of a project is at work at a time, it plans with what the scheduler
has just said, and a task of which it is not known where it is stays where it is. Nothing is lost: the intent is on the
disk before the scheduler is asked, and its answer as soon as there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pointillist.cluster.errors import (
    ClusterError,
    NoPartitionFits,
    RequestError,
    SchedulerUnavailable,
    SubmissionRejected,
)
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request
from pointillist.definition.directives import evaluate
from pointillist.definition.groups import job_operation_id
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.execution.chains import chained
from pointillist.execution.following import ledger_of
from pointillist.execution.needs import Needs, needs_of
from pointillist.execution.parcels import Element, Line, Parcel, elements_of, parcels_of
from pointillist.execution.scripts import Renderer, Script, ScriptLine, ScriptProject, carries_array, run_command
from pointillist.state.place import SUBMISSION_VARIABLE
from pointillist.state.plan import State
from pointillist.state.submissions import LedgerWriter, Submission

if TYPE_CHECKING:
    from pointillist.cluster.environments import ComputeEnvironment
    from pointillist.cluster.schedulers.base import Scheduler
    from pointillist.project import FlowProject
    from pointillist.state.plan import Plan, Task

TRIES = 3
PAUSE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How a user wants tasks submitted.

    Attributes
    ----------
    bundle
        Tasks to one cluster job; None for all together.
    parallel
        Whether the tasks of a bundle run at the same time; a number says how many at most.
    num
        How many tasks at most.
    everything
        Also what will become eligible when the rest is done, chained to it.
    retry_failed
        Submit failed tasks again.
    arrays
        Let elements that ask for the same go up as one array.
    at_once
        How many elements of an array may run at a time.
    force
        Skip the checks of partitions and of templates.
    hold, after, output, partition
        As the scheduler has them.
    flags
        Further words for the scheduler's submit command.
    template
        Of the scripts.
    on_execution
        Which conditions the cluster job does not ask.
    options
        What else the templates may use.
    """

    bundle: int | None = 1
    parallel: bool | int = False
    num: int | None = None
    everything: bool = False
    retry_failed: bool = False
    arrays: bool = True
    at_once: int | None = None
    force: bool = False
    hold: bool = False
    after: Sequence[str] = ()
    output: str = ""
    partition: str = ""
    flags: Sequence[str] = ()
    template: str = "script.sh"
    on_execution: IgnoreConditions = IgnoreConditions.NONE
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Parts:
    """A parcel ready to be handed over."""

    parcel: Parcel
    request: Request
    text: str
    script: str
    """Path relative to the project."""

    @property
    def name(self) -> str:
        """Its name in the queue."""
        return self.request.name

    @property
    def cluster_jobs(self) -> int:
        """How many cluster jobs it makes."""
        return len(self.parcel.elements)


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

    @property
    def tasks(self) -> int:
        """How many tasks."""
        return sum(len(one.parcel.tasks) for one in self.parts)

    @property
    def cluster_jobs(self) -> int:
        """How many cluster jobs."""
        return sum(one.cluster_jobs for one in self.parts)

    def hours(self, what: Callable[[Request], int]) -> float | None:
        """Return core- or GPU-hours at most; None when some request has no time limit."""
        total = 0.0
        for one in self.parts:
            count = what(one.request)
            if count and one.request.walltime_s is None:
                return None
            total += count * one.cluster_jobs * (one.request.walltime_s or 0) / 3600
        return total


@contextlib.contextmanager
def submitting(
    project: FlowProject, on_wait: Callable[[], None] = lambda: None, *, pretend: bool = False
) -> Iterator[None]:
    """Be the only one who submits in a project; plan only within this. Who pretends need not be, and writes nothing."""
    # A cluster job that submits is as any other submitter: it looks at the whole ledger.
    os.environ.pop(SUBMISSION_VARIABLE, None)
    if pretend:
        yield
        return
    os.makedirs(project.state_folder, exist_ok=True)
    handle = os.open(os.path.join(project.state_folder, "submit.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def prepare(project: FlowProject, plan: Plan, wants: Callable[[Task], bool], wishes: Wishes) -> Prepared:
    """Decide what to submit, and write the scripts, on paper only."""
    environment: type[ComputeEnvironment] = project._environment
    scheduler = environment.script_scheduler()
    prepared = Prepared()
    startable, failed = _startable(plan, wants, wishes, prepared)
    after: dict[tuple[str, str], set[tuple[str, str]]] = {}
    tasks = startable
    if wishes.everything:

        def is_there(key: tuple[str, str]) -> bool:
            where = plan.on_cluster(key)
            return where is not None and where.submission.id is not None

        after = chained(plan, startable, wants=wants, is_there=is_there)
        found = {key: plan.find(*key) for key in after}
        tasks = [task for task in found.values() if task is not None]
    tasks = tasks[: wishes.num]
    if not tasks:
        return prepared
    kept = {task.key for task in tasks}
    after = {key: {one for one in before if one in kept or plan.on_cluster(one)} for key, before in after.items()}
    needs = _Needs(plan)
    elements = elements_of(
        tasks,
        needs_of=needs.needs,
        bundle=wishes.bundle,
        parallel=wishes.parallel,
        retried=lambda task: task.key in failed,
        after=after,
    )
    maker = _Maker(project, plan, environment, scheduler, wishes, needs)
    for parcel in maker.parcels(elements):
        try:
            prepared.parts.append(maker.make(parcel))
        except (NoPartitionFits, RequestError) as error:
            prepared.refused.append(error)
    return prepared


def _startable(
    plan: Plan, wants: Callable[[Task], bool], wishes: Wishes, prepared: Prepared
) -> tuple[list[Task], set[tuple[str, str]]]:
    startable, failed = [], set()
    for task in plan.tasks_in([State.QUEUED, State.RUNNING, State.ELIGIBLE, State.FAILED]):
        if not wants(task):
            continue
        state = plan.state(task)
        where = plan.on_cluster(task.key)
        if where is not None:
            prepared.present += 1
            prepared.unknown += where.presence.value == "unknown"
        elif state is State.ELIGIBLE or (state is State.FAILED and wishes.retry_failed):
            startable.append(task)
            if state is State.FAILED:
                failed.add(task.key)
    return startable, failed


class _Needs:
    """Directives of tasks and what they need; worked out once an operation where they do not depend on the jobs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._known: dict[object, tuple[dict[str, Any], Needs]] = {}
        self._varying: dict[str, bool] = {}

    def _of(self, task: Task) -> tuple[dict[str, Any], Needs]:
        name = task.operation.name
        varies = self._varying.get(name)
        if varies is None:
            varies = self._varying[name] = any(map(callable, task.operation.directives.values()))
        key = task.key if varies else name
        found = self._known.get(key)
        if found is None:
            directives = _directives(self._plan, task)
            found = self._known[key] = directives, needs_of(directives)
        return found

    def directives(self, task: Task) -> dict[str, Any]:
        """Return the evaluated directives of a task."""
        return self._of(task)[0]

    def needs(self, task: Task) -> Needs:
        """Return what a task needs."""
        return self._of(task)[1]


def _directives(plan: Plan, task: Task) -> dict[str, Any]:
    operation = task.operation
    return evaluate(
        operation.directives,
        lambda: tuple(plan.workspace.job(i) for i in task.aggregate.job_ids),
        operation=operation.name,
    )


class _Maker:
    """Makes requests and scripts of parcels."""

    def __init__(
        self,
        project: FlowProject,
        plan: Plan,
        environment: type[ComputeEnvironment],
        scheduler: Scheduler | None,
        wishes: Wishes,
        needs: _Needs,
    ) -> None:
        self._project = project
        self._plan = plan
        self._environment = environment
        self._scheduler = scheduler
        self._wishes = wishes
        self._needs = needs
        folders = [os.path.join(project.path, "templates")]
        self._renderer = Renderer(folders, environment, _config(project))

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
        name = "/".join([type(self._project).__name__[:12], file[:40], token])
        request = self._request(parcel, name, f"{file}-{token}")
        text = self._render(parcel, request)
        script = os.path.join(os.path.relpath(self._project.state_folder, self._project.path), "scripts")
        return Parts(parcel, request, text, os.path.join(script, f"{file}-{token}.sh"))

    def _request(self, parcel: Parcel, name: str, stem: str) -> Request:
        needs, wishes = parcel.first.needs, self._wishes
        array = None
        if len(parcel.elements) > 1:
            array = Array(len(parcel.elements), limit=wishes.at_once)
        output = wishes.output
        if not output and self._scheduler is not None:
            folder = os.path.join(os.path.relpath(self._project.state_folder, self._project.path), "logs", "cluster")
            output = self._scheduler.output_pattern(os.path.join(folder, stem), array=array is not None)
        request = Request(
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
        return request if wishes.force else self._environment.place(request)

    def _render(self, parcel: Parcel, request: Request) -> str:
        element = parcel.first
        is_array = request.array is not None
        lines, first = [], 0
        for line in element.lines:
            end = first + len(line.tasks)
            slots = (first, -1 if len(element.lines) == 1 else end) if is_array else None
            lines.append(self._line(line, slots, len(parcel.elements)))
            first = end
        script = Script(
            project=ScriptProject(path=self._project.path, name=type(self._project).__name__),
            environment=self._environment,
            request=request,
            lines=lines,
            elements=[[task.aggregate.id for task in one.tasks] for one in parcel.elements] if is_array else None,
            parallel=bool(self._wishes.parallel) and len(lines) > 1,
            template=self._wishes.template,
            options=self._wishes.options | {"partition": request.partition or None},
        )
        return self._renderer.render(script, self._scheduler)

    def _line(self, line: Line, slots: tuple[int, int] | None, elements: int) -> ScriptLine:
        name = line.operation.name
        directives = self._needs.directives(line.tasks[0])
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
        count = f"{len(ids)} tasks in one process" if len(ids) > 1 else ids[0]
        return ScriptLine(
            name=name,
            id=job_operation_id(type(self._project).__name__, self._project.path, ids[0], [name]),
            cmd=command,
            directives=dict(directives),
            what=f"{name}: {count if slots is None else f'element of {elements}'}",
            _jobs=_LazyJobs(self._plan, line.tasks[0]),
        )

    def _template_takes_arrays(self, parcel: Parcel) -> bool:
        """Whether a script keeps the lines that make it an array; a template may replace them all."""
        assert self._scheduler is not None
        request = replace(self._request(parcel, "array", "array"), array=Array(2))
        of_array = set(self._scheduler.header_lines(request))
        needed = of_array - set(self._scheduler.header_lines(replace(request, array=None)))
        text = self._render(Parcel(parcel.elements[:2]), request)
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


def _config(project: FlowProject) -> Callable[[str], Any]:
    def look(key: str) -> Any:
        value: Any = project.signac_project.config
        for part in key.split("."):
            try:
                value = value[part]
            except (KeyError, TypeError):
                return None
        return value

    return look


# ---------------------------------------------------------------------------- handing over


@dataclass
class Outcome:
    """What became of a submission."""

    accepted: list[Submission] = field(default_factory=list)
    refused: list[ClusterError] = field(default_factory=list)
    trouble: ClusterError | None = None
    """The scheduler stopped answering."""
    left: int = 0
    """Tasks that were not handed over because of trouble."""
    was_interrupted: bool = False


def hand_over(
    project: FlowProject,
    prepared: Prepared,
    wishes: Wishes,
    *,
    on_accepted: Callable[[Parts, Submission], None] = lambda parts, submission: None,
) -> Outcome:
    """Submit what was prepared, and say what became of it.

    Raises
    ------
    NoSchedulerError
        When the environment has none.
    """
    environment: type[ComputeEnvironment] = project._environment
    scheduler = environment.get_scheduler()
    ledger = ledger_of(project)
    session = project.sessions().open()
    writer = LedgerWriter(ledger, session)
    outcome = Outcome()
    made: dict[Parcel, Submission] = {}
    flags = [*(environment.submit_flags or ()), *wishes.flags]
    try:
        with _patience() as stop:
            for number, parts in enumerate(prepared.parts):
                if stop.is_set():
                    outcome.was_interrupted = True
                    outcome.left = sum(len(one.parcel.tasks) for one in prepared.parts[number:])
                    break
                request = _with_dependencies(parts, made, ledger, scheduler)
                if request is None:
                    outcome.refused.append(
                        SubmissionRejected(f"'{parts.name}' waits for something that was not submitted.")
                    )
                    continue
                submission = _submission(project, parts, request, session.id, environment, scheduler, made)
                try:
                    cluster_id = _submit(project, parts, request, submission, scheduler, writer, flags)
                except SubmissionRejected as error:
                    writer.withdraw(submission.name, error.words)
                    outcome.refused.append(error)
                except SchedulerUnavailable as trouble:
                    if not trouble.may_have_acted:
                        writer.withdraw(submission.name, str(trouble))
                    outcome.trouble = trouble
                    outcome.left = sum(len(one.parcel.tasks) for one in prepared.parts[number:])
                    break
                else:
                    writer.accept(submission.name, cluster_id)
                    submission.id = cluster_id
                    made[parts.parcel] = submission
                    outcome.accepted.append(submission)
                    on_accepted(parts, submission)
    finally:
        writer.close()
        session.close()
    return outcome


def _submit(
    project: FlowProject,
    parts: Parts,
    request: Request,
    submission: Submission,
    scheduler: Scheduler,
    writer: LedgerWriter,
    flags: Sequence[str],
) -> str:
    path = os.path.join(project.path, parts.script)
    _write(path, parts.text)
    if submission.output:
        os.makedirs(os.path.dirname(os.path.join(project.path, submission.output)), exist_ok=True)
    writer.intend(submission)
    for number in range(1, TRIES + 1):
        try:
            return scheduler.submit(path, request, flags=flags, cwd=project.path)
        except SchedulerUnavailable as trouble:
            if trouble.may_have_acted or number == TRIES:
                raise
            time.sleep(PAUSE_S * number)
    raise AssertionError


def _with_dependencies(
    parts: Parts, made: dict[Parcel, Submission], ledger: Any, scheduler: Scheduler
) -> Request | None:
    """Return the request with the ids of what it waits for; None when something of that is not there."""
    parcel, request = parts.parcel, parts.request
    if any(one not in made for one in (*parcel.elementwise, *parcel.whole)):
        return None
    after = list(request.after)
    after += [Dependency(After.OK, str(made[one].id)) for one in parcel.whole]
    for key in sorted(parcel.outside):
        last = ledger.last(key)
        if last is not None and last[0].element_id(last[1]):
            after.append(Dependency(After.OK, str(last[0].element_id(last[1]))))
    if len(after) > 20:
        # Long lists are more than schedulers take; the whole arrays stand for their elements.
        after = list({d.job_id.split("_")[0]: replace(d, job_id=d.job_id.split("_")[0]) for d in after}.values())
    own = [Dependency(After.ELEMENTWISE, str(made[one].id)) for one in parcel.elementwise]
    asked = replace(request, after=(*after, *own))
    try:
        scheduler.submit_arguments(asked)
    except RequestError:
        asked = replace(request, after=(*after, *(replace(one, kind=After.OK) for one in own)))
    return asked


def _submission(
    project: FlowProject,
    parts: Parts,
    request: Request,
    writer: str,
    environment: type[ComputeEnvironment],
    scheduler: Scheduler,
    made: dict[Parcel, Submission],
) -> Submission:
    asked = {name: value for name, value in asdict(request).items() if value not in (None, "", (), [])}
    return Submission(
        parts.name,
        writer,
        time.time(),
        scheduler.name,
        environment.__name__,
        [[task.key for task in element.tasks] for element in parts.parcel.elements],
        request.array is not None,
        parts.script,
        request.output,
        asked,
        [made[one].name for one in (*parts.parcel.elementwise, *parts.parcel.whole)],
    )


def _write(path: str, text: str) -> None:
    """Write a script whole or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    draft = f"{path}.draft"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, 0o755)
    os.rename(draft, path)


@contextlib.contextmanager
def _patience() -> Iterator[threading.Event]:
    """Turn Ctrl-C into a wish to stop after the submission that is under way."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def wishes_of(
    bundle_size: int,
    num: int | None,
    parallel: bool | int,
    force: bool,
    on_execution: IgnoreConditions,
    options: dict[str, Any],
) -> Wishes:
    """Return the wishes of a call from Python."""
    after = options.get("after") or ()
    return Wishes(
        bundle=bundle_size or None,
        num=num,
        parallel=parallel,
        force=force,
        on_execution=on_execution,
        everything=bool(options.get("everything", False)),
        retry_failed=bool(options.get("retry_failed", False)),
        arrays=bool(options.get("arrays", True)),
        at_once=options.get("at_once"),
        hold=bool(options.get("hold", False)),
        after=[after] if isinstance(after, str) else list(after),
        output=options.get("job_output") or "",
        partition=options.get("partition") or "",
        flags=list(options.get("flags") or ()),
        template=options.get("template") or "script.sh",
        options={name: value for name, value in options.items() if name != "flags"} | {"force": force},
    )


def submit_project(
    project: FlowProject,
    *,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions,
    wishes: Wishes,
    pretend: bool,
) -> list[Submission]:
    """Submit a project from Python; see :meth:`pointillist.project.FlowProject.submit`."""
    from pointillist.execution.api import planned

    with submitting(project, pretend=pretend):
        plan, selection = planned(project, jobs, names, ignore_conditions)
        prepared = prepare(project, plan, selection.wants, wishes)
        if pretend:
            for parts in prepared.parts:
                print(parts.text)
            return []
        if prepared.refused:
            raise prepared.refused[0]
        if not prepared.parts:
            return []
        outcome = hand_over(project, prepared, wishes)
    if outcome.was_interrupted:
        raise KeyboardInterrupt
    if outcome.trouble is not None:
        raise outcome.trouble
    if outcome.refused:
        raise outcome.refused[0]
    return outcome.accepted
