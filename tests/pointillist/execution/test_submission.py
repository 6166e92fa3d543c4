"""What goes up as one, what waits for what, and what tasks need together."""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pointillist.cluster.schedulers.jobs import ClusterJob
from pointillist.definition.aggregates import Aggregate
from pointillist.definition.directives import evaluate
from pointillist.definition.operations import Operation
from pointillist.errors import DirectivesError
from pointillist.execution.submitting.asking import Answer, Asking
from pointillist.execution.submitting.blame import failed_by
from pointillist.execution.submitting.following import Following
from pointillist.execution.submitting.needs import Needs, at_once, needs_of, one_after_another
from pointillist.execution.submitting.parcels import elements_of, parcels_of
from pointillist.state.journal import Attempt, Outcome
from pointillist.state.rests import Rests
from pointillist.state.sessions import Sessions
from pointillist.state.submissions import Ending, Ledger, LedgerWriter, Submission
from pointillist.state.tasks import Task

GIB = 2**30


def tasks(name: str, count: int, **options: object) -> list[Task]:
    operation = Operation(name=name, function=print, directives={}, **options)  # type: ignore[arg-type]
    return [Task(operation, Aggregate(str(number), (str(number),))) for number in range(count)]


def plain(task: Task) -> Needs:
    return Needs(walltime_s=60)


