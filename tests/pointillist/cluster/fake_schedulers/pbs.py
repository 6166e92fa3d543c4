"""The fake OpenPBS: qsub, qstat, qdel and qrls, as far as they are used."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Sequence
from typing import Any

from fake_schedulers.queue import LIVE, Job, Queue, Rejected, Reply, expand, script_options

PROGRAMS = ("qsub", "qstat", "qdel", "qrls")
DOWN: Reply = (1, "", "Connection refused\nqstat: cannot connect to server head (errno=111)\n")
LOST: Reply = (1, "", "qsub: End of File\n")
_AFTER = {"afterok": "ok", "afternotok": "not_ok", "afterany": "any", "after": "started"}
_SERVER = ".head"


def run(queue: Queue, program: str, arguments: Sequence[str], stdin: str, cwd: str) -> Reply:
    """Answer one command."""
    del stdin
    if program == "qsub":
        return _qsub(queue, arguments, cwd)
    if program == "qstat":
        return _qstat(queue, arguments)
    act = queue.cancel if program == "qdel" else queue.release
    words = "".join(f"{program}: Unknown Job Id {one}\n" for one in arguments if not act(_plain(one)))
    return (153 if words else 0), "", words


def _plain(native: str) -> str:
    match = re.fullmatch(r"(\d+)(?:\[(\d*)\])?(?:\.\w+)?", native)
    if match is None:
        return native
    return f"{match[1]}_{match[2]}" if match[2] else match[1]


def _qsub(queue: Queue, arguments: Sequence[str], cwd: str) -> Reply:
    *options, path = arguments
    with open(path if path.startswith("/") else f"{cwd}/{path}", encoding="utf-8") as file:
        script = file.read()
    words = [*script_options(script, "#PBS "), *options]
    asked: dict[str, str] = {}
    while words:
        key = words.pop(0).lstrip("-")
        value = "" if key in ("h", "V") else words.pop(0)
        asked[f"{key} {value.partition('=')[0]}" if key in ("l", "W") else key] = value
    indices, limit = expand(asked["J"]) if "J" in asked else (None, None)
    if asked.get("q", "main") not in ("main", "short"):
        return 170, "", "qsub: Unknown queue\n"
    chunk = asked.get("l select", "select=1:ncpus=1").split(":")
    if int(chunk[0].split("=")[1]) * int(chunk[1].split("=")[1]) > queue.faults["largest_cores"]:
        return 188, "", "qsub: Job violates queue and/or server resource limits\n"
    after = []
    for one in asked.get("W depend", "depend=").partition("=")[2].split(","):
        kind, _, others = one.partition(":")
        after += [(_AFTER.get(kind, kind), _plain(other)) for other in others.split(":") if other]
    try:
        base = queue.add(
            indices=indices,
            limit=limit,
            after=after,
            name=asked.get("N", "STDIN"),
            hold="h" in asked,
            script=script,
            cwd=cwd,
            output="",
        )
    except Rejected as error:
        return 1, "", f"qsub: {error}\n"
    for job in queue.find(base):
        job["output"] = asked.get("o", "").replace("^array_index^", str(job["index"]))
    return 0, f"{base}{'[]' if indices is not None else ''}{_SERVER}\n", ""


def _qstat(queue: Queue, arguments: Sequence[str]) -> Reply:
    asked = [word for word in arguments if word[0].isdigit()]
    jobs = list(queue.jobs.values())
    complaints = []
    if asked:
        found = []
        for native in asked:
            mine = [job for job in jobs if job["base"] == _plain(native)]
            mine = [job for job in mine if (job["index"] is not None) == ("[]" in native)]
            found += mine
            if not mine:
                complaints.append(f"qstat: Unknown Job Id {native}\n")
        jobs = found
    listed: dict[str, Any] = {}
    for job in jobs:
        if job["index"] is not None:
            listed.setdefault(f"{job['base']}[]{_SERVER}", {"Job_Name": job["name"], "job_state": "B"})
        native = job["base"] if job["index"] is None else f"{job['base']}[{job['index']}]"
        listed[native + _SERVER] = _record(job, queue.faults["unknown_state"])
    answer: dict[str, Any] = {"timestamp": 1700000000, "pbs_version": "22.05.11", "pbs_server": "head"}
    if listed:
        answer["Jobs"] = listed
    return (153 if complaints else 0), json.dumps(answer, indent=4) + "\n", "".join(complaints)


def _record(job: Job, unknown: str) -> dict[str, Any]:
    record: dict[str, Any] = {"Job_Name": job["name"], "Job_Owner": f"{getpass.getuser()}@head", "queue": "main"}
    if job["state"] == "RUNNING":
        record["job_state"] = "R"
    elif job["state"] == "PENDING":
        waits = job["reason"] in ("JobHeldUser", "Dependency")
        record |= {"job_state": "H" if waits else "Q", "Hold_Types": "u" if job.get("hold") else "n"}
        if job["reason"] == "Dependency":
            record |= {"Hold_Types": "s", "depend": "afterok:1.head@head"}
    else:
        record["job_state"] = "F"
        if job["signal"]:
            record["Exit_status"] = 256 + job["signal"]
        elif job["state"] in ("COMPLETED", "FAILED"):
            record["Exit_status"] = job["exit_code"]
    if unknown and job["state"] in LIVE:
        record["job_state"] = unknown
    return record


def job_environment(job: Job) -> dict[str, str]:
    """What PBS puts into a job's environment."""
    own = {"PBS_JOBID": job["base"] + _SERVER, "PBS_JOBNAME": job["name"]}
    if job["index"] is not None:
        own["PBS_ARRAY_INDEX"] = str(job["index"])
    return own
