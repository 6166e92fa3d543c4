"""The views of a status, as tables: counts of tasks, groups and labels; tasks one by one, stacked or one line a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pointillist.cli import on_cluster
from pointillist.cli.parameters import shown_values
from pointillist.cli.tables import STATE_STYLES, Cell, Styled, Table
from pointillist.cli.usage import USAGE_COLUMNS, usage_cells
from pointillist.definition.groups import Group
from pointillist.errors import BrokenJobError, PointillistError, UserConditionError
from pointillist.state.plan import Plan
from pointillist.state.tasks import State, Task

ALWAYS_SHOWN = (State.COMPLETED, State.ELIGIBLE, State.WAITING, State.RUNNING, State.FAILED)
BAR_WIDTH = 30
GLYPHS = {
    State.COMPLETED: ("X", "✔"),
    State.ELIGIBLE: ("+", "●"),
    State.WAITING: ("-", "○"),
    State.RUNNING: ("*", "▸"),
    State.QUEUED: (">", "▹"),
    State.FAILED: ("!", "✘"),
    State.BROKEN: ("?", "?"),
}


@dataclass
class GroupCount:
    """How far the aggregates of a group are."""

    group: Group
    aggregates: int = 0
    completed: int = 0
    eligible: int = 0


@dataclass
class Status:
    """What a status is about: the selected tasks, jobs and groups of a plan, with the labels the jobs wear."""

    plan: Plan
    tasks: Collection[Task]
    job_ids: list[str]
    groups: list[GroupCount] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=dict)
    label_names: list[str] = field(default_factory=list)
    """Of the labels that are worn by their names, or by no job: others give texts of their own."""
    is_whole: bool = False
    """Whether it is about every task of the plan: then they are counted without a look at each."""

    @cached_property
    def counts(self) -> dict[str, Counter[State]]:
        """How many tasks of each operation are in each state."""
        if self.is_whole:
            operations = self.plan.definition.operations.items()
            counted = {name: Counter(self.plan.count_states(operation)) for name, operation in operations}
            return {name: count for name, count in counted.items() if count.total()}
        counts = {task.operation.name: Counter[State]() for task in self.tasks}
        for task in self.tasks:
            counts[task.operation.name][self.plan.state(task)] += 1
        return counts

    def errors(self) -> list[PointillistError]:
        """Return each different error once: broken folders, conditions that could not be answered, the journal's."""
        errors: dict[str, PointillistError] = {str(error): error for error in self.plan.workspace.broken.values()}
        for error in self.plan.errors.values():
            errors.setdefault(str(error), error)
        if (trouble := self.plan.journal.trouble()) is not None:
            errors[str(trouble)] = trouble
        return list(errors.values())


