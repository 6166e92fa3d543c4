"""The scripts that schedulers get: shell text made from templates, readable, and run as well by hand.

Pure: from values to text. Which tasks go into a script and what becomes of it is for others to decide. Every value
that reaches the shell is quoted here.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pointillist import cluster
from pointillist.cluster.environments import SUBMITTED_FROM_VARIABLE, ComputeEnvironment, has_own_prefix
from pointillist.cluster.errors import TemplateError
from pointillist.cluster.schedulers.base import Scheduler
from pointillist.cluster.schedulers.requests import Request
from pointillist.definition.asking import ask
from pointillist.errors import EXIT_AGAIN
from pointillist.execution.requeues import WARNING
from pointillist.execution.submitting.filters import FILTERS
from pointillist.state.place import CLUSTER_JOB_VARIABLE, START_VARIABLE, SUBMISSION_VARIABLE, WARN_VARIABLE
from pointillist.wording import sentence

PACKAGED_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(cluster.__file__)), "templates")
_ARRAY_MARK = "elements=("
_MEMORY_LINE = re.compile(r"--mem")
_TASKS_LINE = re.compile(r"--(nodes|ntasks|cpus-per-task|gpus|gres)|(-l (select|nodes)|-n |-R )")


_SAID_BY = {
    "memory": {"memory", "memory_per_core"},
    "tasks": {"ngpu", "gpus_per_process"},
    "ngpu_tasks": {"ngpu", "gpus_per_process"},
    "preamble": {"walltime", "signal_before_s", "requeue"},
}
"""Which directives a template has heeded that looks at these lines or numbers."""

_HEEDED_ANYWAY = frozenset(
    ["executable", "fork", "nranks", "omp_num_threads", "np", "processes", "threads_per_process", "processor_fraction"]
)
"""Directives that are heeded when the task runs, or of which a template knows the sum."""


class Observed(dict[str, Any]):
    """A dictionary that notes which of its keys were looked up."""

    def __init__(self, values: Mapping[str, Any], seen: set[str]) -> None:
        super().__init__(values)
        self._seen = seen

    def __getitem__(self, key: str) -> Any:
        self._seen.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._seen.add(key)
        return super().get(key, default)

    def items(self) -> Any:
        self._seen.update(self)
        return super().items()


def unheeded(declared: Iterable[str], seen: Iterable[str]) -> list[str]:
    """Return the directives that a user has given and a template has not looked at, in any way."""
    heeded = set(_HEEDED_ANYWAY)
    for key in seen:
        heeded |= {key} | _SAID_BY.get(key, set())
    return sorted(set(declared) - heeded)


@dataclass(frozen=True, kw_only=True)
class ScriptLine:
    """One line of work in a script; templates know it as an ``operation``.

    Attributes
    ----------
    name
        The operation's name.
    id
        A name for this very work.
    cmd
        The shell command.
    directives
        What it asks for, with defaults for the known keys.
    what
        A few words for a comment.
    """

    name: str
    id: str
    cmd: str
    directives: Mapping[str, Any]
    what: str = ""
    _jobs: tuple[Any, ...] = ()
    # Older templates list these as comments; to know them, functions of the user would have to be called.
    eligible_operations: tuple[Any, ...] = ()
    operations_with_unmet_preconditions: tuple[Any, ...] = ()
    operations_with_met_postconditions: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return self.what or f"{self.name}: {self.id}"


@dataclass(frozen=True, kw_only=True)
class Script:
    """Everything a script is made from.

    Attributes
    ----------
    project
        The project itself, for templates; with ``path``.
    request
        What the cluster job, or each element of the array, asks for.
    lines
        The work; in an array that of one element, which finds its ids in the shell array ``ids``.
    elements
        The aggregates of each element of an array, as many for each; None for a single cluster job.
    parallel
        Whether the lines run at the same time.
    template
        File name of the template.
    options
        What else templates may use: the options of the command line.
    seen
        Takes what the template has looked at.
    """

    project: Any
    environment: type[ComputeEnvironment]
    request: Request
    lines: Sequence[ScriptLine]
    elements: Sequence[Sequence[str]] | None = None
    parallel: bool = False
    template: str = "script.sh"
    options: Mapping[str, Any] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def run_command(
    entrypoint: Mapping[str, str],
    operation: str,
    aggregate_ids: Sequence[str] | None,
    *,
    slots: tuple[int, int] | None = None,
    directives: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
) -> str:
    """Return the shell line by which a cluster job does its work.

    Parameters
    ----------
    entrypoint
        The project's ``executable`` and ``path``.
    aggregate_ids
        Which tasks; None in an array.
    slots
        In an array: which of the element's ids, from (included) and to (not included).
    directives
        ``executable`` stands before the project file as it is, so that it may be several words.
    options
        Further words for ``run``.
    """
    directives = directives or {}
    own = entrypoint.get("executable") or sys.executable
    executable = directives.get("executable")
    program = shlex.quote(own) if executable in (None, own, sys.executable) else str(executable)
    words = [program, shlex.quote(entrypoint.get("path", "project.py")), "run", "-o", shlex.quote(operation)]
    words += [*map(shlex.quote, options), "-j"]
    if aggregate_ids is not None:
        words += map(shlex.quote, aggregate_ids)
    elif slots is not None:
        first, end = slots
        words.append('"${ids[@]}"' if first == 0 and end < 0 else _slots(first, end))
    return " ".join(words)


def _slots(first: int, end: int) -> str:
    return f'"${{ids[{first}]}}"' if end - first == 1 else f'"${{ids[@]:{first}:{end - first}}}"'


class Renderer:
    """Fills in templates; each is read and compiled once.

    Parameters
    ----------
    folders
        Where templates are looked for before those of the package.
    environment
        Whose filters are added.
    """

    def __init__(self, folders: Sequence[str], environment: type[ComputeEnvironment]) -> None:
        import jinja2

        self._folders = [*folders, PACKAGED_TEMPLATES]
        self._jinja = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self._folders),
            trim_blocks=True,
            extensions=[_raise_extension(), "jinja2.ext.do"],
        )
        self._jinja.filters.update(FILTERS | environment.filters())
        self._environment = environment

    def render(self, script: Script, scheduler: Scheduler | None) -> str:
        """Return the text of a script.

        Raises
        ------
        TemplateError
            When the template is missing or wrong, or refuses.
        """
        import jinja2

        try:
            template = self._jinja.get_template(script.template)
            text = template.render(self._context(script, scheduler))
        except jinja2.TemplateNotFound as error:
            raise TemplateError(
                f"There is no template {error.name!r} in {' or '.join(self._folders)}.",
                hint="Put it into the folder templates/ of the project, or name another one with --template.",
            ) from error
        except jinja2.TemplateError as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            raise TemplateError(sentence(f"The template {script.template!r}{where}: {error.message}")) from error
        # Blocks that have nothing to say leave blank lines.
        return re.sub(r"\n{3,}", "\n\n", text.strip("\n")) + "\n"

    def _context(self, script: Script, scheduler: Scheduler | None) -> dict[str, Any]:
        request = script.request
        lines = scheduler.header_lines(request) if scheduler is not None else []
        context = dict(script.options) | {
            "project": script.project,
            "base_script": script.environment.template,
            "environment": script.environment,
            "id": request.name,
            "operations": list(script.lines),
            "parallel": script.parallel,
            "force": bool(script.options.get("force", False)),
            "np_global": sum(int(line.directives.get("np") or 1) for line in script.lines)
            if script.parallel
            else max((int(line.directives.get("np") or 1) for line in script.lines), default=1),
            "request": request,
            "request_lines": Observed(_sorted_lines(lines), script.seen),
            "partition_lines": functools.partial(_partition_lines, lines, request, scheduler),
            "element_lines": _element_lines(script.elements, scheduler),
            "own_lines": [*_own_lines(request, scheduler), *_environment_lines(script, scheduler)],
            "requeue_command": scheduler.requeue_command if scheduler is not None else "",
            "exit_again": EXIT_AGAIN,
            "exit_warned": 128 + WARNING,
            "submission_variable": SUBMISSION_VARIABLE,
        }
        environment = script.environment
        resources = ask(
            lambda: environment._get_scheduler_values(context),
            lambda what: TemplateError(f"The environment {environment.__name__} raised {what}."),
        )
        return context | {"resources": Observed(resources, script.seen)}


def _sorted_lines(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return the header lines by the block that shows them."""
    blocks: dict[str, list[str]] = {"tasks": [], "memory": [], "preamble": []}
    for line in lines:
        block = "tasks" if _is(_TASKS_LINE, line) else "memory" if _is(_MEMORY_LINE, line) else "preamble"
        blocks[block].append(line)
    return blocks


