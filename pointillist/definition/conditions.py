"""Conditions: claims about an aggregate that decide whether a task may run and whether it is done.

A condition that says what it reads (a file's presence, keys of a JSON file, another operation's conditions) is answered
from facts that were read once for the whole command, without opening a signac job. A user's own function is opaque: it
is called with signac jobs, at most once per aggregate and command.

Knows no file system: whoever evaluates hands in :class:`Facts`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pointillist.definition.aggregates import Aggregate, aggregate_of
from pointillist.definition.asking import ask
from pointillist.errors import DefinitionError, UserConditionError

if TYPE_CHECKING:
    from pointillist.definition.operations import Operation

DOCUMENT = "signac_job_document.json"


class Folder(Protocol):
    """What can be read of one job."""

    def isfile(self, filename: str) -> bool:
        """Say whether the file exists, relative to the job folder."""

    def json(self, filename: str) -> Any:
        """Return the content of a JSON file; None when there is no such file."""


class Facts(Protocol):
    """What the conditions of a whole command are answered from."""

    def folder(self, job_id: str) -> Folder:
        """Return the reader of one job's folder."""

    def job(self, job_id: str) -> Any:
        """Return the signac job."""

    def holds(self, condition: Condition, aggregate: Aggregate) -> bool:
        """Answer a condition, from memory when it was asked before."""

    def holds_for_each(self, condition: Condition, aggregate: Aggregate) -> bool:
        """Say whether a condition holds for each job of an aggregate on its own."""

    def operation_of(self, function: Callable[..., Any]) -> Operation:
        """Return the operation a function was declared as."""


class Condition(ABC):
    """A claim about an aggregate, true or false."""

    tag: Any = None

    @abstractmethod
    def holds(self, facts: Facts, aggregate: Aggregate) -> bool:
        """Answer the claim; use :meth:`Facts.holds` for parts, so that each is answered once."""

    @abstractmethod
    def __str__(self) -> str:
        """Say the claim in words."""

    def explain(self, facts: Facts, aggregate: Aggregate) -> str:
        """Say why the claim does not hold, as precisely as is known; empty when there is nothing to add."""
        return ""

    def __call__(self, *jobs: Any) -> bool:
        """Answer the claim for signac jobs, so that a condition serves wherever a function of jobs does."""
        facts = _LiveFacts(jobs)
        return self.holds(facts, aggregate_of(job.id for job in jobs))


class Question(NamedTuple):
    """What a condition reads of a job: the same question of the same files has the same answer.

    ``kind`` is ``"file"``, for whether the file is there, or the name of a claim about the content of a JSON file.
    """

    kind: str
    filename: str
    keys: tuple[str, ...] = ()


class JobCondition(Condition):
    """A claim about single jobs; it holds for an aggregate when it holds for each of its jobs."""

    @property
    def question(self) -> Question | None:
        """What the claim reads of a job, and nothing else; None when that can't be said."""
        return None

    @abstractmethod
    def holds_in(self, folder: Folder) -> bool:
        """Answer the claim for one job."""

    def holds(self, facts: Facts, aggregate: Aggregate) -> bool:
        if len(aggregate.job_ids) == 1:
            return self.holds_in(facts.folder(aggregate.id))
        return facts.holds_for_each(self, aggregate)

    def explain(self, facts: Facts, aggregate: Aggregate) -> str:
        unmet = [i for i in aggregate.job_ids if not facts.holds(self, Aggregate(i, (i,)))]
        total = len(aggregate.job_ids)
        return f"not in {len(unmet)} of {total} jobs, first {unmet[0]}" if total > 1 and unmet else ""


@dataclass(frozen=True)
class IsFile(JobCondition):
    """The job folder holds the file."""

    filename: str

    @property
    def question(self) -> Question | None:
        return None if os.path.isabs(self.filename) else Question("file", self.filename)

    def holds_in(self, folder: Folder) -> bool:
        return folder.isfile(self.filename)

    def __str__(self) -> str:
        return f"file {self.filename} exists"


@dataclass(frozen=True)
class IsTrue(JobCondition):
    """The job document's key has a true value."""

    key: str

    @property
    def question(self) -> Question | None:
        return Question("true", DOCUMENT, (self.key,)) if isinstance(self.key, str) else None

    def holds_in(self, folder: Folder) -> bool:
        return bool((folder.json(DOCUMENT) or {}).get(self.key, False))

    def __str__(self) -> str:
        return f"job document: {self.key} is true"


