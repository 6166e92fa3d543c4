"""What the archive of the study holds besides its own files: descriptions of the data sets, and the locked packages."""

import json
from pathlib import Path
from typing import Any

from plmnist.croissant import FORMAT, croissant_bytes, describe
from plmnist.provenance import parts_of
from plmnist.surroundings import lock_file
from plmnist.verification import verify_folder

LOCK = "environment/requirements.txt"


def files(project: Path) -> dict[str, bytes]:
    """Return further files of the archive, by path."""
    found = {f"croissant/{path}": data for name in datasets(project) for path, data in croissant_bytes(name).items()}
    lock = lock_file()
    return found | ({LOCK: lock.read_bytes()} if lock is not None else {})


def entities(project: Path) -> list[dict[str, Any]]:
    """Return what the metadata say of the data sets and of those files, in the words of schema.org."""
    found: list[dict[str, Any]] = []
    if lock_file() is not None:
        found.append({"@id": LOCK, "description": "The exact versions of all packages, with hashes."})
    for name in datasets(project):
        about = describe(name)
        description = f"croissant/{name}.json"
        taken = {key: about[key] for key in ("name", "alternateName", "description", "license", "url", "datePublished")}
        found.append({"@id": about["url"], "@type": "Dataset", "subjectOf": {"@id": description}, **taken})
        found.append({"@id": description, "description": f"{about['alternateName']}: Croissant, {FORMAT}"})
    return found


def problems(folder: Path) -> list[str]:
    """Return what is wrong with the results of a job, as far as it has any."""
    return verify_folder(folder) if parts_of(folder) else []


def datasets(project: Path) -> list[str]:
    """Return the names of the data sets that the jobs use."""
    statepoints = project.glob("workspace/*/signac_statepoint.json")
    return sorted({json.loads(path.read_bytes())["dataset"] for path in statepoints})
