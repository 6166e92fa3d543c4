"""The runs of a study in its RO-Crate metadata: operations as tools and steps, attempts as actions.

Each attempt is a ``CreateAction`` with the operation as ``instrument``, state points as ``object`` and, of the last
good attempt at a task, its files as ``result``; a ``ControlAction`` ties it to the step. All attempts together are the
run of the workflow, which the engine organised.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pointillist.definition.elsewhere import Archived, matches
from pointillist.definition.grid import STATEPOINT
from pointillist.state.journal import Attempt, Outcome
from pointillist.state.tasks import State
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.definition.operations import Operation
    from pointillist.state.plan import Plan

_COMPLETED = "http://schema.org/CompletedActionStatus"
_FAILED = "http://schema.org/FailedActionStatus"
_STATUS = {
    Outcome.COMPLETED: _COMPLETED,
    Outcome.ENDED: _COMPLETED,
    Outcome.FAILED: _FAILED,
    Outcome.INTERRUPTED: _FAILED,
}


class Actions:
    """Adds the operations and attempts of a plan to a crate.

    Parameters
    ----------
    crate
        The crate.
    plan
        The plan of the project.
    entities
        The files of the archive, by path.
    declared
        What the study says of itself.
    agents
        Who stands behind the runs, if that is known.
    address
        Where the code of the study can be found, if anywhere; operations get addresses below it.
    version
        Of the code of the study.
    """

    def __init__(
        self,
        crate: Any,
        plan: Plan,
        entities: Mapping[str, Any],
        declared: Archived,
        agents: Sequence[Any] | None,
        address: str | None,
        version: str,
    ) -> None:
        self._crate = crate
        self._plan = plan
        self._entities = entities
        self._declared = declared
        self._agents = {"agent": list(agents)} if agents else {}
        self._files_of: dict[str, list[str]] = {}
        for name in entities:
            self._files_of.setdefault(name.split("/")[1] if name.startswith("workspace/") else "", []).append(name)
        self._tools = {op.name: self._tool(op, address, version) for op in plan.definition.operations.values()}
        self._steps: dict[str, Any] = {}

    def add_steps(self, workflow: Any) -> None:
        """Add the operations as the steps of the workflow, in the order of their definition."""
        for position, (name, tool) in enumerate(self._tools.items()):
            about = {"@type": "HowToStep", "name": name, "position": str(position), "workExample": tool}
            self._steps[name] = self._new(f"#step/{name}", about)
        workflow["step"] = list(self._steps.values())

    def add(self, attempts: Sequence[Attempt], workflow: Any | None) -> list[Any]:
        """Add the attempts at operations that are still there; return all actions that make things."""
        known = [attempt for attempt in attempts if attempt.operation in self._tools]
        actions = [self._action(attempt) for attempt in known]
        if workflow is None or not actions:
            return actions
        workflow["hasPart"] = [self._tools[name] for name in dict.fromkeys(attempt.operation for attempt in known)]
        controls = [self._control(attempt, action) for attempt, action in zip(known, actions, strict=True)]
        run = self._run(known, actions, workflow)
        self._organise(run, controls)
        return [run, *actions]

    def _tool(self, operation: Operation, address: str | None, version: str) -> Any:
        about: dict[str, Any] = {
            "@type": "SoftwareApplication",
            "name": operation.name,
            "softwareVersion": version,
        }
        if operation.function.__doc__:
            about["description"] = " ".join(operation.function.__doc__.split())
        if address is not None:
            about["url"] = address
        return self._new(f"{address or ''}#operation/{operation.name}", about)

    def _action(self, attempt: Attempt) -> Any:
        """Add an attempt."""
        outcome = attempt.outcome or Outcome.INTERRUPTED
        job_ids = self._jobs_of(attempt)
        about: dict[str, Any] = {
            "@type": "CreateAction",
            "name": _name(attempt),
            "description": f"An attempt on {attempt.host}; its log is {attempt.log}",
            "startTime": iso(attempt.started),
            "endTime": iso(attempt.ended or attempt.started),
            "actionStatus": _STATUS[outcome],
            "instrument": self._tools[attempt.operation],
            "object": self._statepoints(job_ids),
            **self._agents,
        }
        if _STATUS[outcome] == _FAILED:
            about["error"] = attempt.message or outcome.value
        last = self._plan.journal.last(*attempt.key)
        if _STATUS[outcome] == _COMPLETED and last is not None and last.id == attempt.id:
            about["result"] = self._results(self._plan.definition.operations[attempt.operation], job_ids)
        return self._new(f"#attempt/{attempt.id}", about)

    def _control(self, attempt: Attempt, action: Any) -> Any:
        """Add that a step of the workflow led to an action."""
        about = {
            "@type": "ControlAction",
            "name": f"Step {_name(attempt)}",
            "instrument": self._steps[attempt.operation],
            "object": action,
        }
        return self._new(f"#control/{attempt.id}", about)

    def _run(self, attempts: Sequence[Attempt], actions: Sequence[Any], workflow: Any) -> Any:
        """Add the run of the workflow: all attempts together, whenever and wherever they were made."""
        job_ids = self._plan.workspace.job_ids
        about: dict[str, Any] = {
            "@type": "CreateAction",
            "name": f"Run of {workflow.id}",
            "description": f"{counted(len(attempts), 'attempt')} at tasks of {counted(len(job_ids), 'job')}",
            "startTime": iso(min(attempt.started for attempt in attempts)),
            "endTime": iso(max(attempt.ended or attempt.started for attempt in attempts)),
            "instrument": workflow,
            "object": self._statepoints(job_ids),
            "result": list({entity.id: entity for action in actions for entity in _listed(action, "result")}.values()),
            **self._agents,
            **self._outcome(),
        }
        return self._new("#run", about)

    def _organise(self, run: Any, controls: Sequence[Any]) -> None:
        """Add the engine, and that it organised the run."""
        from pointillist import __version__

        engine = self._new(
            "#engine",
            {
                "@type": "SoftwareApplication",
                "name": "pointillist",
                "description": "The workflow engine; the version is the one that wrote this archive.",
                "softwareVersion": __version__,
            },
        )
        about = {"@type": "OrganizeAction", "name": f"{run['name']} by pointillist", "instrument": engine}
        times = {name: run[name] for name in ("startTime", "endTime")}
        self._new("#organized", {**about, **times, "object": list(controls), "result": run, **self._agents})

    def _outcome(self) -> dict[str, str]:
        """Return how the run stands: nothing of one that is neither complete nor has failed."""
        plan = self._plan
        failed, n_open = [], 0
        for task in plan.tasks():
            # Told from the journal, because a task that has failed may be tried again where its archive is unpacked.
            if plan.state(task) is not State.COMPLETED:
                last = plan.journal.last(*task.key)
                n_open += 1
                if last is not None and last.outcome in _STATUS and _STATUS[last.outcome] == _FAILED:
                    failed.append(task)
        if failed:
            how_many = counted(len(failed), "task has", "tasks have")
            return {"actionStatus": _FAILED, "error": f"{how_many} failed; the first is {failed[0]}"}
        return {} if n_open else {"actionStatus": _COMPLETED}

    def _jobs_of(self, attempt: Attempt) -> list[str]:
        task = self._plan.find(*attempt.key)
        if task is not None:
            return list(task.aggregate.job_ids)
        return [attempt.aggregate_id] if self._plan.workspace.has_job(attempt.aggregate_id) else []

    def _statepoints(self, job_ids: Sequence[str]) -> list[Any]:
        return [self._entities[n] for i in job_ids if (n := f"workspace/{i}/{STATEPOINT}") in self._entities]

    def _results(self, operation: Operation, job_ids: Sequence[str]) -> list[Any]:
        """Return the files that an operation has made of some jobs, as far as the study names them."""
        wanted = self._declared.results.get(operation.name, _named(operation))
        patterns = [*wanted, *(f"workspace/*/{pattern}" for pattern in wanted)]
        mine = [name for job_id in (*job_ids, "") for name in self._files_of.get(job_id, ())]
        return [self._entities[name] for name in mine if matches(name, patterns)]

    def _new(self, identifier: str, about: Mapping[str, Any]) -> Any:
        from rocrate.model import ContextEntity

        return self._crate.add(ContextEntity(self._crate, identifier, {k: v for k, v in about.items() if v != []}))


def iso(time: float) -> str:
    """Return a time in seconds since 1970 as ISO 8601, UTC."""
    return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat(timespec="milliseconds")


def _name(attempt: Attempt) -> str:
    return f"{attempt.operation} ({attempt.aggregate_id})"


def _named(operation: Operation) -> tuple[str, ...]:
    """Return the files that the post-conditions of an operation read."""
    questions = [getattr(condition, "question", None) for condition in operation.post]
    return tuple(question.filename for question in questions if question is not None)


def _listed(entity: Any, name: str) -> list[Any]:
    value = entity.get(name, [])
    return value if isinstance(value, list) else [value]
