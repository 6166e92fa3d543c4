"""One pretend queue behind all fake schedulers: a locked JSON file, and faults that a test can ask for.

Nothing moves by itself: cluster jobs start, end and fail when the test says so. The faces (`slurm.py`,
`pbs.py`, `lsf.py`) turn command lines into calls of this and its state into text; `FakeScheduler` is the
test's own handle. It imports nothing but the standard library, so that a fake command starts fast.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Job = dict[str, Any]
Reply = tuple[int, str, str]

LIVE = ("PENDING", "RUNNING")
FAULTS: dict[str, Any] = {
    "delay_s": 0.0,  # every answer comes this late
    "hang": False,  # no command ever answers
    "down": False,  # the commands say that they cannot reach the scheduler
    "half": False,  # questions are answered with the first half of the text
    "few": False,  # longer answers to questions stop halfway between two records, where the format allows it
    "nothing": False,  # questions are answered with nothing, exit code 0
    "fail_every": 0,  # every k-th submission is lost with a transient error
    "mute_submit": False,  # submissions are accepted, then the answer is lost
    "forget": False,  # jobs that have ended are forgotten at once
    "unknown_state": "",  # this word is given as the state of every live job
    "crowd": 0,  # this many other jobs of the user are in the queue
    "cluster": "pretend",
    "max_array_size": 1001,
    "largest_cores": 64,
}


class Rejected(Exception):
    """The fake scheduler refuses a submission, in these words."""


class Queue:
    """The state behind one fake scheduler, open under its lock."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @property
    def jobs(self) -> dict[str, Job]:
        return self.state["jobs"]

    @property
    def faults(self) -> dict[str, Any]:
        return self.state["faults"]

    def add(self, *, indices: list[int] | None, after: list[tuple[str, str]], **job: Any) -> str:
        """Take in a job, or one record for each element of an array."""
        base = str(self.state["next"])
        self.state["next"] += 1
        for kind, other in after:
            if kind not in ("ok", "not_ok", "any", "started", "elementwise"):
                raise Rejected("Job dependency problem")
            del other
        for index in [None] if indices is None else indices:
            one = base if index is None else f"{base}_{index}"
            self.jobs[one] = {
                "id": one,
                "base": base,
                "index": index,
                "state": "PENDING",
                "reason": "JobHeldUser" if job.get("hold") else "Priority",
                "exit_code": 0,
                "signal": 0,
                "after": after,
                **job,
            }
        self.settle()
        return base

    def find(self, cluster_id: str) -> list[Job]:
        """Return the records of a job, or of one element."""
        return [job for job in self.jobs.values() if cluster_id in (job["id"], job["base"])]

    def cancel(self, cluster_id: str) -> bool:
        """End what is live; return whether there was such a job."""
        found = self.find(cluster_id)
        for job in found:
            if job["state"] in LIVE:
                self.close(job, "CANCELLED", signal=15 if job["state"] == "RUNNING" else 0)
        self.settle()
        return bool(found)

    def release(self, cluster_id: str) -> bool:
        found = self.find(cluster_id)
        for job in found:
            job["hold"] = False
        self.settle()
        return bool(found)

    def close(self, job: Job, state: str, *, exit_code: int = 0, signal: int = 0, reason: str = "None") -> None:
        job.update(state=state, exit_code=exit_code, signal=signal, reason=reason)

    def settle(self) -> None:
        """Work out what each waiting job waits for; cancel what can never start; forget what is over."""
        changed = True
        while changed:
            changed = False
            for job in self.jobs.values():
                if job["state"] != "PENDING":
                    continue
                verdict = self._dependency(job)
                if verdict == "never" and job.get("kill_if_never", True):
                    self.close(job, "CANCELLED", reason="DependencyNeverSatisfied")
                    changed = True
                elif verdict == "never":
                    job["reason"] = "DependencyNeverSatisfied"
                elif job.get("hold"):
                    job["reason"] = "JobHeldUser"
                else:
                    job["reason"] = "Dependency" if verdict == "wait" else "Priority"
        if self.faults["forget"]:
            for one in [one for one, job in self.jobs.items() if job["state"] not in LIVE]:
                self.state["ended"][one] = self.jobs.pop(one)

    def _dependency(self, job: Job) -> str:
        verdict = "met"
        for kind, other in job["after"]:
            if kind == "elementwise":
                kind, other = "ok", f"{other.split('_')[0]}_{job['index']}"
            ended = [old for old in self.state["ended"].values() if other in (old["id"], old["base"])]
            states = [one["state"] for one in [*self.find(other), *ended]]
            over = all(state not in LIVE for state in states)
            good = all(state == "COMPLETED" for state in states)
            if kind == "started":
                wait = any(state == "PENDING" for state in states)
            elif kind == "ok" and any(state not in (*LIVE, "COMPLETED") for state in states):
                return "never"
            else:
                wait = not over
            if kind == "not_ok" and over and good and states:
                return "never"
            if wait:
                verdict = "wait"
        return verdict

    def startable(self) -> list[Job]:
        """Return what could start now, in order, heeding the limits of arrays."""
        found, running = [], {}
        for job in self.jobs.values():
            if job["state"] == "RUNNING":
                running[job["base"]] = running.get(job["base"], 0) + 1
        for job in self.jobs.values():
            if job["state"] == "PENDING" and job["reason"] == "Priority":
                limit = job.get("limit")
                if limit is None or running.get(job["base"], 0) < limit:
                    running[job["base"]] = running.get(job["base"], 0) + 1
                    found.append(job)
        return found


