"""The fake LSF: bsub, bjobs, bkill and bresume, as far as they are used."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from fake_schedulers.queue import LIVE, Job, Queue, Reply, expand, script_options

PROGRAMS = ("bsub", "bjobs", "bkill", "bresume")
DOWN: Reply = (255, "", "LSF is down. Please wait ...\n")
LOST: Reply = (255, "", "Failed to receive message: Connection reset by peer. Job not submitted.\n")
_AFTER = {"done": "ok", "exit": "not_ok", "ended": "any", "started": "started"}
_FLAGS = ("H", "ti", "r", "rn")


def run(queue: Queue, program: str, arguments: Sequence[str], stdin: str, cwd: str) -> Reply:
    """Answer one command."""
    if program == "bsub":
        return _bsub(queue, arguments, stdin, cwd)
    if program == "bjobs":
        return _bjobs(queue, arguments)
    act = queue.cancel if program == "bkill" else queue.release
    words = "".join(f"Job <{one}>: No matching job found\n" for one in arguments if not act(_plain(one)))
    return (255 if words else 0), "", words


def _plain(native: str) -> str:
    match = re.fullmatch(r"(\d+)(?:\[(\d+)\])?", native)
    if match is None:
        return native
    return f"{match[1]}_{match[2]}" if match[2] else match[1]


def _bsub(queue: Queue, arguments: Sequence[str], script: str, cwd: str) -> Reply:
    words = [*script_options(script, "#BSUB "), *arguments]
    asked: dict[str, str] = {}
    while words:
        key = words.pop(0).lstrip("-")
        asked[key] = "" if key in _FLAGS else words.pop(0)
    named = re.fullmatch(r"(.*?)(?:\[([^\]]*)\](%\d+)?)?", asked.get("J", ""))
    assert named is not None
    indices, limit = expand(named[2] + (named[3] or "")) if named[2] else (None, None)
    if asked.get("q", "main") not in ("main", "short"):
        return 255, "", f"{asked['q']}: No such queue. Job not submitted.\n"
    if int(asked.get("n", "1")) > queue.faults["largest_cores"]:
        return 255, "", "Too many processors requested. Job not submitted.\n"
    after = []
    for kind, other, star in re.findall(r"(\w+)\((\d+(?:\[\d+\])?)(\[\*\])?\)", asked.get("w", "")):
        after.append(("elementwise" if star else _AFTER[kind], _plain(other)))
    base = queue.add(
        indices=indices,
        limit=limit,
        after=after,
        name=named[1],
        comment=asked.get("Jd", ""),
        hold="H" in asked,
        kill_if_never="ti" in asked,
        script=script,
        cwd=cwd,
        output="",
    )
    for job in queue.find(base):
        job["output"] = asked.get("o", "").replace("%J", base).replace("%I", str(job["index"]))
    return 0, f"Job <{base}> is submitted to queue <{asked.get('q', 'main')}>.\n", ""


def _bjobs(queue: Queue, arguments: Sequence[str]) -> Reply:
    asked = [word for word in arguments if word.isdecimal()]
    records: list[dict[str, Any]] = []
    complaints = ""
    for one in asked or [""]:
        mine = [job for job in queue.jobs.values() if not one or job["base"] == one]
        records += [_record(job, queue.faults["unknown_state"]) for job in mine]
        if one and not mine:
            records.append({"JOBID": one, "ERROR": f"Job <{one}> is not found"})
            complaints += f"Job <{one}> is not found\n"
    answer = {"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}
    return (255 if complaints else 0), json.dumps(answer, indent=2) + "\n", complaints


def _record(job: Job, unknown: str) -> dict[str, str]:
    index = job["index"]
    record = {
        "JOBID": job["base"],
        "JOBINDEX": str(index or 0),
        "STAT": {"PENDING": "PEND", "RUNNING": "RUN", "COMPLETED": "DONE"}.get(job["state"], "EXIT"),
        "EXIT_CODE": "",
        "EXIT_REASON": "",
        "PEND_REASON": "",
        "FIRST_HOST": "" if job["state"] == "PENDING" else "n1",
        "JOB_NAME": job["name"] if index is None else f"{job['name']}[{index}]",
        "JOB_DESCRIPTION": job.get("comment", ""),
    }
    if job["reason"] == "JobHeldUser":
        record["STAT"] = "PSUSP"
    elif job["state"] == "PENDING":
        record["PEND_REASON"] = {
            "Dependency": "Job dependency condition not satisfied;",
            "DependencyNeverSatisfied": "Dependency condition invalid or never satisfied;",
        }.get(job["reason"], "New job is waiting for scheduling;")
    elif job["state"] == "CANCELLED":
        orphan = job["reason"] == "DependencyNeverSatisfied"
        record["EXIT_REASON"] = "TERM_ORPHAN_SYSTEM: orphaned" if orphan else "TERM_OWNER: job killed by owner"
        record["EXIT_CODE"] = str(128 + job["signal"]) if job["signal"] else ""
    elif record["STAT"] == "EXIT":
        record["EXIT_CODE"] = str(128 + job["signal"] if job["signal"] else job["exit_code"])
    if unknown and job["state"] in LIVE:
        record["STAT"] = unknown
    return record


def job_environment(job: Job) -> dict[str, str]:
    """What LSF puts into a job's environment."""
    return {"LSB_JOBID": job["base"], "LSB_JOBINDEX": str(job["index"] or 0), "LSB_JOBNAME": job["name"]}
