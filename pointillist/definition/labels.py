"""Labels: names a job wears while a function of it says so.

A label is a function or condition declared with ``@FlowProject.label``, or a method of the project class declared with
``@label()``, ``@staticlabel()`` or ``@classlabel()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.asking import ask
from pointillist.definition.conditions import Condition, Facts
from pointillist.errors import UserConditionError

_ATTRIBUTE = "_pointillist_label"


@dataclass(frozen=True)
class Label:
    """A label: a name, and the function or condition that gives it to a job.

    A function that returns a string gives that string as the label; any other true value gives the name.
    """

    name: str
    function: Callable[..., Any]

    def of(self, facts: Facts, job_id: str) -> str | None:
        """Return the label text a job wears, or None."""
        if isinstance(self.function, Condition):
            return self.name if facts.holds(self.function, Aggregate(job_id, (job_id,))) else None
        job = facts.job(job_id)
        return ask(
            lambda: self._text(self.function(job)),
            lambda what: UserConditionError(f"The label {self.name} raised {what} for {job_id}."),
        )

    def _text(self, value: Any) -> str | None:
        if isinstance(value, str):
            return value
        return self.name if value else None

    def bound_to(self, project: Any) -> Label:
        """Return the label with its function bound to a project, when that is what it takes first."""
        code = getattr(self.function, "__code__", None)
        if code is None or hasattr(self.function, "__self__"):
            return self
        required = code.co_argcount - len(getattr(self.function, "__defaults__", None) or ())
        if required != 2:
            return self
        function = self.function
        return Label(self.name, lambda job: function(project, job))


class label:
    """Declare a method of a project class as a label: ``@label()``, ``@label("name")``, called with the job.

    Parameters
    ----------
    name
        By default the method's name.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name

    def __call__(self, function: Callable[..., Any]) -> Any:
        setattr(function, _ATTRIBUTE, self._name or function.__name__)
        return function


class staticlabel(label):
    """Declare a function of the job, written inside a project class, as a label."""

    def __call__(self, function: Callable[..., Any]) -> Any:
        return staticmethod(super().__call__(function))


class classlabel(label):
    """Declare a class method of a project class as a label."""

    def __call__(self, function: Callable[..., Any]) -> Any:
        return classmethod(super().__call__(function))


def method_labels(project: Any, classes: Iterable[type]) -> Iterator[Label]:
    """Yield the labels that are methods of a project, the subclass's before its parents'."""
    for cls in classes:
        for attribute, value in vars(cls).items():
            function = getattr(value, "__func__", value)
            name = getattr(function, _ATTRIBUTE, None) if callable(function) else None
            if isinstance(name, str):
                yield Label(name, getattr(project, attribute))