@pytest.mark.parametrize(
    ("directives", "expected"),
    [
        ({}, Needs()),
        ({"np": 4}, Needs(threads=4)),
        ({"nranks": 4}, Needs(processes=4)),
        ({"nranks": 2, "omp_num_threads": 3}, Needs(processes=2, threads=3)),
        ({"nranks": 2, "np": 8}, Needs(processes=2, threads=4)),
        ({"np": 4, "processor_fraction": 0.5}, Needs(threads=2)),
        ({"ngpu": 2, "memory": "512m"}, Needs(loose_gpus=2, memory_bytes=GIB // 2)),
        ({"processes": 2, "gpus_per_process": 1}, Needs(processes=2, gpus_per_process=1)),
        ({"memory_per_core": 2, "np": 3}, Needs(threads=3, memory_per_core_bytes=2 * GIB)),
        ({"walltime": datetime.timedelta(seconds=90.5)}, Needs(walltime_s=91)),
        (
            {"walltime": 0.5, "requeue": True, "signal_before_s": 60},
            Needs(walltime_s=1800, requeue=True, signal_before_s=60),
        ),
    ],
)
def test_directives_become_needs(directives: dict[str, object], expected: Needs) -> None:
    assert needs_of(evaluate(directives)) == expected


def test_needs_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DirectivesError, match="processes"):
        needs_of(evaluate({"processes": "many"}))


def test_serial_needs_the_most_for_the_sum_of_the_times() -> None:
    small = Needs(threads=2, memory_bytes=GIB, walltime_s=60)
    large = Needs(processes=4, loose_gpus=1, memory_bytes=3 * GIB, walltime_s=30)
    together = one_after_another([small, large])
    assert (together.cores, together.gpus, together.memory, together.walltime_s) == (4, 1, 3 * GIB, 90)


def test_parallel_needs_the_sum_for_the_longest_time() -> None:
    small = Needs(threads=2, memory_bytes=GIB, walltime_s=60)
    large = Needs(processes=4, loose_gpus=1, memory_bytes=3 * GIB, walltime_s=30)
    together = at_once([small, large])
    assert (together.cores, together.gpus, together.memory, together.walltime_s) == (6, 1, 4 * GIB, 60)
    alike = at_once([small, small])
    assert (alike.processes, alike.threads) == (2, 2)


def test_alike_elements_go_up_as_one_array() -> None:
    (parcel,) = parcels_of(elements_of(tasks("a", 1000), needs_of=plain))
    assert len(parcel.elements) == 1000
    sizes = [len(one.elements) for one in parcels_of(elements_of(tasks("a", 25), needs_of=plain), largest=10)]
    assert sizes == [10, 10, 5]


def test_different_needs_go_up_apart_and_bundles_of_equals_are_formed_first() -> None:
    odd_needs = lambda task: Needs(walltime_s=60 + 60 * (int(task.aggregate.id) % 2))  # noqa: E731
    elements = elements_of(tasks("a", 8), needs_of=odd_needs, bundle=2)
    assert [one.needs.walltime_s for one in elements] == [120, 120, 240, 240]
    assert [len(one.elements) for one in parcels_of(elements)] == [2, 2]


def test_bundles_of_a_number_hold_one_operation_and_the_bundle_of_all_holds_several() -> None:
    both = [*tasks("a", 2), *tasks("b", 2)]
    held = lambda **how: [  # noqa: E731
        [line.operation.name for line in element.lines] for element in elements_of(both, needs_of=plain, **how)
    ]
    assert held(bundle=4) == [["a", "a"], ["b", "b"]]
    assert held(bundle=None) == [["a", "a", "b", "b"]]


def test_bundle_of_a_batch_is_one_line_and_of_others_one_each() -> None:
    (batch,) = elements_of(tasks("a", 6, batch=True), needs_of=plain, bundle=None)
    assert [len(line.tasks) for line in batch.lines] == [6]
    (limited,) = elements_of(tasks("a", 6, batch=4), needs_of=plain, bundle=None)
    assert [len(line.tasks) for line in limited.lines] == [4, 2]
    (others,) = elements_of(tasks("a", 6), needs_of=plain, bundle=None)
    assert [len(line.tasks) for line in others.lines] == [1] * 6
    (two,) = elements_of(tasks("a", 6), needs_of=plain, bundle=None, parallel=2)
    assert [len(line.tasks) for line in two.lines] == [3, 3]
    assert (two.needs.cores, two.needs.walltime_s) == (2, 180)


def test_chain_of_equal_arrays_waits_element_by_element_and_aggregates_for_all() -> None:
    first, second = tasks("a", 3), tasks("b", 3)
    last = Task(Operation(name="c", function=print, directives={}), Aggregate("all", ("0", "1", "2")))
    after = {b.key: {a.key} for a, b in zip(first, second, strict=True)} | {last.key: {b.key for b in second}}
    one, two, three = parcels_of(elements_of([*first, *second, last], needs_of=plain, after=after))
    assert (one.elementwise, one.whole) == ([], [])
    assert (two.elementwise, two.whole) == ([one], [])
    assert (three.elementwise, three.whole) == ([], [two])


def attempt(outcome: Outcome | None) -> Attempt:
    return Attempt("x", "a", "0", "s", 1.0, "", "host", 1, outcome=outcome)


@pytest.mark.parametrize(
    ("state", "attempts", "failed"),
    [
        ("timed out", {"0": Outcome.COMPLETED, "1": Outcome.INTERRUPTED}, {"1"}),
        ("timed out", {"0": None}, {"0"}),
        ("timed out", {}, {"0", "1", "2"}),
        ("failed", {"0": Outcome.FAILED}, set()),
        ("failed", {}, {"0", "1", "2"}),
        ("node failed", {"0": None}, set()),
        ("cancelled", {}, set()),
        ("completed", {}, set()),
        ("gone", {"0": None}, set()),
        ("gone", {}, set()),
    ],
)
def test_end_of_a_cluster_job_fails_what_it_should(
    state: str, attempts: dict[str, Outcome | None], failed: set[str]
) -> None:
    keys = [("a", str(number)) for number in range(3)]
    known = {("a", name): attempt(outcome) for name, outcome in attempts.items()}
    assert {name for _, name in failed_by(Ending(state), keys, known)} == failed


def test_forgotten_job_that_left_output_and_began_nothing_has_failed() -> None:
    assert failed_by(Ending("gone"), [("a", "0")], {}, left_output=True) == [("a", "0")]


def test_tasks_that_say_nothing_of_time_and_memory_add_nothing() -> None:
    known = Needs(walltime_s=60, memory_bytes=GIB)
    for together in (one_after_another([known, Needs(), known]), at_once([known, Needs()])):
        assert together.walltime_s == (120 if together.cores == 1 else 60)
        assert together.memory == GIB
    assert one_after_another([Needs(), Needs()]).walltime_s is None


class Forgetful:
    """A scheduler that answers a question about names only, and counts how often it is asked to spell one."""

    name = "slurm"
    spelled = 0

    def hurry(self, timeout_s: float) -> None:
        pass

    def query(self, ids: Any = None) -> dict[str, ClusterJob]:
        return {}

    def query_names(self, names: list[str]) -> dict[str, ClusterJob]:
        return {f"{n}": ClusterJob(id=f"{n}", name=name) for n, name in enumerate(names)}

    def queue_name(self, name: str) -> str:
        self.spelled += 1
        return name.upper()


def test_asking_for_names_costs_as_much_for_each_however_many_there_are(tmp_path: Path) -> None:
    scheduler = Forgetful()
    here = SimpleNamespace(__name__="Lab", script_scheduler=lambda: scheduler)
    count = 40
    opened = [
        Submission(f"n{n}", "dead", 0.0, "slurm", "Lab", [[("work", f"{n}")]], False, "script", "", {})
        for n in range(count)
    ]
    answer = Asking(here, Sessions(str(tmp_path)), Rests(str(tmp_path))).ask(opened)
    assert {name: [job.name for job in jobs.values()] for name, jobs in answer.jobs.items()} == {
        one.name: [one.name.upper()] for one in opened
    }
    assert scheduler.spelled <= 3 * count


class Broken:
    """Asks a scheduler of somebody's own making, which raises what it likes."""

    def ask(self, opened: list[Submission]) -> Answer:
        raise RuntimeError("no licence")


def test_what_a_question_put_ahead_raises_is_told_to_whoever_needs_the_answer(tmp_path: Path) -> None:
    ledger, sessions = Ledger(str(tmp_path / "submissions")), Sessions(str(tmp_path))
    with contextlib.closing(sessions.open()) as session:
        writer = LedgerWriter(ledger, session)
        writer.intend(Submission("n", session.id, 1.0, "slurm", "Lab", [[("work", "0")]], False, "script", "", {}))
        writer.close()
    following = Following(ledger, Broken(), sessions, Any, str(tmp_path))  # type: ignore[arg-type]
    following.start()
    with pytest.raises(RuntimeError, match="no licence"):
        following.of(Any, ("work", "0"))  # type: ignore[arg-type]
