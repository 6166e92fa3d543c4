"""LSF: `bsub`, `bjobs`, `bkill`, `bresume`.

Owns LSF's spelling (IBM Spectrum LSF 10.1 command reference; JSON answers need 10.1.0.3 or later). Array
indices begin at 1 there and at 0 everywhere here; the difference ends in this file. It knows nothing of what
the jobs do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pointillist.cluster.errors import RequestError
from pointillist.cluster.schedulers.base import Scheduler, whole_json
from pointillist.cluster.schedulers.commands import Answer
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.requests import After, Request, element_id, split_id
from pointillist.errors import EXIT_AGAIN

_FIELDS = "jobid jobindex stat exit_code exit_reason pend_reason first_host job_name job_description"

_STATES: Mapping[str, State] = {
    "PEND": State.QUEUED,
    "WAIT": State.QUEUED,
    "PROV": State.QUEUED,
    "PSUSP": State.HELD,
    "RUN": State.RUNNING,
    "USUSP": State.SUSPENDED,
    "SSUSP": State.SUSPENDED,
    "DONE": State.COMPLETED,
    "EXIT": State.FAILED,
    "ZOMBI": State.UNKNOWN,
    "UNKWN": State.UNKNOWN,
}

# exit_reason begins with one of these names.
_ENDINGS: Mapping[str, tuple[State, str]] = {
    "TERM_RUNLIMIT": (State.TIMED_OUT, "It ran into its time limit."),
    "TERM_DEADLINE": (State.TIMED_OUT, "It ran into a deadline."),
    "TERM_CPULIMIT": (State.TIMED_OUT, "It used more processor time than it asked for."),
    "TERM_MEMLIMIT": (State.OUT_OF_MEMORY, "It used more memory than it asked for."),
    "TERM_SWAP": (State.OUT_OF_MEMORY, "It used more swap than it asked for."),
    "TERM_OWNER": (State.CANCELLED, "It was cancelled by its owner."),
    "TERM_FORCE_OWNER": (State.CANCELLED, "It was cancelled by its owner."),
    "TERM_ADMIN": (State.CANCELLED, "It was cancelled by an administrator."),
    "TERM_FORCE_ADMIN": (State.CANCELLED, "It was cancelled by an administrator."),
    "TERM_ORPHAN_SYSTEM": (State.CANCELLED, "The cluster job it waited for did not end as required."),
    "TERM_PREEMPT": (State.PREEMPTED, "It had to make room for another job."),
    "TERM_REQUEUE_OWNER": (State.QUEUED, "It was put back by its owner."),
    "TERM_REQUEUE_ADMIN": (State.QUEUED, "It was put back by an administrator."),
}

_AFTER = {After.OK: "done", After.NOT_OK: "exit", After.ANY: "ended", After.STARTED: "started"}


class Lsf(Scheduler):
    """Speak to LSF."""

    name = "lsf"
    probe = "bsub"
    programs = ("bsub", "bjobs")
    array_index = "$((LSB_JOBINDEX - 1))"
    own_id = "${LSB_JOBID-}"
    # A file named as an argument is a program to bsub, whose #BSUB lines it may not read; stdin always works.
    submits_on_stdin = True
    names_each_unknown_id = True
    down_words = (
        "lsf is down",
        "please wait",
        "batch daemon not responding",
        "cannot connect",
        "communication time out",
        "failed in an lsf library call",
        "lim is down",
        "connection refused",
    )
    lost_answer_words = ("slave lim configuration", "receive message", "connection reset")
    environment: ClassVar[Mapping[str, str | None]] = {
        "LSB_BJOBS_*": None,
        "LSB_JOBNAME": None,
        "BSUB_QUIET": None,
        # Otherwise bsub may stop and ask a question.
        "BSUB_CHK_RESREQ": None,
    }

    def header_lines(self, request: Request) -> list[str]:
        return [f"#BSUB {line}" for line in _options(request)]

    def submit_arguments(self, request: Request) -> list[str]:
        arguments = ["-H"] if request.hold else []
        if request.after:
            arguments += ["-w", " && ".join(_condition(one.kind, one.job_id) for one in request.after)]
            if request.cancel_if_never:
                arguments.append("-ti")
        return arguments

    def submit_command(self, script_path: str, arguments: Sequence[str] = ()) -> list[str]:
        return ["bsub", *arguments]

    def parse_submit(self, stdout: str) -> str:
        match = re.search(r"^Job <(\d+)> is submitted to ", stdout, re.MULTILINE)
        if match is None:
            raise ValueError("no id")
        return match[1]

    def query_command(self, ids: Sequence[str] | None = None, *, user: str) -> list[str]:
        return ["bjobs", "-a", "-json", "-o", _FIELDS, "-u", user, *(ids or ())]

    def parse_query(self, text: str) -> dict[str, ClusterJob]:
        answer = whole_json(text)
        records = answer.get("RECORDS")
        if not isinstance(records, list) or answer.get("JOBS") != len(records):
            raise ValueError("the records are not as many as it says")
        jobs = (_cluster_job(record) for record in records if "ERROR" not in record)
        return {job.id: job for job in jobs}

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["bkill", *map(_native_id, ids)]

    def release_command(self, ids: Sequence[str]) -> list[str]:
        return ["bresume", *map(_native_id, ids)]

    def output_pattern(self, stem: str, *, array: bool) -> str:
        if "%" in stem:
            raise RequestError(f"LSF reads '%' in a path as a pattern: {stem!r}.", hint="Choose another folder.")
        return f"{stem}-%J_%I.out" if array else f"{stem}-%J.out"

    def all_unknown(self, answer: Answer) -> bool:
        words = self.said(answer).lower()
        return not self._is_down(words) and ("is not found" in words or "no matching job found" in words)

    def all_gone(self, answer: Answer) -> bool:
        words = self.said(answer).lower()
        ended = ("is not found", "no matching job found", "job has already finished")
        return not self._is_down(words) and any(word in words for word in ended)


def _options(request: Request) -> Iterator[str]:
    array = ""
    if request.array is not None:
        limit = "" if request.array.limit is None else f"%{request.array.limit}"
        array = f"[1-{request.array.count}]{limit}"
    yield f"-J {_quoted(_name(request.name) + array)}"
    if request.comment:
        yield f"-Jd {_quoted(request.comment)}"
    if request.partition:
        yield f"-q {_quoted(request.partition)}"
    if request.account:
        yield f"-P {_quoted(request.account)}"
    if request.qos:
        raise RequestError(f"Request '{request.name}': LSF has no quality of service; choose a queue.")
    yield f"-n {request.processes}"
    if request.threads_per_process > 1:
        yield f'-R "affinity[core({request.threads_per_process})]"'
    if request.nodes is not None:
        yield f'-R "span[ptile={-(-request.processes // request.nodes)}]"'
    elif request.processes == 1:
        yield '-R "span[hosts=1]"'
    if request.gpus_per_process:
        yield f'-gpu "num={request.gpus_per_process}/task"'
    elif request.gpus:
        yield f'-gpu "num={request.gpus}"'
    if request.total_memory_bytes is not None:
        megabytes = -(-request.total_memory_bytes // (2**20 * request.processes))
        yield f'-R "rusage[mem={megabytes}MB/task]"'
        yield f"-M {megabytes}MB"
    if request.walltime_s is not None:
        minutes = -(-request.walltime_s // 60)
        yield f"-W {minutes // 60:02d}:{minutes % 60:02d}"
    if request.output:
        yield f"-o {_quoted(request.output)}"
    if request.requeue is not None:
        yield "-r" if request.requeue else "-rn"
    if request.requeue and request.signal_before_s is not None:
        # With this exit code a script says that it wants to go on.
        yield f"-Q {EXIT_AGAIN}"
    yield from request.flags


def _name(name: str) -> str:
    # Brackets would make an array of it.
    return name.replace("[", "(").replace("]", ")")


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w@+=:,./-]+", text, re.ASCII):
        return text
    if '"' in text:
        raise RequestError(f"A #BSUB line cannot hold a double quote: {text!r}.")
    return f'"{text}"'


def _condition(kind: After, cluster_id: str) -> str:
    if kind is After.ELEMENTWISE:
        return f"done({split_id(cluster_id)[0]}[*])"
    return f"{_AFTER[kind]}({_native_id(cluster_id)})"


def _native_id(cluster_id: str) -> str:
    job_id, index = split_id(cluster_id)
    return job_id if index is None else f"{job_id}[{index + 1}]"


def _cluster_job(record: Mapping[str, Any]) -> ClusterJob:
    values = {key: "" if value == "-" else str(value) for key, value in record.items()}
    job_id, index = values.get("JOBID", ""), values.get("JOBINDEX", "")
    if not job_id.isdecimal():
        raise ValueError(f"'{job_id}' is no id")
    native = values.get("STAT", "")
    state = _STATES.get(native, State.UNKNOWN)
    reason, words = values.get("PEND_REASON", ""), ""
    code = values.get("EXIT_CODE", "")
    exit_code = int(code) if code.isdecimal() else None
    never = state is State.QUEUED and "dependency condition invalid or never satisfied" in reason.lower()
    if native == "DONE":
        exit_code = 0
    elif native == "EXIT":
        reason = values.get("EXIT_REASON", "")
        state, words = _ENDINGS.get(reason.split(":", 1)[0].strip(), (state, "Its script ended with an error."))
    elif state is State.HELD:
        words = "It is held; 'bresume' lets it start."
    elif never:
        words = "The cluster job it waits for failed, so it can never start."
    name = values.get("JOB_NAME", "")
    return ClusterJob(
        id=element_id(job_id, int(index) - 1) if index.isdecimal() and int(index) else job_id,
        name=re.sub(r"\[\d+\]$", "", name) if index.isdecimal() and int(index) else name,
        state=state,
        native_state=native,
        reason=reason,
        reason_words=words or (f"LSF says '{reason}'." if reason else ""),
        comment=values.get("JOB_DESCRIPTION", ""),
        never_starts=never,
        exit_code=None if exit_code is not None and exit_code > 128 else exit_code,
        exit_signal=exit_code - 128 if exit_code is not None and exit_code > 128 else None,
        node=values.get("FIRST_HOST", ""),
    )
