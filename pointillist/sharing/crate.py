"""RO-Crate metadata of a study: what it is, who made it, what its files are, and by which attempts they were made.

A Provenance Run Crate, the fullest of the Workflow Run profiles: the project file is the workflow, operations are its
steps, and each attempt of the journal is an action (:mod:`pointillist.sharing.crate_actions`). Made with the
``rocrate`` library, which is imported here only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointillist.definition.elsewhere import Archived
from pointillist.errors import PointillistError
from pointillist.sharing.citation import read_citation
from pointillist.sharing.crate_actions import Actions, iso
from pointillist.sharing.libraries import needed_for_metadata
from pointillist.sharing.packing import Content

if TYPE_CHECKING:
    from pointillist.state.plan import Plan

METADATA = "ro-crate-metadata.json"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
RUN_CRATES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
}
_WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_PEOPLE = ("author", "publisher")
_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".cff": "application/yaml",
    ".py": "text/x-python",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".html": "text/html",
}


def metadata(
    plan: Plan,
    root: Path,
    files: Mapping[str, Content],
    declared: Archived,
    *,
    about: Mapping[str, Any],
    entrypoint: str,
    code_version: str,
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
        What the study says of its files.
    about
        What is said of the whole, as from :func:`about_study`.
    entrypoint
        The project file, as a path in the archive.
    code_version
        A hash of the code of the study.

    Raises
    ------
    PointillistError
        When the library is not installed.
    """
    with needed_for_metadata("rocrate"):
        from rocrate.model import File
        from rocrate.rocrate import ROCrate
    crate = ROCrate(version="1.1")
    attempts = [attempt for attempt in plan.journal.attempts() if attempt.ended is not None]
    about = dict(about)
    # The date of its last change, so that the same study gives the same bytes.
    about.setdefault("datePublished", iso(max((a.ended or 0.0 for a in attempts), default=0.0)))
    repository = about.pop("codeRepository", None)
    people = {name: _people(crate, about.pop(name)) for name in _PEOPLE if about.get(name)}
    for name, value in {**about, **people}.items():
        crate.root_dataset[name] = _licence(crate, value) if name == "license" else value
    entities = {
        name: crate.add(File(crate, None, name, properties=_about_file(name, content, is_workflow=name == entrypoint)))
        for name, content in files.items()
    }
    if "README.md" in entities:
        entities["README.md"]["about"] = crate.root_dataset

    workflow = entities.get(entrypoint)
    address = repository or about.get("url")
    version = f"code of the study, SHA-1 {code_version}"
    actions = Actions(crate, plan, entities, declared, people.get("author"), address, version)
    if workflow is not None:
        _about_workflow(crate, workflow, version, repository)
        crate.root_dataset["mainEntity"] = workflow
        actions.add_steps(workflow)
    mentioned = actions.add(attempts, workflow)
    _conform(crate, has_workflow=workflow is not None, has_runs=bool(mentioned))
    mentioned += _declared(crate, root, declared, entities)
    if mentioned:
        crate.root_dataset["mentions"] = mentioned
    return _sorted_bytes(crate.metadata.generate())


def about_study(root: Path, declared: Archived) -> dict[str, Any]:
    """Return the properties of the whole: what ``CITATION.cff`` states, else what the study declares.

    Raises
    ------
    PointillistError
        When ``CITATION.cff`` can't be understood, or the library for it is not installed.
    """
    defaults = {"name": root.name, "description": "A parameter study.", "license": "not stated"}
    return {**defaults, **declared.about, **read_citation(root)}


def _conform(crate: Any, *, has_workflow: bool, has_runs: bool) -> None:
    """Name the profiles that the crate keeps: with nothing attempted there is no run to describe."""
    runs = list(RUN_CRATES) if has_workflow else list(RUN_CRATES)[:1]
    kept = {address: RUN_CRATES[address] for address in runs} if has_runs else {}
    if has_workflow:
        kept[WORKFLOW_CRATE] = "Workflow RO-Crate"
        crate.metadata["conformsTo"] = [_entity(crate, {"@id": a}) for a in (crate.metadata.profile, WORKFLOW_CRATE)]
    if kept:
        crate.root_dataset["conformsTo"] = [
            _entity(crate, {"@id": a, "@type": "CreativeWork", "name": name, "version": a.rsplit("/", 1)[-1]})
            for a, name in kept.items()
        ]


