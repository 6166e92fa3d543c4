"""A scheduler for one machine without a scheduler: scripts run as background processes, as many as fit.

Owns the adapter; the queue itself is `local_queue`, which runs in processes of its own and is spoken to
through its command line like any other scheduler. For people without a cluster, and to try a submission
before the real one.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence

from pointillist.cluster.errors import RequestError
from pointillist.cluster.schedulers import local_queue
from pointillist.cluster.schedulers.base import Scheduler, whole_json
from pointillist.cluster.schedulers.commands import (
    QUERY_TIMEOUT_S,
    SUBMIT_TIMEOUT_S,
    Answer,
    Runner,
    run_command,
)
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.requests import Request

_REASONS = {
    "Cores": "It waits for cores to become free.",
    "Dependency": "It waits for another cluster job.",
    "DependencyNeverSatisfied": "The cluster job it waits for failed, so it can never start.",
    "Held": "It is held; releasing it lets it start.",
    "ArrayLimit": "As many elements of its array are running as its limit allows.",
    "NonZeroExitCode": "Its script ended with an error.",
    "Signal": "It was killed by a signal.",
    "TimeLimit": "It ran into its time limit.",
    "Cancelled": "It was cancelled.",
    "Lost": "The process that watched over it is gone; the machine was perhaps restarted.",
    "LaunchFailed": "Its script could not be started.",
}


class Local(Scheduler):
    """Speak to the queue in `folder`.

    Parameters
    ----------
    folder
        Where the queue keeps its state; on a local disk. Created when needed.
    """

    name = "local"
    probe = sys.executable
    array_index = "${POINTILLIST_ARRAY_INDEX}"
    own_id = "${POINTILLIST_ARRAY_ID:-${POINTILLIST_JOB_ID-}}"
    sends_warning = True
    names_each_unknown_id = True
    down_words = ("the queue's folder or the script", "traceback")

    def __init__(
        self,
        folder: str,
        *,
        run: Runner = run_command,
        query_timeout_s: float = QUERY_TIMEOUT_S,
        submit_timeout_s: float = SUBMIT_TIMEOUT_S,
    ) -> None:
        super().__init__(run=run, query_timeout_s=query_timeout_s, submit_timeout_s=submit_timeout_s)
        self.folder = folder

    def header_lines(self, request: Request) -> list[str]:
        return [f"#LOCAL {line}" for line in _options(request)]

    def submit_arguments(self, request: Request) -> list[str]:
        arguments = ["--hold"] if request.hold else []
        arguments += [f"--after={one.kind.value}:{one.job_id}" for one in request.after]
        if request.after and not request.cancel_if_never:
            arguments.append("--keep-if-never")
        return arguments

    def submit_command(self, script_path: str, arguments: Sequence[str] = ()) -> list[str]:
        return [*self._verb("submit"), *arguments, "--", script_path]

    def parse_submit(self, stdout: str) -> str:
        if not stdout.strip().isdecimal():
            raise ValueError("no id")
        return stdout.strip()

    def query_command(self, ids: Sequence[str] | None = None, *, user: str) -> list[str]:
        return [*self._verb("query"), *(ids if ids is not None else ["--all"])]

    def parse_query(self, text: str) -> dict[str, ClusterJob]:
        answer = whole_json(text)
        if not isinstance(answer.get("jobs"), list):
            raise ValueError("it lists no jobs")
        jobs = (
            ClusterJob(
                id=one["id"],
                name=one["name"],
                comment=one["comment"],
                state=_state(one["state"]),
                native_state=one["state"],
                reason=one["reason"],
                reason_words=_REASONS.get(one["reason"], ""),
                never_starts=one["reason"] == "DependencyNeverSatisfied" and one["state"] == "queued",
                exit_code=one["exit_code"],
                exit_signal=one["exit_signal"],
                node=one["node"],
            )
            for one in answer["jobs"]
        )
        return {job.id: job for job in jobs}

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return [*self._verb("cancel"), *ids]

    def release_command(self, ids: Sequence[str]) -> list[str]:
        return [*self._verb("release"), *ids]

    def output_pattern(self, stem: str, *, array: bool) -> str:
        return stem.replace("%", "%%") + ("-%j_%a.out" if array else "-%j.out")

    def cluster_name(self) -> str:
        return self.folder

    def all_unknown(self, answer: Answer) -> bool:
        return "no such cluster job" in self.said(answer).lower()

    def _verb(self, verb: str) -> list[str]:
        # By its path and isolated: nothing of the package, the environment or the current folder is imported.
        return [sys.executable, "-I", "-S", local_queue.__file__, verb, f"--folder={self.folder}"]


def _state(word: str) -> State:
    try:
        return State(word)
    except ValueError:
        return State.UNKNOWN


def _options(request: Request) -> Iterator[str]:
    yield f"--name={shlex.quote(request.name)}"
    yield f"--cores={request.cores}"
    if request.comment:
        yield f"--comment={shlex.quote(request.comment)}"
    if request.output:
        yield f"--output={shlex.quote(request.output)}"
    if request.walltime_s is not None:
        yield f"--walltime={request.walltime_s}"
    if request.signal_before_s is not None:
        yield f"--signal-before={request.signal_before_s}"
    if request.array is not None:
        yield f"--array={request.array.count}"
        if request.array.limit is not None:
            yield f"--limit={request.array.limit}"
    for option, value in (("partition", request.partition), ("qos", request.qos)):
        if value:
            raise RequestError(f"Request '{request.name}': one machine has no {option} '{value}'.")
    yield from request.flags
