"""The decorators that hang on a project class. They fill its registry and return the function they are given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pointillist.definition.aggregates import EACH_JOB, aggregator
from pointillist.definition.conditions import Copied, Never, as_condition, false, has_keys, isfile, not_, true
from pointillist.definition.directives import checked_directives
from pointillist.definition.groups import GroupDecorator
from pointillist.definition.hooks import EVENTS, Hooks
from pointillist.definition.labels import Label
from pointillist.definition.marks import in_folder, plain
from pointillist.definition.registry import Registry
from pointillist.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])


class OperationDecorator:
    """``@FlowProject.operation``, with or without arguments."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(
        self,
        func: Callable[..., Any] | str | None = None,
        name: str | None = None,
        *,
        cmd: bool = False,
        with_job: bool = False,
        directives: Mapping[str, Any] | None = None,
        aggregator: aggregator | None = None,
        batch: int | bool = 1,
        retries: int = 0,
    ) -> Any:
        """Declare a function as an operation.

        Parameters
        ----------
        func, name
            The function, when used as a plain decorator; the operation's name, by default the function's.
        cmd
            The function returns a shell command that is run, instead of doing the work itself.
        with_job
            Run inside the job's folder, also when the function is called by its name.
        directives
            What a task asks of the machine (``walltime`` in hours, ...); values may be functions of the jobs.
        aggregator
            Which jobs one task works on together; by default each job on its own.
        batch
            How many tasks one process may work through: the function is then called with several jobs. True: as many
            as suit. Each job stays a task of its own, judged by its own post-conditions.
        retries
            How often a task that failed is tried again within a run.
        """
        if isinstance(func, str):
            func, name = None, func
        options = {
            "cmd": bool(cmd),
            "with_job": bool(with_job),
            "directives": checked_directives("an operation", directives) or {},
            "aggregator": _aggregator("an operation", aggregator),
            "batch": batch,
            "retries": retries,
        }

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            self._declare(plain(function), name or function.__name__, options)
            return in_folder(function, cmd=bool(cmd)) if with_job else function

        return declare if func is None else declare(func)

    def with_directives(self, directives: Mapping[str, Any], name: str | None = None) -> Callable[[F], F]:
        """Declare an operation with directives; the older form of ``operation(directives=...)``."""
        decorate: Callable[[F], F] = self(name=name, directives=directives)
        return decorate

    def _declare(self, function: Callable[..., Any], name: str, options: dict[str, Any]) -> None:
        known = self._registry.operations
        if name in known:
            raise DefinitionError(f"There are two operations named {name}.", hint="Rename one, or pass name=...")
        if name in self._registry.groups:
            raise DefinitionError(f"There are a group and an operation named {name}.", hint="Rename one.")
        if any(function is other for other, _ in known.values()):
            raise DefinitionError(f"The function {function.__name__} is declared as an operation twice.")
        for conditions in self._registry.conditions.values():
            for declared in conditions.values():
                if any(getattr(c, "function", None) is function for c in declared):
                    raise DefinitionError(f"{name} can't be an operation: it is used as a condition already.")
        if options["with_job"] and not (options["aggregator"] or EACH_JOB).is_single:
            raise DefinitionError(f"The operation {name} has with_job, which needs tasks of one job each.")
        known[name] = (function, options)
        self._registry.names.append(name)


