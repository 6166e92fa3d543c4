"""PBS: `qsub`, `qstat`, `qdel`, `qrls`, in two dialects.

Owns the spelling of OpenPBS / PBS Professional (JSON answers; its User's and Reference Guide, 2022) and of
TORQUE (XML answers). Their finished jobs answer to ``qstat -x`` for a while, exit status included. It knows
nothing of what the jobs do.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pointillist.cluster.errors import RequestError
from pointillist.cluster.schedulers.base import Scheduler, whole_json
from pointillist.cluster.schedulers.commands import Answer
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.requests import After, Request, element_id, split_id

_STATES: Mapping[str, State] = {
    "Q": State.QUEUED,
    "W": State.QUEUED,
    "T": State.QUEUED,
    "M": State.QUEUED,
    "H": State.HELD,
    "R": State.RUNNING,
    "B": State.RUNNING,
    "E": State.ENDING,
    "S": State.SUSPENDED,
    "U": State.SUSPENDED,
}
_FINISHED = frozenset("FXC")

# Negative exit statuses are PBS's own (job.h of OpenPBS); from 256 up a status is 256 plus the signal.
_EXIT: Mapping[int, tuple[State, str]] = {
    -29: (State.TIMED_OUT, "It ran into its time limit."),
    -28: (State.TIMED_OUT, "It used more processor time than it asked for."),
    -27: (State.OUT_OF_MEMORY, "It used more memory than it asked for."),
    -26: (State.OUT_OF_MEMORY, "It used more virtual memory than it asked for."),
    -25: (State.FAILED, "It used more cores than it asked for."),
    -24: (State.FAILED, "It used more cores than it asked for."),
    -11: (State.NODE_FAILED, "Its node failed."),
    -10: (State.TIMED_OUT, "It ran into its time limit."),
    -2: (State.FAILED, "It could not be started."),
    -1: (State.FAILED, "It could not be started."),
}

_AFTER = {
    After.OK: "afterok",
    After.NOT_OK: "afternotok",
    After.ANY: "afterany",
    After.STARTED: "after",
}


class Pbs(Scheduler):
    """Speak to OpenPBS or PBS Professional."""

    name = "pbs"
    probe = "qsub"
    programs = ("qsub", "qstat", "qdel")
    array_index = "${PBS_ARRAY_INDEX}"
    own_id = """$(sed 's/\\[.*\\]//' <<<"${PBS_JOBID-}")"""
    smallest_array = 2
    names_each_unknown_id = True
    down_words = (
        "cannot connect to server",
        "connection refused",
        "no permission to connect",
        "communication failure",
        "could not connect",
        "pbs_iff",
        "timeout",
        "timed out",
        "invalid credential",
    )
    lost_answer_words = ("end of file", "premature end of message", "protocol")
    environment: ClassVar[Mapping[str, str | None]] = {"PBS_DPREFIX": None, "QSUB_*": None}

    def header_lines(self, request: Request) -> list[str]:
        return [f"#PBS {line}" for line in self._options(request)]

    def submit_arguments(self, request: Request) -> list[str]:
        arguments = ["-h"] if request.hold else []
        wanted = []
        for one in request.after:
            if one.kind not in _AFTER:
                raise RequestError(
                    f"Request '{request.name}': PBS lets no element of an array wait for one of another.",
                    hint="Submit without arrays, or let the whole array wait for the whole other one.",
                )
            wanted.append(f"{_AFTER[one.kind]}:{self._native_id(one.job_id)}")
        if wanted:
            arguments += ["-W", f"depend={','.join(wanted)}"]
        return arguments

    def submit_command(self, script_path: str, arguments: Sequence[str] = ()) -> list[str]:
        return ["qsub", *arguments, f"./{script_path}" if script_path.startswith("-") else script_path]

    def parse_submit(self, stdout: str) -> str:
        lines = stdout.strip().splitlines()
        match = re.fullmatch(r"(\d+)(?:\[\])?((?:\.[\w.-]+)?)", lines[-1].strip()) if lines else None
        if match is None:
            raise ValueError("no id")
        return match[1] + match[2]

    def query_command(self, ids: Sequence[str] | None = None, *, user: str) -> list[str]:
        # -x adds finished jobs, -t the elements of arrays. -u cannot be combined with -f, so a question about
        # a user is one about everybody; parse_query keeps all and the caller looks for its own names.
        return ["qstat", "-x", "-t", "-f", "-F", "json", *(_spellings(ids) if ids is not None else [])]

    def parse_query(self, text: str) -> dict[str, ClusterJob]:
        answer = whole_json(text)
        # The time stamp comes with every answer: with it, no jobs means no jobs.
        if "timestamp" not in answer:
            raise ValueError("the time stamp is missing")
        return _read(answer.get("Jobs", {}).items())

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["qdel", *map(self._native_id, ids)]

    def release_command(self, ids: Sequence[str]) -> list[str]:
        return ["qrls", *map(self._native_id, ids)]

    def output_pattern(self, stem: str, *, array: bool) -> str:
        if ":" in stem:
            raise RequestError(
                f"PBS takes what stands before a colon for a host name: {stem!r}.",
                hint="Choose another folder.",
            )
        # PBS puts the id in only where the path is a folder, so the index is all that tells files apart.
        return f"{stem}-^array_index^.out" if array else f"{stem}.out"

    def queue_name(self, name: str) -> str:
        return self._name(name)

    def all_unknown(self, answer: Answer) -> bool:
        lines = [line.lower() for line in answer.stderr.splitlines() if line.strip()]
        return bool(lines) and all("unknown job id" in line or "job has finished" in line for line in lines)

    def _native_id(self, cluster_id: str) -> str:
        job_id, index = split_id(cluster_id)
        if index is None:
            return job_id
        number, dot, server = job_id.partition(".")
        return f"{number}[{index}]{dot}{server}"

    def _options(self, request: Request) -> Iterator[str]:
        yield f"-N {self._name(request.name)}"
        chunk = f"select={request.processes}:ncpus={request.threads_per_process}:mpiprocs=1"
        chunk += f":ompthreads={request.threads_per_process}"
        if request.gpus_per_process:
            chunk += f":ngpus={request.gpus_per_process}"
        elif request.gpus:
            if request.processes > 1:
                raise RequestError(f"Request '{request.name}': PBS counts GPUs per process, not in all.")
            chunk += f":ngpus={request.gpus}"
        if request.total_memory_bytes is not None:
            chunk += f":mem={_kilobytes(-(-request.total_memory_bytes // request.processes))}"
        yield f"-l {chunk}"
        yield from self._common_options(request)

    def _common_options(self, request: Request) -> Iterator[str]:
        if request.walltime_s is not None:
            yield f"-l walltime={_clock(request.walltime_s)}"
        if request.partition:
            yield f"-q {request.partition}"
        if request.account:
            yield f"-A {request.account}"
        if request.qos:
            raise RequestError(f"Request '{request.name}': PBS has no quality of service; choose a queue.")
        yield "-j oe"
        if request.output:
            yield f"-o {shlex.quote(request.output)}"
        if request.requeue is not None:
            yield f"-r {'y' if request.requeue else 'n'}"
        if request.array is not None:
            yield self._array(request)
        yield from request.flags

    def _array(self, request: Request) -> str:
        assert request.array is not None
        if request.array.count < self.smallest_array:
            raise RequestError(f"Request '{request.name}': PBS takes no array of one element.")
        limit = "" if request.array.limit is None else f"%{request.array.limit}"
        return f"-J 0-{request.array.count - 1}{limit}"

    @staticmethod
    def _name(name: str) -> str:
        # A slash is no character of a PBS job name, and 230 are the most.
        return re.sub(r"[^\w.+-]", "-", name, flags=re.ASCII)[:230]


class Torque(Pbs):
    """Speak to TORQUE, whose answers are XML and whose requests count nodes and processors per node.

    An empty XML answer proves nothing: TORQUE prints nothing when there are no jobs. It counts as no answer
    unless the ids that were asked for are reported unknown.
    """

    name = "torque"
    array_index = "${PBS_ARRAYID}"
    smallest_array = 1

    def query_command(self, ids: Sequence[str] | None = None, *, user: str) -> list[str]:
        return ["qstat", "-f", "-x", "-t", *(_spellings(ids) if ids is not None else [])]

    def parse_query(self, text: str) -> dict[str, ClusterJob]:
        from xml.etree import ElementTree

        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError("it is not whole XML") from error
        jobs = []
        for node in root.iter("Job"):
            values: dict[str, Any] = {child.tag: child.text or "" for child in node}
            jobs.append((str(values.get("Job_Id", "")), values))
        return _read(iter(jobs))

    def output_pattern(self, stem: str, *, array: bool) -> str:
        return super().output_pattern(stem, array=False)

    def _options(self, request: Request) -> Iterator[str]:
        yield f"-N {self._name(request.name)}"
        gpus = request.total_gpus
        nodes = request.nodes or 1
        per_node = -(-request.cores // nodes)
        yield f"-l nodes={nodes}:ppn={per_node}" + (f":gpus={-(-gpus // nodes)}" if gpus else "")
        if request.total_memory_bytes is not None:
            yield f"-l mem={_kilobytes(request.total_memory_bytes)}"
        yield from self._common_options(request)

    def _array(self, request: Request) -> str:
        return super()._array(request).replace("-J", "-t", 1)


def _spellings(ids: Sequence[str]) -> list[str]:
    """Return each id as a single job and as an array: which it is, the id alone does not tell."""
    spelled = []
    for one in ids:
        number, dot, server = one.partition(".")
        spelled += [one, f"{number}[]{dot}{server}"]
    return spelled


def _read(jobs: Iterator[tuple[str, dict[str, Any]]] | Any) -> dict[str, ClusterJob]:
    found: dict[str, ClusterJob] = {}
    for native_id, values in jobs:
        match = re.fullmatch(r"(\d+)(\[(\d*)\])?((?:\.[\w.-]+)?)", native_id)
        if match is None:
            raise ValueError(f"'{native_id}' is no id")
        if match[2] == "[]":
            continue  # the array as a whole; its elements follow
        job_id = match[1] + match[4]
        job = _cluster_job(element_id(job_id, int(match[3])) if match[3] else job_id, values)
        found[job.id] = job
    return found


def _cluster_job(one: str, values: Mapping[str, Any]) -> ClusterJob:
    letter = str(values.get("job_state", "?"))
    comment = str(values.get("comment", ""))
    status = _integer(values.get("Exit_status", values.get("exit_status")))
    state, words, code, signal = _STATES.get(letter, State.UNKNOWN), "", None, None
    if letter in _FINISHED:
        state, words, code, signal = _ending(status)
    elif state is State.HELD and "s" in str(values.get("Hold_Types", "")) and "depend" in values:
        state, words = State.QUEUED, "It waits for another cluster job."
    elif state is State.HELD:
        words = "It is held; 'qrls' lets it start."
    return ClusterJob(
        id=one,
        name=str(values.get("Job_Name", "")),
        state=state,
        native_state=letter,
        reason=comment,
        reason_words=words or (f"PBS says '{comment}'." if comment and state is State.QUEUED else ""),
        exit_code=code,
        exit_signal=signal,
        owner=str(values.get("Job_Owner", "")).split("@", 1)[0],
        node=str(values.get("exec_host", "")).split("/", 1)[0],
    )


def _ending(status: int | None) -> tuple[State, str, int | None, int | None]:
    if status is None:
        return State.CANCELLED, "It was deleted before it ran.", None, None
    if status in _EXIT:
        state, words = _EXIT[status]
        return state, words, None, None
    if status == 0:
        return State.COMPLETED, "", 0, None
    if status > 256:
        signal = status - 256
        if signal in (9, 15):
            return State.CANCELLED, "It was killed, as 'qdel' does.", None, signal
        return State.FAILED, "It was killed by a signal.", None, signal
    return State.FAILED, "Its script ended with an error.", status, None


def _integer(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _kilobytes(count: int) -> str:
    return f"{-(-count // 1024)}kb"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