@dataclass(frozen=True)
class IsFalse(JobCondition):
    """The job document's key has a false value or is absent."""

    key: str

    @property
    def question(self) -> Question | None:
        return Question("false", DOCUMENT, (self.key,)) if isinstance(self.key, str) else None

    def holds_in(self, folder: Folder) -> bool:
        return not (folder.json(DOCUMENT) or {}).get(self.key, False)

    def __str__(self) -> str:
        return f"job document: {self.key} is false or absent"


@dataclass(frozen=True)
class HasKeys(JobCondition):
    """A JSON file of the job is an object that holds all of the keys."""

    filename: str
    keys: tuple[str, ...]

    @property
    def question(self) -> Question | None:
        # A file with an absolute path is no file of the job.
        is_plain = not os.path.isabs(self.filename) and all(isinstance(key, str) for key in self.keys)
        return Question("keys", self.filename, self.keys) if is_plain else None

    def holds_in(self, folder: Folder) -> bool:
        content = folder.json(self.filename)
        return isinstance(content, Mapping) and all(key in content for key in self.keys)

    def __str__(self) -> str:
        return f"{self.filename} holds " + ", ".join(self.keys)


@dataclass(frozen=True)
class Never(Condition):
    """False for every aggregate."""

    def holds(self, facts: Facts, aggregate: Aggregate) -> bool:
        return False

    def __str__(self) -> str:
        return "never"


@dataclass(frozen=True)
class Not(Condition):
    """The opposite of another condition."""

    condition: Condition

    @property
    def tag(self) -> Any:
        return None if self.condition.tag is None else ("not", self.condition.tag)

    def holds(self, facts: Facts, aggregate: Aggregate) -> bool:
        return not facts.holds(self.condition, aggregate)

    def __str__(self) -> str:
        return f"not ({self.condition})"


@dataclass(frozen=True)
class Copied(Condition):
    """All pre- or all post-conditions of other operations hold.

    Conditions of an operation that works on single jobs are asked of each job of a larger aggregate on its own.
    """

    functions: tuple[Callable[..., Any], ...]
    kind: str

    def parts(self, facts: Facts, aggregate: Aggregate) -> list[tuple[Operation, Condition, Aggregate]]:
        """List every condition that must hold, with the aggregate it is asked of."""
        found = []
        for function in self.functions:
            operation = facts.operation_of(function)
            each = operation.aggregator.is_single and len(aggregate.job_ids) > 1
            asked = [Aggregate(i, (i,)) for i in aggregate.job_ids] if each else [aggregate]
            found += [(operation, condition, part) for condition in self.conditions(operation) for part in asked]
        return found

    def conditions(self, operation: Operation) -> tuple[Condition, ...]:
        """Return the conditions of one of the operations that must hold."""
        return operation.post if self.kind == "post" else operation.pre

    def holds(self, facts: Facts, aggregate: Aggregate) -> bool:
        several = len(aggregate.job_ids) > 1
        for function in self.functions:
            operation = facts.operation_of(function)
            ask = facts.holds_for_each if several and operation.aggregator.is_single else facts.holds
            if not all(ask(condition, aggregate) for condition in self.conditions(operation)):
                return False
        return True

    def explain(self, facts: Facts, aggregate: Aggregate) -> str:
        unmet = [p for p in self.parts(facts, aggregate) if not facts.holds(p[1], p[2])]
        if not unmet:
            return ""
        operation, condition, part = unmet[0]
        jobs = {i for _, _, a in unmet for i in a.job_ids} if len(aggregate.job_ids) > 1 else set()
        where = f" (for {len(jobs)} of {len(aggregate.job_ids)} jobs, first {part.job_ids[0]})" if jobs else ""
        return f"{operation.name} is not complete: {condition}{where}"

    def __str__(self) -> str:
        names = ", ".join(f.__name__ for f in self.functions)
        return f"after {names}" if self.kind == "post" else f"pre-conditions of {names}"


