"""The fake Slurm: sbatch, squeue, scancel, scontrol and sacct, as far as they are used."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence

from fake_schedulers.queue import LIVE, Job, Queue, Rejected, Reply, expand, script_options

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sacct")
DOWN: Reply = (1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
LOST: Reply = (1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n")
_AFTER = {"afterok": "ok", "afternotok": "not_ok", "afterany": "any", "after": "started", "aftercorr": "elementwise"}
_HEADERS = {"JobArrayID": "JOBID", "BatchHost": "EXEC_HOST"}


def run(queue: Queue, program: str, arguments: Sequence[str], stdin: str, cwd: str) -> Reply:
    """Answer one command."""
    del stdin
    if program == "sbatch":
        return _sbatch(queue, arguments, cwd)
    if program == "squeue":
        return _squeue(queue, arguments)
    if program == "scancel":
        return _each(
            arguments,
            lambda one: _cancel(queue, one),
            "scancel: error: Kill job error on job id {}: Invalid job id specified",
        )
    if program == "scontrol" and arguments[0] == "release":
        ids = arguments[1].split(",")
        return _each(ids, queue.release, "slurm_suspend error: Invalid job id specified {}")
    if program == "scontrol":
        name, size = queue.faults["cluster"], queue.faults["max_array_size"]
        return 0, f"ClusterName             = {name}\nMaxArraySize            = {size}\n", ""
    return 1, "", "Slurm accounting storage is disabled\n"


def _cancel(queue: Queue, cluster_id: str) -> bool:
    never_started = [job["id"] for job in queue.find(cluster_id) if job["state"] == "PENDING"]
    found = queue.cancel(cluster_id)
    if "_" in cluster_id:
        # Slurm 22.05 keeps no record of an element that is cancelled before it starts.
        for one in set(never_started) & set(queue.jobs):
            queue.state["ended"][one] = queue.jobs.pop(one)
    return found


def _each(ids: Sequence[str], act: object, complaint: str) -> Reply:
    assert callable(act)
    words = "".join(complaint.format(one) + "\n" for one in ids if not act(one))
    return (1 if words else 0), "", words


def _sbatch(queue: Queue, arguments: Sequence[str], cwd: str) -> Reply:
    *options, path = arguments
    with open(path if path.startswith("/") else f"{cwd}/{path}", encoding="utf-8") as file:
        script = file.read()
    asked: dict[str, str] = {}
    for word in [*script_options(script, "#SBATCH "), *options]:
        key, _, value = word.partition("=")
        asked[key.lstrip("-")] = value
    try:
        _check(queue, asked)
        indices, limit = expand(asked["array"]) if "array" in asked else (None, None)
        if indices and max(indices) >= queue.faults["max_array_size"]:
            raise Rejected("Invalid job array specification")
        after = [
            (_AFTER.get(kind, kind), other)
            for kind, _, other in (one.partition(":") for one in asked.get("dependency", "").split(",") if one)
        ]
        base = queue.add(
            indices=indices,
            limit=limit,
            after=after,
            name=asked.get("job-name", path.rsplit("/", 1)[-1]),
            comment=asked.get("comment", ""),
            hold="hold" in asked,
            kill_if_never=asked.get("kill-on-invalid-dep") != "no",
            script=script,
            cwd=cwd,
            output="",
            asked=asked,
        )
    except Rejected as error:
        return 1, "", f"sbatch: error: Batch job submission failed: {error}\n"
    for job in queue.find(base):
        pattern = asked.get("output", "").replace("%%", "\0")
        pattern = pattern.replace("%A", base).replace("%j", base).replace("%a", str(job["index"]))
        job["output"] = pattern.replace("\0", "%")
    return 0, f"{base}\n", ""


def _check(queue: Queue, asked: dict[str, str]) -> None:
    known = ("main", "short", "")
    if asked.get("partition", "") not in known:
        raise Rejected("Invalid partition name specified")
    cores = int(asked.get("ntasks", "1")) * int(asked.get("cpus-per-task", "1"))
    if cores > queue.faults["largest_cores"]:
        raise Rejected("Requested node configuration is not available")


def _squeue(queue: Queue, arguments: Sequence[str]) -> Reply:
    options = dict(word.lstrip("-").partition("=")[::2] for word in arguments)
    fields = re.findall(r"(\w+):([^,]*)(?:,|$)", options["Format"])
    jobs = list(queue.jobs.values())
    if "jobs" in options:
        wanted = options["jobs"].split(",")
        jobs = [job for job in jobs if job["base"] in wanted or job["id"] in wanted]
        known = {job["base"] for job in queue.jobs.values()}
        if len(wanted) == 1 and wanted[0].split("_")[0] not in known:
            return 1, "", "slurm_load_jobs error: Invalid job id specified\n"
    else:
        if options["user"] != getpass.getuser():
            jobs = []
        jobs += [_other(number) for number in range(queue.faults["crowd"])]
        if "name" in options:
            jobs = [job for job in jobs if job["name"] in options["name"].split(",")]
    lines = ["".join(_HEADERS.get(name, name.upper()) + end for name, end in fields)]
    for shown, job in _folded(jobs):
        values = {
            "JobArrayID": shown,
            "State": queue.faults["unknown_state"]
            if job["state"] in LIVE and queue.faults["unknown_state"]
            else job["state"],
            "Reason": job["reason"],
            "exit_code": str(job["exit_code"] << 8 | job["signal"]),
            "BatchHost": "n/a" if job["state"] == "PENDING" else "n1",
            "Name": job["name"],
            "Comment": job["comment"] or "(null)",
        }
        lines.append("".join(values[name] + end for name, end in fields))
    return 0, "\n".join(lines) + "\n", ""


def few(text: str) -> str:
    """Cut an answer off exactly between two records, where it has more than two of them."""
    records = text.split("\x1e")
    count = len(records) - 2
    return text if count <= 2 else "\x1e".join(records[: 1 + count // 2]) + "\x1e\n"


def _folded(jobs: list[Job]) -> list[tuple[str, Job]]:
    """Show waiting elements of one array that wait for the same thing as one, as squeue does."""
    shown: list[tuple[str, Job]] = []
    folds: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if job["state"] == "PENDING" and job["index"] is not None:
            folds.setdefault((job["base"], job["reason"]), []).append(job)
        else:
            shown.append((job["id"], job))
    for (base, _), waiting in folds.items():
        indices = ",".join(_ranges(sorted(job["index"] for job in waiting)))
        limit = waiting[0].get("limit")
        shown.append((f"{base}_[{indices}{f'%{limit}' if limit else ''}]", waiting[0]))
    return shown


def _ranges(numbers: list[int]) -> list[str]:
    found: list[str] = []
    start = last = numbers[0]
    for number in [*numbers[1:], None]:
        if number is not None and number == last + 1:
            last = number
            continue
        found.append(str(start) if start == last else f"{start}-{last}")
        if number is not None:
            start = last = number
    return found


def _other(number: int) -> Job:
    return {
        "id": str(1_000_000 + number),
        "base": str(1_000_000 + number),
        "index": None,
        "state": "PENDING",
        "reason": "Priority",
        "exit_code": 0,
        "signal": 0,
        "name": f"other-{number}",
        "comment": "",
    }


def job_environment(job: Job) -> dict[str, str]:
    """What Slurm puts into a job's environment."""
    own = {"SLURM_JOB_ID": job["base"], "SLURM_JOB_NAME": job["name"]}
    if job["index"] is not None:
        own |= {"SLURM_ARRAY_JOB_ID": job["base"], "SLURM_ARRAY_TASK_ID": str(job["index"])}
    return own
