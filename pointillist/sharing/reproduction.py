"""Reproduction: finished jobs are made once more in a scratch copy of the project, and every file is compared.

The copy works through its operations by the ordinary ``run``, one operation after the other, so that it is known which
file each of them makes. Two files are identical byte by byte, or a comparator that the study declares says how far
apart they are; it is asked only where the study does not expect equal bytes, on a machine of another fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointillist.definition.elsewhere import Reproduction, matches
from pointillist.definition.grid import STATEPOINT
from pointillist.errors import SelectionError
from pointillist.sharing.scratch import Scratch, Stamps, files_in, stamps_in
from pointillist.state.plan import Plan
from pointillist.state.tasks import State

if TYPE_CHECKING:
    from pointillist.definition.operations import Operation

OUTSIDE = "-"
"""Stands for the job of a file outside the workspace, and for the operation of a file that none has made."""


class Verdict(StrEnum):
    """How an original and what was made again compare."""

    IDENTICAL = "identical"
    WITHIN = "within tolerance"
    NOT_COMPARED = "not compared"
    DIFFERENT = "DIFFERENT"
    NOT_MADE = "NOT MADE AGAIN"
    NEW = "NOT IN THE ORIGINAL"
    OUTDATED = "ORIGINAL OF AN EARLIER VERSION"
    DAMAGED = "ORIGINAL DAMAGED"


MOST_ROUNDS = 100
"""What has not come to an end after so many runs of each operation never will."""

GOOD = frozenset({Verdict.IDENTICAL, Verdict.WITHIN, Verdict.NOT_COMPARED})


@dataclass(frozen=True)
class Finding:
    """One file and its verdict."""

    job_id: str
    operation: str
    file: str
    verdict: Verdict
    note: str = ""
    sha256: str = ""
    """Of the original."""
    same_machine: bool | None = None
    """Whether the fingerprints agree; None where there is none."""

    def as_json(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {
            "job": self.job_id,
            "operation": self.operation,
            "file": self.file,
            "verdict": self.verdict.value,
            "note": self.note,
            "sha256": self.sha256,
            "same_machine": self.same_machine,
        }


@dataclass
class Reproduced:
    """All findings, and what operations said that did not come through."""

    findings: list[Finding] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """Whether there is something, and nothing is different, missing or new."""
        return bool(self.findings) and not self.failures and all(f.verdict in GOOD for f in self.findings)


def choose_jobs(
    plan: Plan, operations: Collection[str], asked: Collection[str] | None, sample: int | None, seed: int
) -> tuple[list[str], int]:
    """Return the finished jobs to make again, sorted, and how many finished ones there are.

    Parameters
    ----------
    plan
        The plan of the original.
    operations
        Names of the operations that must be complete for a job to count as finished; those on several jobs don't count.
    asked
        Ids of jobs; None for all.
    sample
        How many of them to draw; None for all.
    seed
        Of the drawing.

    Raises
    ------
    SelectionError
        When a job that was asked for is not finished, or none is.
    """
    singles = [plan.definition.operations[name] for name in operations]
    singles = [operation for operation in singles if operation.aggregator.is_single]
    finished = []
    for job_id in sorted(plan.workspace.job_ids):
        states = {operation.name: _state(plan, operation, job_id) for operation in singles}
        unfinished = [
            f"{name} is {state or 'broken'}" for name, state in states.items() if state is not State.COMPLETED
        ]
        if not unfinished:
            finished.append(job_id)
        elif asked is not None and job_id in asked:
            raise SelectionError(
                f"The job {job_id} is not finished: {unfinished[0]}.",
                hint="Only what has been made can be made again. `python project.py run` finishes it.",
            )
    chosen = [job_id for job_id in finished if asked is None or job_id in asked]
    if not chosen:
        raise SelectionError("No job is finished.", hint="-o names the operations that have to be complete.")
    if sample is not None and sample < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, sample))
    return chosen, len(finished)


def operations_needed(operations: Sequence[Operation], chosen: Collection[str], *, everything: bool) -> list[str]:
    """Return the operations to run, in the order of their definition.

    Those on several jobs are left out unless one on single jobs comes after them, which may need them: what they make
    of a part of the jobs is not what they have made of all.
    """
    last = 0
    for number, operation in enumerate(operations, start=1):
        if operation.aggregator.is_single and operation.name in chosen:
            last = number
    return [operation.name for operation in operations[: len(operations) if everything else last]]


def reproduce(
    scratch: Scratch,
    root: Path,
    job_ids: Sequence[str],
    operations: Sequence[str],
    declared: Reproduction,
    *,
    run_options: Sequence[str] = (),
    whole: bool = False,
    partial: bool = False,
    endless: Collection[str] = (),
    told: Callable[[str], None] = lambda text: None,
) -> Reproduced:
    """Run operations in a scratch copy and compare what they make with the originals.

    Parameters
    ----------
    scratch
        The copy, with the jobs in it.
    root
        The folder of the original.
    job_ids, operations
        What to do.
    declared
        How to compare.
    run_options
        For each ``run``.
    whole
        Compare what the study makes outside of the workspace, too.
    partial
        Not all operations are run: a file that none of them makes is no matter.
    endless
        Those that are never complete: that they write the same files once more is nothing new.
    told
        Is told which operation begins.
    """
    makers: dict[tuple[str, str], str] = {}
    reproduced = Reproduced()
    before = _everything(scratch, job_ids, declared.made)
    # What an operation waits for may be declared after it, and it may take several runs: go round until nothing is new.
    for _ in range(MOST_ROUNDS if operations else 0):
        progress = False
        for name in operations:
            told(name)
            outcome = scratch.run("run", "--no-progress", "-o", name, *run_options)
            after = _everything(scratch, job_ids, declared.made)
            changed = [place for place, stamp in after.items() if before.get(place) != stamp]
            progress = progress or any(name not in endless or makers.get(place) != name for place in changed)
            makers.update(dict.fromkeys(changed, name))
            before = after
            if outcome.returncode != 0:
                reproduced.failures[name] = outcome.stdout
            else:
                reproduced.failures.pop(name, None)
        if not progress or reproduced.failures or _are_complete(scratch, operations):
            break
    for job_id in job_ids:
        reproduced.findings += _compare_job(scratch, root, job_id, makers, declared, partial=partial)
    if whole:
        elsewhere = any(finding.same_machine is False for finding in reproduced.findings)
        reproduced.findings += _compare_outside(scratch, root, makers, declared, elsewhere=elsewhere)
    return reproduced


def _state(plan: Plan, operation: Operation, job_id: str) -> State | None:
    task = plan.find(operation.name, job_id)
    return None if task is None else plan.state(task)


def _are_complete(scratch: Scratch, operations: Iterable[str]) -> bool:
    try:
        status = json.loads(scratch.run("status", "--json").stdout)
        counts = {entry["name"]: entry for entry in status["operations"]}
        unfinished = [state.value for state in State if state is not State.COMPLETED]
        return not any(counts[name][state] for name in operations for state in unfinished)
    except (ValueError, KeyError, TypeError):
        return False


def _everything(scratch: Scratch, job_ids: Iterable[str], made: Collection[str]) -> dict[tuple[str, str], Any]:
    """Return a stamp for each file of the jobs, and for each that the study makes outside of the workspace."""
    found: dict[tuple[str, str], Any] = {}
    for job_id in job_ids:
        found.update({(job_id, name): stamp for name, stamp in stamps_in(scratch.job(job_id)).items()})
    if made:
        found.update({(OUTSIDE, name): stamp for name, stamp in _outside(scratch.path, made).items()})
    return found


def _outside(root: Path, made: Collection[str]) -> Stamps:
    """Return the files that the study makes outside of the workspace."""
    tops = {pattern.split("/")[0] for pattern in made}
    found: Stamps = {}
    for top in sorted(tops):
        if (root / top).is_dir():
            found.update({f"{top}/{name}": stamp for name, stamp in stamps_in(root / top).items()})
        elif (root / top).is_file():
            stat = (root / top).lstat()
            found[top] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return {name: stamp for name, stamp in found.items() if matches(name, made)}


def _compare_job(
    scratch: Scratch,
    root: Path,
    job_id: str,
    makers: dict[tuple[str, str], str],
    declared: Reproduction,
    *,
    partial: bool,
) -> Iterator[Finding]:
    original, again = root / "workspace" / job_id, scratch.job(job_id)
    names = {*files_in(original), *files_in(again)}
    if partial:
        names = {name for name in names if (job_id, name) in makers}
    told = set()
    for name in sorted(names):
        if name != STATEPOINT and not matches(name, (*declared.inputs, *declared.ignore)):
            maker = makers.get((job_id, name), OUTSIDE)
            finding = _compare_file(job_id, maker, name, original, again, declared)
            told.add(finding.note)
            yield finding
    for sentence in declared.verify(original) if declared.verify else ():
        if sentence not in told:
            yield Finding(job_id, OUTSIDE, "", Verdict.DAMAGED, sentence)


def _compare_outside(
    scratch: Scratch, root: Path, makers: dict[tuple[str, str], str], declared: Reproduction, *, elsewhere: bool
) -> Iterator[Finding]:
    """Compare what was made of all jobs: by another machine, if one of the jobs was."""

    def fingerprint(folder: Path, name: str) -> str:
        return str(folder) if elsewhere else ""

    declared = replace(declared, fingerprint=fingerprint)
    for name in sorted({*_outside(root, declared.made), *_outside(scratch.path, declared.made)}):
        if not matches(name, declared.ignore):
            maker = makers.get((OUTSIDE, name), OUTSIDE)
            yield _compare_file(OUTSIDE, maker, name, root, scratch.path, declared)


def _compare_file(job_id: str, maker: str, name: str, original: Path, again: Path, declared: Reproduction) -> Finding:
    def found(verdict: Verdict, note: str = "", same: bool | None = None) -> Finding:
        return Finding(job_id, maker, name, verdict, note, sha256, same)

    sha256 = ""
    if not (original / name).is_file():
        return found(Verdict.NEW)
    content = (original / name).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if not (again / name).is_file():
        return found(Verdict.NOT_MADE)
    if declared.outdated and (sentence := declared.outdated(original, name)):
        return found(Verdict.OUTDATED, sentence)
    same, why = _same_machine(original, again, name, declared)
    if content == (again / name).read_bytes():
        return found(Verdict.IDENTICAL, same=same)
    compare = declared.comparator(name)
    if same or compare is None or (same is None and declared.fingerprint is not None):
        verdict, notes = Verdict.DIFFERENT, [why]
    else:
        is_within, text = compare(original / name, again / name)
        verdict = {True: Verdict.WITHIN, False: Verdict.DIFFERENT, None: Verdict.NOT_COMPARED}[is_within]
        notes = [text]
    if verdict is Verdict.DIFFERENT:
        notes.append(_other_code(original, again, name, declared))
    return found(verdict, "; ".join(filter(None, notes)), same)


def _same_machine(original: Path, again: Path, name: str, declared: Reproduction) -> tuple[bool | None, str]:
    """Return whether equal bytes are to be expected, None if that is not known; and in words."""
    if declared.fingerprint is None:
        return None, ""
    prints = [declared.fingerprint(folder, name) for folder in (original, again)]
    if None in prints:
        return None, "on what machine it was made is not recorded, so equal bytes are asked for"
    if prints[0] == prints[1]:
        return True, "made on a machine of the same fingerprint"
    return False, ""


def _other_code(original: Path, again: Path, name: str, declared: Reproduction) -> str:
    """Say by what code each was made, if by different code."""
    then, now = (declared.code(folder, name) if declared.code else None for folder in (original, again))
    return f"made by other code: {then or 'not recorded'}, now {now or 'not recorded'}" if then != now else ""