Face = Callable[[Queue, str, Sequence[str], str, str], Reply]


@contextlib.contextmanager
def opened(path: str, *, changes: bool = True) -> Iterator[Queue]:
    """Read the state under its lock, and write it back when it ``changes``."""
    with open(path, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        queue = Queue(json.load(file))
        yield queue
        if changes:
            file.seek(0)
            # Not json.dump: that takes four times as long.
            file.write(json.dumps(queue.state))
            file.truncate()


def answer(face: Any, path: str, program: str, arguments: Sequence[str], stdin: str, cwd: str) -> Reply | None:
    """Answer one command of a fake scheduler; None means that it hangs."""
    with opened(path) as queue:
        faults = queue.faults
        queue.state["calls"].append([program, *arguments])
        is_submit, is_query = program in ("sbatch", "qsub", "bsub"), program in ("squeue", "qstat", "bjobs")
        delay = faults["delay_s"]
        if faults["hang"] and not is_submit:
            return None
        if faults["down"]:
            return face.DOWN
        if is_submit:
            queue.state["submissions"] += 1
            if faults["fail_every"] and queue.state["submissions"] % faults["fail_every"] == 0:
                return face.DOWN
        reply: Reply = face.run(queue, program, arguments, stdin, cwd)
        if is_submit and faults["mute_submit"]:
            return face.LOST
        if is_submit and faults["hang"]:
            return None
        if is_query and faults["nothing"]:
            reply = (0, "", "")
        if is_query and faults["few"] and hasattr(face, "few"):
            reply = (reply[0], face.few(reply[1]), reply[2])
        if is_query and faults["half"]:
            # Never exactly between two records; that is another fault.
            cut = len(reply[1]) // 2
            while reply[1][:cut].endswith(("\n", "\x1e")):
                cut -= 1
            reply = (reply[0], reply[1][:cut], reply[2])
    if delay:
        time.sleep(delay)
    return reply


def script_options(text: str, mark: str) -> list[str]:
    """Return the words on a script's header lines."""
    words: list[str] = []
    for line in text.splitlines():
        if line.startswith(mark):
            words += shlex.split(line[len(mark) :])
        elif line.strip() and not line.startswith("#"):
            break
    return words


class FakeScheduler:
    """The test's handle on a fake scheduler.

    Parameters
    ----------
    folder
        Where its state and its commands (``folder/bin``, to be put on PATH) live.
    face
        The module that speaks for it.
    """

    def __init__(self, folder: Any, face: Any) -> None:
        self.folder, self.face = str(folder), face
        os.makedirs(os.path.join(self.folder, "bin"), exist_ok=True)
        self.path = os.path.join(self.folder, "state.json")
        state = {"next": 100, "jobs": {}, "ended": {}, "calls": [], "submissions": 0, "faults": dict(FAULTS)}
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(state, file)
        for program in face.PROGRAMS:
            command = [sys.executable, "-I", "-S", os.path.abspath(__file__), face.__name__, self.path, program]
            path = os.path.join(self.folder, "bin", program)
            with open(path, "w", encoding="utf-8") as file:
                file.write(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            os.chmod(path, 0o755)

    @property
    def bin(self) -> str:
        """The folder to put first on PATH."""
        return os.path.join(self.folder, "bin")

    def runner(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        stdin_path: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str | None] | None = None,
        keep_fds: Sequence[int] = (),
    ) -> Any:
        """Answer in this process, as `run_command` would: for tests that ask thousands of times."""
        from pointillist.cluster.schedulers.commands import Answer

        del timeout_s, environment, keep_fds
        stdin = ""
        if stdin_path is not None:
            with open(stdin_path, encoding="utf-8") as file:
                stdin = file.read()
        reply = answer(self.face, self.path, command[0], list(command[1:]), stdin, cwd or os.getcwd())
        return Answer(None, "", "") if reply is None else Answer(*reply)

    def set(self, **faults: Any) -> None:
        """Turn faults on and off; see `FAULTS`."""
        unknown = set(faults) - set(FAULTS)
        assert not unknown, f"no such fault: {unknown}"
        with opened(self.path) as queue:
            queue.faults.update(faults)

    def jobs(self) -> dict[str, Job]:
        """Return every record, ended and forgotten ones too."""
        with opened(self.path, changes=False) as queue:
            return {**queue.state["ended"], **queue.jobs}

    def calls(self) -> list[list[str]]:
        """Return every command that was asked so far."""
        with opened(self.path, changes=False) as queue:
            return list(queue.state["calls"])

    def start(self, cluster_id: str | None = None) -> list[str]:
        """Start one waiting job, or all that can start."""
        with opened(self.path) as queue:
            ready = [job for job in queue.startable() if cluster_id in (None, job["id"], job["base"])]
            for job in ready:
                job.update(state="RUNNING", reason="None")
            queue.settle()
            return [job["id"] for job in ready]

    def end(self, cluster_id: str, exit_code: int = 0, *, state: str = "", signal: int = 0) -> None:
        """End a job: with an exit code, or in a state of Slurm's (TIMEOUT, OUT_OF_MEMORY, NODE_FAIL, ...)."""
        with opened(self.path) as queue:
            for job in queue.find(cluster_id):
                if job["state"] in LIVE:
                    word = state or ("COMPLETED" if exit_code == 0 and not signal else "FAILED")
                    reason = "NonZeroExitCode" if word == "FAILED" else "None"
                    queue.close(job, word, exit_code=exit_code, signal=signal, reason=reason)
            queue.settle()

    def advance(self) -> bool:
        """Start what can, run the scripts here, end with their exit codes; False when nothing moved."""
        started = self.start()
        for one in started:
            job = self.jobs()[one]
            output = subprocess.DEVNULL
            code = 0
            with contextlib.ExitStack() as stack:
                if job.get("output"):
                    output = stack.enter_context(open(os.path.join(job["cwd"], job["output"]), "wb"))
                path = os.path.join(self.folder, f"script-{one}")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(job["script"])
                first = job["script"].split("\n", 1)[0]
                interpreter = first[2:].split() if first.startswith("#!") else ["/bin/sh"]
                own = self.face.job_environment(job)
                code = subprocess.run(
                    [*interpreter, path],
                    env={**os.environ, **own},
                    cwd=job["cwd"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    check=False,
                ).returncode
            self.end(one, max(code, 0), signal=max(-code, 0))
        return bool(started)


def expand(indices: str) -> tuple[list[int], int | None]:
    """Read an array's specification: its indices and its limit."""
    text, _, limit = indices.partition("%")
    found: list[int] = []
    for piece in text.split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", piece)
        if span is None:
            raise Rejected("Invalid job array specification")
        found += range(int(span[1]), int(span[2] or span[1]) + 1, int(span[3] or 1))
    return found, int(limit) if limit else None


if __name__ == "__main__":
    import importlib

    # `-I` leaves the script's folder out of the path on purpose; the faces are beside this file.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # Under both names this is one module, so that a face's `Rejected` is this one's.
    import fake_schedulers.queue as itself

    face_name, state_path, own_name, *rest = sys.argv[1:]
    text = sys.stdin.read() if own_name == "bsub" else ""
    got = itself.answer(importlib.import_module(face_name), state_path, own_name, rest, text, os.getcwd())
    if got is None:
        time.sleep(3600)
        sys.exit(1)
    sys.stdout.write(got[1])
    sys.stderr.write(got[2])
    sys.exit(got[0])
