"""RO-Crate metadata of a study: what its files are, and by which attempts they were made.

Process Run Crate: each attempt of the journal is a ``CreateAction`` with its operation as ``instrument``, state points
as ``object`` and the files of the last good attempt at a task as ``result``. Made with the ``rocrate`` library, which
is imported here only.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointillist.definition.elsewhere import Archived, matches
from pointillist.errors import PointillistError
from pointillist.execution.packing import Content
from pointillist.execution.scratch import STATEPOINT
from pointillist.state.journal import Attempt, Outcome

if TYPE_CHECKING:
    from pointillist.definition.operations import Operation
    from pointillist.state.plan import Plan

METADATA = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_STATUS = {
    Outcome.COMPLETED: "http://schema.org/CompletedActionStatus",
    Outcome.ENDED: "http://schema.org/CompletedActionStatus",
    Outcome.FAILED: "http://schema.org/FailedActionStatus",
    Outcome.INTERRUPTED: "http://schema.org/FailedActionStatus",
}
_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".py": "text/x-python",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".html": "text/html",
}


def metadata(
    plan: Plan, root: Path, files: Mapping[str, Content], declared: Archived, *, entrypoint: str, code_version: str
) -> bytes:
    """Return the content of ``ro-crate-metadata.json``.

    Parameters
    ----------
    plan
        The plan of the project.
    root
        Its folder.
    files
        All other files of the archive.
    declared
        What the study says of itself.
    entrypoint
        The project file, as a path in the archive.
    code_version
        A hash of the code of the study.

    Raises
    ------
    PointillistError
        When the library is not installed.
    """
    try:
        from rocrate.model import ContextEntity, File
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise PointillistError(
            "The metadata of an archive are made with the library rocrate, which is not installed.",
            hint=f"{sys.executable} -m pip install 'pointillist[export]'",
        ) from error
    crate = ROCrate(version="1.1")
    attempts = [attempt for attempt in plan.journal.attempts() if attempt.ended is not None]
    about = {"name": root.name, "description": "A parameter study.", "license": "not stated", **declared.about}
    # The date of its last change, so that the same study gives the same bytes.
    about.setdefault("datePublished", _iso(max((a.ended or 0.0 for a in attempts), default=0.0)))
    for name, value in about.items():
        crate.root_dataset[name] = _licence(crate, value) if name == "license" else value
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    crate.root_dataset["conformsTo"] = crate.add(ContextEntity(crate, PROFILE, profile))
    entities = {name: crate.add(File(crate, None, name, properties=_about_file(name, c))) for name, c in files.items()}
    instruments = _instruments(crate, plan, entities.get(entrypoint), code_version)
    actions = _actions(crate, plan, attempts, instruments, entities, declared)
    mentioned = [*actions, *_declared(crate, root, declared, entities)]
    if mentioned:
        crate.root_dataset["mentions"] = mentioned
    return _sorted_bytes(crate.metadata.generate())


def _instruments(crate: Any, plan: Plan, project_file: Any, code_version: str) -> dict[str, Any]:
    """Add the operations."""
    from rocrate.model import ContextEntity

    instruments = {}
    for operation in plan.definition.operations.values():
        properties = {
            "@type": "SoftwareApplication",
            "name": operation.name,
            "softwareVersion": f"code of the study, SHA-1 {code_version}",
        }
        if operation.function.__doc__:
            properties["description"] = " ".join(operation.function.__doc__.split())
        instrument = crate.add(ContextEntity(crate, f"#operation/{operation.name}", properties))
        if project_file is not None:
            instrument["isPartOf"] = project_file
        instruments[operation.name] = instrument
    return instruments


def _actions(
    crate: Any,
    plan: Plan,
    attempts: Iterable[Attempt],
    instruments: Mapping[str, Any],
    entities: Mapping[str, Any],
    declared: Archived,
) -> list[Any]:
    """Add the attempts at operations that are still there."""
    from rocrate.model import ContextEntity

    by_job: dict[str, list[str]] = {}
    for name in entities:
        by_job.setdefault(name.split("/")[1] if name.startswith("workspace/") else "", []).append(name)
    actions = []
    for attempt in attempts:
        if attempt.operation not in instruments:
            continue
        action = crate.add(ContextEntity(crate, f"#attempt/{attempt.id}", _about_attempt(attempt)))
        action["instrument"] = instruments[attempt.operation]
        job_ids = _jobs_of(plan, attempt)
        action["object"] = [entities[n] for i in job_ids if (n := f"workspace/{i}/{STATEPOINT}") in entities]
        last = plan.journal.last(attempt.operation, attempt.aggregate_id)
        if attempt.outcome in (Outcome.COMPLETED, Outcome.ENDED) and last is not None and last.id == attempt.id:
            named = _named(plan.definition.operations[attempt.operation])
            wanted = declared.results.get(attempt.operation, named)
            patterns = [*wanted, *(f"workspace/*/{pattern}" for pattern in wanted)]
            mine = [name for job_id in (*job_ids, "") for name in by_job.get(job_id, ())]
            action["result"] = [entities[name] for name in mine if matches(name, patterns)]
        actions.append(action)
    return actions


def _sorted_bytes(graph: dict[str, Any]) -> bytes:
    graph["@graph"].sort(key=lambda entity: (entity["@id"] not in (METADATA, "./"), entity["@id"]))
    for entity in graph["@graph"]:
        for entry, value in entity.items():
            if isinstance(value, list) and value and all(isinstance(v, dict) and "@id" in v for v in value):
                entity[entry] = value[0] if len(value) == 1 else sorted(value, key=lambda v: v["@id"])
    return (json.dumps(graph, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _licence(crate: Any, value: str) -> Any:
    """Return an address as an entity of its own, as the recommendations ask."""
    from rocrate.model import ContextEntity

    if not value.startswith("http"):
        return value
    name = value.rstrip("/").rsplit("/", 1)[-1]
    return crate.add(
        ContextEntity(crate, value, {"@type": "CreativeWork", "name": name, "description": f"Licence {name}"})
    )


def _about_file(name: str, content: Content) -> dict[str, Any]:
    size = len(content) if isinstance(content, bytes) else os.path.getsize(content)
    about: dict[str, Any] = {"name": name.rsplit("/", 1)[-1], "contentSize": str(size)}
    kind = _TYPES.get(os.path.splitext(name)[1], "application/octet-stream")
    return about | {"encodingFormat": kind}


def _about_attempt(attempt: Attempt) -> dict[str, Any]:
    outcome = attempt.outcome or Outcome.INTERRUPTED
    about: dict[str, Any] = {
        "@type": "CreateAction",
        "name": f"{attempt.operation} ({attempt.aggregate_id})",
        "description": f"An attempt on {attempt.host}; its log is {attempt.log}",
        "startTime": _iso(attempt.started),
        "endTime": _iso(attempt.ended or attempt.started),
        "actionStatus": _STATUS[outcome],
    }
    if _STATUS[outcome].endswith("FailedActionStatus"):
        about["error"] = attempt.message or outcome.value
    return about


def _jobs_of(plan: Plan, attempt: Attempt) -> list[str]:
    task = plan.find(attempt.operation, attempt.aggregate_id)
    if task is not None:
        return list(task.aggregate.job_ids)
    return [attempt.aggregate_id] if plan.workspace.has_job(attempt.aggregate_id) else []


def _named(operation: Operation) -> tuple[str, ...]:
    """Return the files that the post-conditions of an operation read."""
    questions = [getattr(condition, "question", None) for condition in operation.post]
    return tuple(question.filename for question in questions if question is not None)


def _declared(crate: Any, root: Path, declared: Archived, entities: Mapping[str, Any]) -> list[Any]:
    """Add what the study itself has to say; return what is no data, and nothing else leads to."""
    from rocrate.model import ContextEntity

    added = []
    for entity in declared.entities(root) if declared.entities else ():
        properties = {key: value for key, value in entity.items() if key != "@id"}
        known = entities.get(entity["@id"])
        if known is None:
            new = crate.add(ContextEntity(crate, entity["@id"], properties))
            if properties.get("@type") in ("Dataset", "File"):
                crate.root_dataset.append_to("hasPart", new)
            else:
                added.append(new)
        else:
            for key, value in properties.items():
                if key != "@type":
                    known[key] = value
    return added


def _iso(time: float) -> str:
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")