class ConditionDecorator:
    """``@FlowProject.pre`` and ``@FlowProject.post``, and the conditions that hang on them."""

    def __init__(self, registry: Registry, kind: str) -> None:
        self._registry = registry
        self._kind = kind

    def __call__(self, condition: Any, tag: Any = None) -> Callable[[F], F]:
        """Demand a condition, any function of the jobs, before (``pre``) or after (``post``) the operation.

        Parameters
        ----------
        condition
            Any function of the jobs.
        tag
            Conditions of the same tag are taken for the same when the graph of operations is drawn.
        """
        if any(plain(condition) is function for function, _ in self._registry.operations.values()):
            raise DefinitionError(
                f"The operation {condition.__name__} can't be a condition.",
                hint=f"Write pre.after({condition.__name__}) to wait for it.",
            )
        claim = as_condition(condition, tag)

        def attach(function: F) -> F:
            # Decorators run from the bottom up; what is written first is asked first.
            self._registry.conditions[self._kind].setdefault(plain(function), []).insert(0, claim)
            return function

        return attach

    def isfile(self, filename: str | os.PathLike[str]) -> Callable[[F], F]:
        """Demand that each job folder holds the file."""
        return self(isfile(filename))

    def true(self, key: str) -> Callable[[F], F]:
        """Demand that the key of each job document has a true value."""
        return self(true(key))

    def false(self, key: str) -> Callable[[F], F]:
        """Demand that the key of each job document has a false value or is absent."""
        return self(false(key))

    def has_keys(self, filename: str | os.PathLike[str], *keys: str) -> Callable[[F], F]:
        """Demand that a JSON file of each job is an object with all of the keys."""
        return self(has_keys(filename, keys))

    def not_(self, condition: Any) -> Callable[[F], F]:
        """Demand the opposite of a condition."""
        return self(not_(condition))

    def never(self, function: F) -> F:
        """Demand the impossible: an operation that never runs, or is never complete."""
        return self(Never())(function)

    def copy_from(self, *functions: Callable[..., Any]) -> Callable[[F], F]:
        """Demand all conditions of this kind that the other operations demand."""
        return self(Copied(tuple(map(plain, functions)), self._kind))


class PreDecorator(ConditionDecorator):
    """``@FlowProject.pre``."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry, "pre")

    def after(self, *functions: Callable[..., Any]) -> Callable[[F], F]:
        """Demand that the other operations are complete: all their post-conditions hold."""
        return self(Copied(tuple(map(plain, functions)), "post"))


class LabelDecorator:
    """``@FlowProject.label``, with or without a name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, function: Any = None, name: str | None = None) -> Any:
        """Declare a function or condition of one job as a label.

        ``FlowProject.label("done")(isfile("result.json"))`` names a condition; it comes back unchanged, so that it can
        serve as a pre- or post-condition too.
        """
        if isinstance(function, str):
            function, name = None, function

        def declare(function: F) -> F:
            text = name or getattr(function, "__name__", None)
            if text is None:
                raise DefinitionError(
                    f"A label made of a condition ({function}) needs a name.",
                    hint='Write label("name")(condition).',
                )
            self._registry.labels.append(Label(text, function))
            return function

        return declare if function is None else declare(function)


class HooksDecorator:
    """``@FlowProject.operation_hooks.on_start(hook)`` and the other events."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getattr__(self, event: str) -> Callable[[Callable[..., Any]], Callable[[F], F]]:
        if event not in EVENTS:
            raise AttributeError(f"There is no hook {event!r}; there are {', '.join(EVENTS)}.")
        return lambda hook: self(hook, event)

    def __call__(self, hook: Callable[..., Any], trigger: str) -> Callable[[F], F]:
        """Return a decorator that calls ``hook`` at an event of the operation."""
        if trigger not in EVENTS:
            raise AttributeError(f"There is no hook {trigger!r}; there are {', '.join(EVENTS)}.")

        def attach(function: F) -> F:
            hooks = self._registry.hooks.setdefault(plain(function), Hooks())
            getattr(hooks, trigger).append(hook)
            return function

        return attach


def declare_group(
    registry: Registry, name: str, submit_options: str, run_options: str, group_aggregator: aggregator | None
) -> GroupDecorator:
    """Declare a group; see :meth:`pointillist.project.FlowProject.make_group`."""
    if name in registry.groups:
        raise DefinitionError(f"There are two groups named {name}.", hint="Rename one.")
    if name in registry.operations:
        raise DefinitionError(f"There are a group and an operation named {name}.", hint="Rename one.")
    chosen = _aggregator(f"the group {name}", group_aggregator)
    group = GroupDecorator(name, submit_options, run_options, chosen or EACH_JOB)
    registry.groups[name] = group
    registry.names.append(name)
    return group


def _aggregator(whose: str, value: Any) -> aggregator | None:
    if value is not None and not isinstance(value, aggregator):
        raise DefinitionError(
            f"The aggregator of {whose} can't be {value!r}.",
            hint="Write aggregator(...), aggregator.groupby(...) or .groupsof(n).",
        )
    return value
