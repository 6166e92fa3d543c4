"""How a user wants tasks submitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pointillist.definition.ignoring import IgnoreConditions
from pointillist.execution.running.terms import at_most


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
        num=at_most(num),
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