def _about_workflow(crate: Any, workflow: Any, version: str, repository: str | None) -> None:
    """Say of the project file that it is the workflow."""
    workflow["version"] = version
    workflow["conformsTo"] = {"@id": _WORKFLOW_PROFILE}
    language = {"@type": "ComputerLanguage", "name": "Python", "url": "https://www.python.org/"}
    workflow["programmingLanguage"] = _entity(crate, {"@id": "https://www.python.org/", **language})
    if repository is not None:
        workflow["codeRepository"] = workflow["url"] = repository


def _people(crate: Any, value: Any) -> list[Any]:
    """Return persons and organisations as entities; a bare name is that of a person."""
    people = []
    for one in value if isinstance(value, (list, tuple)) else [value]:
        about = {"@type": "Person", "name": one} if isinstance(one, str) else dict(one)
        about.setdefault("@type", "Person")
        if "name" not in about:
            raise PointillistError(
                f"An author or publisher of the study has no name: {one}", hint="Add one in FlowProject.archived."
            )
        if "affiliation" in about:
            (about["affiliation"],) = _people(crate, _as_organisation(about["affiliation"]))
        about.setdefault("@id", f"#{about['@type'].lower()}/{'-'.join(about['name'].split())}")
        people.append(_entity(crate, about))
    return people


def _as_organisation(value: Any) -> dict[str, Any]:
    return {"@type": "Organization", **({"name": value} if isinstance(value, str) else value)}


def _entity(crate: Any, about: Mapping[str, Any]) -> Any:
    """Return the entity with an id, added if it is not there."""
    from rocrate.model import ContextEntity

    present = crate.get(about["@id"])
    if present is not None or "@type" not in about:
        return present or {"@id": about["@id"]}
    properties = {key: value for key, value in about.items() if key != "@id"}
    return crate.add(ContextEntity(crate, about["@id"], properties))


def _licence(crate: Any, value: str) -> Any:
    """Return an address as an entity of its own, as the recommendations ask."""
    if not value.startswith("http"):
        return value
    name = value.rstrip("/").rsplit("/", 1)[-1]
    return _entity(crate, {"@id": value, "@type": "CreativeWork", "name": name, "description": f"Licence {name}"})


def _about_file(name: str, content: Content, *, is_workflow: bool) -> dict[str, Any]:
    size = len(content) if isinstance(content, bytes) else os.path.getsize(content)
    about: dict[str, Any] = {"name": name.rsplit("/", 1)[-1], "contentSize": str(size)}
    kind = _TYPES.get(os.path.splitext(name)[1], "application/octet-stream")
    if is_workflow:
        about["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    return about | {"encodingFormat": kind}


def _declared(crate: Any, root: Path, declared: Archived, entities: Mapping[str, Any]) -> list[Any]:
    """Add what the study itself has to say; return what is no data, and nothing else leads to."""
    added = []
    for entity in declared.entities(root) if declared.entities else ():
        known = entities.get(entity["@id"])
        if known is None:
            new = _entity(crate, entity)
            if entity.get("@type") in ("Dataset", "File"):
                crate.root_dataset.append_to("hasPart", new)
            else:
                added.append(new)
        else:
            for key, value in entity.items():
                if not key.startswith("@"):
                    known[key] = value
    return added


def _sorted_bytes(graph: dict[str, Any]) -> bytes:
    graph["@graph"].sort(key=lambda entity: (entity["@id"] not in (METADATA, "./"), entity["@id"]))
    for entity in graph["@graph"]:
        for entry, value in entity.items():
            if isinstance(value, list) and value and all(isinstance(v, dict) and "@id" in v for v in value):
                entity[entry] = value[0] if len(value) == 1 else sorted(value, key=lambda v: v["@id"])
    return (json.dumps(graph, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