class Function(Condition):
    """A user's own function of the aggregate's jobs."""

    def __init__(self, function: Callable[..., Any], tag: Any = None) -> None:
        self.function = function
        code = getattr(function, "__code__", None)
        # Constants and names belong to the tag: two lambdas that read different keys share their bytecode.
        self.tag = tag if tag is not None else code and (code.co_code, code.co_consts, code.co_names)

    def holds(self, facts: Facts, aggregate: Aggregate) -> bool:
        jobs = [facts.job(i) for i in aggregate.job_ids]
        return ask(
            lambda: bool(self.function(*jobs)),
            lambda what: UserConditionError(
                f"The condition {self} raised {what} for {aggregate.id}.",
                hint=f"Mend the function in {_place_of(self.function)}.",
            ),
        )

    # Two decorations with the same function are one condition, and are asked once.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and other.function is self.function

    def __hash__(self) -> int:
        return hash(id(self.function))

    def __str__(self) -> str:
        name = getattr(self.function, "__name__", repr(self.function))
        return f"lambda in {_place_of(self.function)}" if name == "<lambda>" else name


def _place_of(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{os.path.basename(code.co_filename)} line {code.co_firstlineno}" if code else repr(function)


def as_condition(condition: Any, tag: Any = None) -> Condition:
    """Take a condition or any function of jobs as a condition."""
    if isinstance(condition, Condition):
        return condition
    if not callable(condition):
        raise DefinitionError(
            f"{condition!r} can't be a condition.", hint="A condition is a function of the jobs, or isfile, true, ..."
        )
    return Function(condition, tag)


def _refuse_bare(name: str, value: object) -> None:
    """Refuse a condition that decorates a function without saying what to look for: nobody would ever ask it."""
    if callable(value):
        whose = getattr(value, "__name__", repr(value))
        raise DefinitionError(
            f"The condition {name} of {whose} does not say what to look for.", hint=f'Write {name}("..."), with a name.'
        )


def isfile(filename: str | os.PathLike[str]) -> Condition:
    """Claim that each job folder holds the file."""
    _refuse_bare("isfile", filename)
    return IsFile(os.fspath(filename))


def true(key: str) -> Condition:
    """Claim that the key of each job document has a true value."""
    _refuse_bare("true", key)
    return IsTrue(key)


def false(key: str) -> Condition:
    """Claim that the key of each job document has a false value or is absent."""
    _refuse_bare("false", key)
    return IsFalse(key)


def has_keys(filename: str | os.PathLike[str], keys: Sequence[str]) -> Condition:
    """Claim that a JSON file of each job is an object with all of the keys.

    Parameters
    ----------
    filename
        Relative to the job folder; ``"signac_job_document.json"`` is the job document.
    keys
        Top-level keys.
    """
    _refuse_bare("has_keys", filename)
    if isinstance(keys, str):
        keys = (keys,)
    return HasKeys(os.fspath(filename), tuple(keys))


def not_(condition: Any) -> Condition:
    """Claim the opposite of a condition."""
    return Not(as_condition(condition))


class _LiveFolder:
    """Reads one signac job directly."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def isfile(self, filename: str) -> bool:
        return bool(self._job.isfile(filename))

    def json(self, filename: str) -> Any:
        import json

        if not self._job.isfile(filename):
            return None
        with open(self._job.fn(filename), encoding="utf-8") as file:
            return json.load(file)


class _LiveFacts:
    """Answers conditions for signac jobs at hand, remembering nothing."""

    def __init__(self, jobs: Sequence[Any]) -> None:
        self._jobs = {job.id: job for job in jobs}

    def folder(self, job_id: str) -> Folder:
        return _LiveFolder(self._jobs[job_id])

    def job(self, job_id: str) -> Any:
        return self._jobs[job_id]

    def holds(self, condition: Condition, aggregate: Aggregate) -> bool:
        return condition.holds(self, aggregate)

    def holds_for_each(self, condition: Condition, aggregate: Aggregate) -> bool:
        return all(self.holds(condition, Aggregate(i, (i,))) for i in aggregate.job_ids)

    def operation_of(self, function: Callable[..., Any]) -> Operation:
        definition = next((d for j in self._jobs.values() if (d := getattr(j.project, "definition", None))), None)
        if definition is None:
            raise TypeError(
                "A condition on other operations can only be asked by a project, or of jobs that it has opened."
            )
        operation: Operation = definition.operation_of(function)
        return operation
