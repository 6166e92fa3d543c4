"""Hand prepared tasks to a scheduler: each submission recorded before and after.

Nothing is handed over twice: only one ``submit`` of a project is at work at a time, it plans with what the scheduler
has just said, and a task of which it is not known where it is stays where it is. Nothing is lost: the intent is on the
disk before the scheduler is asked, and its answer as soon as there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pointillist.cluster.environments import has_own_submit
from pointillist.cluster.errors import ClusterError, RequestError, SchedulerUnavailable, SubmissionRejected
from pointillist.cluster.schedulers.requests import After, Dependency, Request
from pointillist.errors import SubmitError
from pointillist.execution.planning import known_names, planned
from pointillist.execution.submitting.parcels import Parcel
from pointillist.execution.submitting.preparation import Parts, Prepared, prepare
from pointillist.execution.submitting.units import chosen_groups
from pointillist.execution.submitting.wishes import Wishes
from pointillist.state.place import SUBMISSION_VARIABLE
from pointillist.state.rests import Rests
from pointillist.state.submissions import LedgerWriter, Submission

if TYPE_CHECKING:
    from pointillist.cluster.environments import ComputeEnvironment
    from pointillist.cluster.schedulers.base import Scheduler
    from pointillist.definition.ignoring import IgnoreConditions
    from pointillist.study import Study

TRIES = 3
PAUSE_S = 1.0


@contextlib.contextmanager
def submitting(project: Study, on_wait: Callable[[], None] = lambda: None, *, pretend: bool = False) -> Iterator[None]:
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
        Rests(project.state_folder).end()
        yield
    finally:
        os.close(handle)


@dataclass
class Handover:
    """What became of a submission."""

    accepted: list[Submission] = field(default_factory=list)
    refused: list[ClusterError] = field(default_factory=list)
    trouble: ClusterError | None = None
    """The scheduler stopped answering."""
    left: int = 0
    """Tasks that were not handed over, because of trouble or because the user changed their mind."""
    was_interrupted: bool = False


def hand_over(
    project: Study,
    prepared: Prepared,
    wishes: Wishes,
    *,
    on_accepted: Callable[[Parts, Submission], None] = lambda parts, submission: None,
) -> Handover:
    """Submit what was prepared, and say what became of it.

    Raises
    ------
    NoSchedulerError
        When the environment has none.
    """
    environment: type[ComputeEnvironment] = project._environment
    scheduler = environment.get_scheduler()
    ledger = project.ledger()
    session = project.sessions().open()
    writer = LedgerWriter(ledger, session)
    outcome = Handover()
    made: dict[Parcel, Submission] = {}
    cluster = ""
    with contextlib.suppress(ClusterError):
        cluster = scheduler.cluster_name()
    try:
        with _patience() as stop:
            for number, parts in enumerate(prepared.parts):
                if stop.is_set():
                    outcome.was_interrupted = True
                    outcome.left = sum(one.tasks for one in prepared.parts[number:])
                    break
                request = _with_dependencies(parts, made, ledger, scheduler)
                if request is None:
                    outcome.refused.append(
                        SubmissionRejected(f"'{parts.name}' waits for something that was not submitted.")
                    )
                    continue
                submission = _submission(project, parts, request, session.id, environment, scheduler, made, cluster)
                try:
                    # Its command may outlive us and reach the scheduler later: until it has ended, our session lives.
                    hand_in = partial(scheduler.submit, cwd=project.path, keep_fds=[session.lock_fd])
                    cluster_id = _submit(project, parts, request, submission, writer, wishes, hand_in)
                except SubmissionRejected as error:
                    writer.withdraw(submission.name, error.words)
                    outcome.refused.append(error)
                except SchedulerUnavailable as trouble:
                    if not trouble.may_have_acted:
                        writer.withdraw(submission.name, str(trouble))
                    outcome.trouble = trouble
                    outcome.left = sum(one.tasks for one in prepared.parts[number:])
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
    project: Study,
    parts: Parts,
    request: Request,
    submission: Submission,
    writer: LedgerWriter,
    wishes: Wishes,
    hand_in: Callable[..., str],
) -> str:
    environment: type[ComputeEnvironment] = project._environment
    path = os.path.join(project.path, parts.script)
    _write(path, parts.text)
    if submission.output:
        os.makedirs(os.path.dirname(os.path.join(project.path, submission.output)), exist_ok=True)
    writer.intend(submission)
    for number in range(1, TRIES + 1):
        try:
            if has_own_submit(environment):
                return _by_own_way(environment, path, parts.text, request, wishes, hand_in)
            return hand_in(path, request, flags=environment.all_flags(wishes.flags))
        except SchedulerUnavailable as trouble:
            if trouble.may_have_acted or number == TRIES:
                raise
            time.sleep(PAUSE_S * number)
    raise AssertionError


def _by_own_way(
    environment: type[ComputeEnvironment],
    path: str,
    text: str,
    request: Request,
    wishes: Wishes,
    hand_in: Callable[..., str],
) -> str:
    """Submit by an environment's own method, which may change the script and the flags; return the scheduler's id."""
    ids: list[str] = []

    def hand_over(script: str, flags: Sequence[str]) -> None:
        if script != text:
            _write(path, script)
        ids.append(hand_in(path, request, flags=flags))

    options = wishes.options | {"_id": request.name, "flags": list(wishes.flags), "hand_over": hand_over}
    has_done_so: Any = None
    try:
        has_done_so = environment.submit(script=text, **options)
    except Exception as error:
        if not ids and isinstance(error, (SubmissionRejected, SchedulerUnavailable)):
            raise
        if not ids:
            words = str(error) if isinstance(error, SubmitError) else f"{type(error).__name__}: {error}"
            message = f"{environment.__name__} refused '{request.name}': {words}"
            raise SubmissionRejected(message, words=words) from error
    if ids:
        return ids[0]
    if has_done_so:
        raise SchedulerUnavailable(
            f"{environment.__name__} has submitted '{request.name}' by itself: it is looked for by its name.",
            may_have_acted=True,
        )
    raise SubmissionRejected(f"{environment.__name__} did not hand '{request.name}' over.")


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
    project: Study,
    parts: Parts,
    request: Request,
    writer: str,
    environment: type[ComputeEnvironment],
    scheduler: Scheduler,
    made: dict[Parcel, Submission],
    cluster: str,
) -> Submission:
    asked = {name: value for name, value in asdict(request).items() if value not in (None, "", (), [])}
    return Submission(
        parts.name,
        writer,
        time.time(),
        scheduler.name,
        environment.__name__,
        parts.elements,
        request.array is not None,
        parts.script,
        request.output,
        asked,
        [made[one].name for one in (*parts.parcel.elementwise, *parts.parcel.whole)],
        cluster,
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


def submit_project(
    project: Study,
    *,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions,
    wishes: Wishes,
    pretend: bool,
) -> list[Submission]:
    """Submit a project from Python; see :meth:`pointillist.project.FlowProject.submit`."""
    pretend = pretend or project._environment.only_shows()
    with submitting(project, pretend=pretend):
        names = known_names(project, names)
        plan, selection = planned(project, jobs, names, ignore_conditions)
        prepared = prepare(project, plan, selection.wants, wishes, chosen_groups(project.definition, names))
        for words in prepared.warnings:
            warnings.warn(words, stacklevel=3)
        if pretend:
            for parts in prepared.parts:
                print(parts.shown)
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