def _partition_lines(lines: list[str], request: Request, scheduler: Scheduler | None, partition: str) -> list[str]:
    """Return the lines for a partition that a template has set, where nothing else has chosen one."""
    if not partition or request.partition or scheduler is None:
        return []
    return [line for line in scheduler.header_lines(replace(request, partition=partition)) if line not in lines]


def carries_array(text: str) -> bool:
    """Whether a rendered script knows its elements: a template that replaces the wrong block forgets them."""
    return _ARRAY_MARK in text


def passes_signal_on(text: str) -> bool:
    """Whether a rendered script tells its work that its time is nearly up: a body of another kind does not."""
    return 'follow "$' in text


def _is(pattern: re.Pattern[str], line: str) -> bool:
    return pattern.match(line.split(" ", 1)[-1]) is not None


def _element_lines(elements: Sequence[Sequence[str]] | None, scheduler: Scheduler | None) -> list[str]:
    """Return the lines by which an element of an array learns what is its own."""
    if elements is None:
        return []
    own = scheduler.array_index if scheduler is not None else "0"
    return [
        f"# One element of an array of {len(elements)}. By hand: bash SCRIPT INDEX, from 0 to {len(elements) - 1}.",
        _ARRAY_MARK,
        *(f"    {shlex.quote(' '.join(ids))}" for ids in elements),
        ")",
        f'index="${{1:-{own}}}"',
        'read -r -a ids <<<"${elements[$index]}"',
    ]


