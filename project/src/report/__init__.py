"""The report of the study: one page that answers its question, made from the job folders alone.

``facts`` reads the folders, ``effects`` compares, ``answer`` says it in a sentence, ``figures`` draws, ``page`` puts
everything on one page by the template ``page.html``.
"""

import fcntl
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from src.seed_analysis import MADE_BY, job_folders, read_index, write_index

from plmnist.provenance import recording

INDEX = "output_report.json"
# What a report is made from, besides the state point; the provenance is told as well but makes no report outdated.
RECORDS = ("train.json", "fgsm.json", "pgd.json", "noise.json", "checks.json")


def write_report(workspace: Path, analysis: Path) -> str:
    """Write the report, its figures and the table of all measurements, from what there is in a workspace.

    Returns the question and its answer as text, a line for each data set.
    """
    from src.report.answer import answer
    from src.report.facts import read_study
    from src.report.page import render

    from plmnist.results import write_atomically

    (analysis / "figures").mkdir(parents=True, exist_ok=True)
    with open(analysis / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with recording(analysis, "report", **MADE_BY) as making:
            folders = job_folders(workspace)
            digests = {folder.name: digest_of(folder) for folder in folders}
            study = read_study(folders)
            files = render(study)
            for name, content in files.items():
                write_atomically(analysis / name, content)
            making.inputs["results_sha256"], making.outputs = digests, list(files)
        write_index(analysis, INDEX, making)  # last, after the provenance
    answers = [answer(results) for results in study.datasets]
    return "\n".join([*(found.question for found in answers[:1]), *(found.sentence for found in answers)])


def is_up_to_date(analysis: Path, jobs: Iterable[Any]) -> bool:
    """Say whether the report is there, made from the present results of these signac jobs and of none that has gone."""
    index = read_index(analysis, INDEX)
    if index is None:
        return False
    told = dict(index["jobs"])
    folders = [Path(job.path) for job in jobs]
    if any(told.pop(folder.name, None) != digest_of(folder) for folder in folders):
        return False
    # What remains are folders that signac can't read; the report names them.
    return not told or all((folders[0].parent / name).is_dir() for name in told)


def digest_of(folder: Path) -> str:
    """Return a hash of a job's records, of those that are there."""
    digest = hashlib.sha256()
    for name in RECORDS:
        path = folder / name
        if path.exists():
            digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()