def worn_labels(plan: Plan, job_ids: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the labels of each job, and the names of labels that give no other texts.

    A job whose label can't be worked out is noted as an error of the plan.
    """
    worn: dict[str, list[str]] = {}
    given: dict[str, set[str]] = {label.name: set() for label in plan.definition.labels}
    for job_id in job_ids if given else ():
        texts = set()
        for label in plan.definition.labels:
            try:
                text = label.of(plan.facts, job_id)
            except (BrokenJobError, UserConditionError) as error:
                plan.errors[label.name, job_id] = error
                continue
            if text is not None:
                texts.add(text)
                given[label.name].add(text)
        worn[job_id] = sorted(texts)
    return worn, [name for name, texts in given.items() if texts <= {name}]


def count_group(plan: Plan, group: Group, wanted: frozenset[str] | None) -> GroupCount:
    """Return how far the aggregates of a group are: complete when all its operations are, eligible when one is."""
    count = GroupCount(group)
    for aggregate in plan.aggregates_of(group):
        if wanted is not None and aggregate.id not in wanted:
            continue
        states = {plan.state(Task(operation, aggregate)) for operation in group.operations.values()}
        count.aggregates += 1
        count.completed += states == {State.COMPLETED}
        count.eligible += State.ELIGIBLE in states
    return count


def operation_table(status: Status, *, most: int | None = None, pretty: bool = False) -> tuple[Table, int]:
    """Return the table of operations with how many tasks are in each state, and how many rows were left out."""
    counts = status.counts
    total = sum(counts.values(), Counter[State]())
    shown = [state for state in State if state in ALWAYS_SHOWN or total[state]]
    shown.sort(key=lambda state: ALWAYS_SHOWN.index(state) if state in ALWAYS_SHOWN else len(ALWAYS_SHOWN))
    chosen = list(counts)
    if most is not None and len(chosen) > most:
        busiest = sorted(chosen, key=lambda name: -counts[name][State.ELIGIBLE])[:most]
        chosen = [name for name in chosen if name in busiest]
    rows: list[list[Cell]] = []
    for name in chosen:
        count = counts[name]
        cells = [Styled(str(count[s]), STATE_STYLES.get(s, "") if count[s] else "dim") for s in shown]
        rows.append([Styled(name, "bold") if pretty and count[State.ELIGIBLE] else name, *cells])
    names = [state.value for state in shown]
    return Table(["operation", *names], rows, numbers=names), len(counts) - len(rows)


def group_table(groups: Sequence[GroupCount]) -> Table:
    """Return the table of groups."""
    numbers = ["aggregates", "completed", "eligible"]
    rows = [
        [c.group.name, ", ".join(c.group.operations), str(c.aggregates), str(c.completed), str(c.eligible)]
        for c in groups
    ]
    return Table(["group", "operations", *numbers], rows, numbers=numbers)


def label_table(status: Status, *, most: int | None = None) -> tuple[Table, int]:
    """Return the table of labels with the share of jobs that wear each, and how many rows were left out."""
    counts = Counter(text for worn in status.labels.values() for text in worn)
    order = status.label_names
    jobs = len(status.job_ids)
    texts = sorted({*counts, *order}, key=lambda t: (order.index(t) if t in order else len(order), t))
    rows = []
    for text in texts[:most]:
        filled = round(BAR_WIDTH * counts[text] / jobs) if jobs else 0
        percent = 100 * counts[text] // jobs if jobs else 0
        rows.append([text, f"{'█' * filled}{'░' * (BAR_WIDTH - filled)} {counts[text]}/{jobs} ({percent} %)"])
    return Table(["label", "jobs"], rows), len(texts) - len(rows)


@dataclass
class Details:
    """Draws tasks one by one.

    Parameters
    ----------
    status
        What to draw.
    keys
        Parameters to show beside each task.
    width
        The most characters of a parameter's value.
    pretty
        Eligible operations in bold, states as symbols.
    """

    status: Status
    keys: Sequence[str] = ()
    width: int | None = None
    pretty: bool = False

    def each(self) -> Table:
        """One row a task, those of a job together, with what the last attempt at it took."""
        ordered = [task for tasks in self._by_aggregate() for task in tasks]
        remarks = [self._remark(task) for task in ordered]
        has_remarks = any(remarks)
        usages = [usage_cells(self.status.plan.journal.last(*task.key)) for task in ordered]
        usage_columns = USAGE_COLUMNS if any(map(any, usages)) else []
        rows = [
            [
                task.aggregate.id,
                self._operation(task),
                self._state(task),
                *usage[: len(usage_columns)],
                *self._beside(task),
                *([remark] * has_remarks),
            ]
            for task, usage, remark in zip(ordered, usages, remarks, strict=True)
        ]
        columns = ["job or aggregate", "operation", "state", *usage_columns, *self._headings(), *([""] * has_remarks)]
        return Table(columns, rows, numbers=usage_columns)

    def expanded(self) -> list[Table]:
        """Two tables: labels and parameters of each job; eligibility and state of each task."""
        first = {tasks[0].aggregate.id: tasks[0] for tasks in self._by_aggregate()}
        rows = [
            [
                task.aggregate.id,
                self._operation(task),
                "Y" if self.status.plan.state(task) is State.ELIGIBLE else "N",
                self._state(task),
            ]
            for task in self.status.tasks
        ]
        return [
            Table(["job or aggregate", *self._headings()], ([i, *self._beside(t)] for i, t in first.items())),
            Table(["job or aggregate", "operation", "eligible", "state"], rows),
        ]

    def stacked(self) -> Table:
        """A row for each job, and its tasks below it."""
        rows: list[list[Cell]] = []
        for tasks in self._by_aggregate():
            rows.append([tasks[0].aggregate.id, *self._beside(tasks[0])])
            for task in tasks:
                mark = GLYPHS[self.status.plan.state(task)][self.pretty]
                text = f"  {mark} {task.operation.name}"
                rows.append([Styled(text, self._state(task).style), *([""] * len(self._headings()))])
        return Table(["job or aggregate", *self._headings()], rows)

    def one_line(self) -> Table:
        """A row for each job, with the first of its tasks that is not complete, and how many more there are."""
        rows: list[list[Cell]] = []
        for tasks in self._by_aggregate():
            is_open = [task for task in tasks if self.status.plan.state(task) is not State.COMPLETED]
            shown = (is_open or tasks)[0]
            more = f" (+{len(is_open) - 1})" if len(is_open) > 1 else ""
            name = f"{shown.operation.name}{more}"
            is_bold = self.pretty and self.status.plan.state(shown) is State.ELIGIBLE
            operation: Cell = Styled(name, "bold") if is_bold else name
            rows.append([tasks[0].aggregate.id, operation, self._state(shown), *self._beside(shown)])
        return Table(["job or aggregate", "operation", "state", *self._headings()], rows)

    def legend(self) -> str:
        """Say what the symbols mean."""
        return " ".join(f"[{glyphs[self.pretty]}]:{state.value}" for state, glyphs in GLYPHS.items())

    def _by_aggregate(self) -> list[list[Task]]:
        found: dict[str, list[Task]] = {}
        for task in self.status.tasks:
            found.setdefault(task.aggregate.id, []).append(task)
        return list(found.values())

    def _headings(self) -> list[str]:
        return [*self.keys, *(["labels"] if self.status.plan.definition.labels else [])]

    def _beside(self, task: Task) -> list[Cell]:
        workspace = self.status.plan.workspace
        cells: list[Cell] = [shown_values(workspace, task.aggregate.job_ids, key, self.width) for key in self.keys]
        if self.status.plan.definition.labels:
            cells.append(", ".join(self.status.labels.get(task.aggregate.id, [])))
        return cells

    def _operation(self, task: Task) -> Cell:
        is_bold = self.pretty and self.status.plan.state(task) is State.ELIGIBLE
        return Styled(task.operation.name, "bold") if is_bold else task.operation.name

    def _state(self, task: Task) -> Styled:
        state = self.status.plan.state(task)
        text = f"{GLYPHS[state][1]} {state.value}" if self.pretty else state.value
        return Styled(text, STATE_STYLES.get(state, ""))

    def _remark(self, task: Task) -> str:
        state = self.status.plan.state(task)
        if state is State.FAILED and (failure := self.status.plan.failure(task)):
            return f"{failure.message}; log {failure.log}"
        if state is State.BROKEN:
            return str(self.status.plan.errors[task.key])
        return on_cluster.remark(self.status.plan, task)