def _own_lines(request: Request, scheduler: Scheduler | None) -> list[str]:
    """Return the lines by which the work learns which cluster job it belongs to, and how long that lasts."""
    if scheduler is None:
        return []
    index = "${own:+_$index}" if request.array is not None else ""
    lines = [
        f"own={scheduler.own_id}",
        f'export {CLUSTER_JOB_VARIABLE}="$own{index}" {START_VARIABLE}="$HOSTNAME-$$-$(date +%s)"',
    ]
    if request.signal_before_s and request.walltime_s and not scheduler.sends_warning:
        left_s = request.walltime_s - request.signal_before_s
        lines.append(f'export {WARN_VARIABLE}="$(($(date +%s) + {left_s}))"')
    return lines


def _environment_lines(script: Script, scheduler: Scheduler | None) -> list[str]:
    """Return the line by which the work starts its ranks as the environment says that it was submitted from."""
    starts_ranks = any(line.directives.get("nranks") for line in script.lines)
    if scheduler is None or not (starts_ranks or has_own_prefix(script.environment)):
        return []
    return [f"export {SUBMITTED_FROM_VARIABLE}={script.environment.__name__}"]


@functools.cache
def _raise_extension() -> Any:
    """Return the extension of jinja2 behind ``{% raise "message" %}``."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Raise(Extension):
        tags = {"raise"}  # noqa: RUF012 - as jinja2 wants it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            call = self.call_method("_refuse", [parser.parse_expression()], lineno=line)
            return nodes.Output([call], lineno=line)

        def _refuse(self, message: object) -> str:
            raise TemplateError(str(message))

    return Raise
