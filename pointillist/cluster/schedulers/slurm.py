"""Slurm: `sbatch`, `squeue`, `scancel`, `scontrol`, and `sacct` where there is one.

Owns Slurm's spelling of requests and answers (man pages of sbatch, squeue and sacct; tried on 22.05). It
knows nothing of what the jobs do. One `squeue` call answers for queued, running and recently ended jobs
alike, exit codes included, so `sacct` is asked only for what the controller has forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from pointillist.cluster.errors import RequestError, SchedulerNotPresent, SchedulerUnavailable
from pointillist.cluster.schedulers.base import Scheduler, current_user
from pointillist.cluster.schedulers.commands import Answer
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.requests import After, Request, element_id, split_id
from pointillist.cluster.schedulers.slurm_options import options_of
from pointillist.cluster.schedulers.slurm_words import HELD, LAST_WORDS, NEVER, REASONS, STATES

# Between fields and at the end of each record: names and comments may hold anything that a person can type,
# line breaks included, but hardly the two control characters that ASCII has for this purpose.
_FIELD, _RECORD = "\x1f", "\x1e"
_QUERY_FIELDS = ("JobArrayID", "State", "Reason", "exit_code", "BatchHost", "Name", "Comment")
_HISTORY_FIELDS = ("JobID", "State", "ExitCode", "NodeList", "JobName")

_CONFIRMED = 10
_ELEMENTS_IN_ONE_QUESTION = 500
_NAMES_IN_ONE_QUESTION = 500
"""A word of a command line may have 128 KiB."""
_AFTER = {
    After.OK: "afterok",
    After.NOT_OK: "afternotok",
    After.ANY: "afterany",
    After.STARTED: "after",
    After.ELEMENTWISE: "aftercorr",
}


class Slurm(Scheduler):
    """Speak to Slurm."""

    name = "slurm"
    probe = "sbatch"
    programs = ("sbatch", "squeue", "scancel", "scontrol")
    array_index = "${SLURM_ARRAY_TASK_ID}"
    own_id = "${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID-}}"
    sends_warning = True
    requeue_command = 'scontrol requeue "$SLURM_JOB_ID"'
    down_words = (
        "unable to contact slurm controller",
        "unable to process configuration",
        "could not establish a configuration source",
        "clustername needs to be specified",
        "temporarily unable",
        "temporarily unavailable",
        "standby mode",
        "connection refused",
        "connection failure",
        "connection timed out",
        "authentication",
        "munge",
        "database",
    )
    lost_answer_words = (
        "socket timed out",
        "zero bytes were transmitted",
        "unexpected message",
        "header lengths",
    )
    environment: ClassVar[Mapping[str, str | None]] = {
        # A user's defaults for the questions would change the answers: SQUEUE_STATES=R hides what is queued.
        "SQUEUE_*": None,
        "SACCT_*": None,
        "SCANCEL_*": None,
        "SCONTROL_*": None,
        # These would turn one submission into another one; account and partition are left to the user.
        "SBATCH_ARRAY_INX": None,
        "SBATCH_JOB_NAME": None,
        "SBATCH_WAIT": None,
        "SBATCH_HOLD": None,
        "SBATCH_TEST_ONLY": None,
        "SLURM_HINT": None,
        "SLURM_TIME_FORMAT": None,
        # By default long lists of array indices are cut off after 64 characters.
        "SLURM_BITSTR_LEN": "0",
    }
    _known_limits: tuple[int, str] | None = None

    def header_lines(self, request: Request) -> list[str]:
        return [f"#SBATCH {line}" for line in options_of(request)]

    def submit_arguments(self, request: Request) -> list[str]:
        arguments = ["--hold"] if request.hold else []
        if request.after:
            wanted = ",".join(f"{_AFTER[one.kind]}:{one.job_id}" for one in request.after)
            arguments.append(f"--dependency={wanted}")
            arguments.append(f"--kill-on-invalid-dep={'yes' if request.cancel_if_never else 'no'}")
        return arguments

    def submit_command(self, script_path: str, arguments: Sequence[str] = ()) -> list[str]:
        return ["sbatch", *arguments, "--parsable", _as_operand(script_path)]

    def parse_submit(self, stdout: str) -> str:
        lines = stdout.strip().splitlines()
        # "<id>" or "<id>;<cluster>"; a site's wrapper may print lines of its own before it.
        match = (
            re.fullmatch(r"(?:Submitted batch job )?(\d+)(?:;\S+)?(?: on cluster \S+)?", lines[-1]) if lines else None
        )
        if match is None:
            raise ValueError("no id")
        return match[1]

    def query_command(self, ids: Sequence[str] | None = None, *, user: str) -> list[str]:
        fields = ",".join(f"{name}:{_FIELD}" for name in _QUERY_FIELDS[:-1]) + f",{_QUERY_FIELDS[-1]}:{_RECORD}"
        whose = [f"--user={user}"] if ids is None else [f"--jobs={','.join(ids)}"]
        # The header line stays: it is the only proof that an empty answer is an answer.
        return ["squeue", "--states=all", *whose, f"--Format={fields}"]

    def parse_query(self, text: str) -> dict[str, ClusterJob]:
        records = text.split(_RECORD)
        if len(records) < 2 or "JOBID" not in records[0] or records[0].count(_FIELD) != len(_QUERY_FIELDS) - 1:
            raise ValueError("the header line is missing")
        if records[-1] != "\n":
            raise ValueError("the last record is cut off")
        found: dict[str, ClusterJob] = {}
        for record in records[1:-1]:
            fields = record.removeprefix("\n").split(_FIELD, len(_QUERY_FIELDS) - 1)
            if len(fields) != len(_QUERY_FIELDS):
                raise ValueError(f"a record has {len(fields)} fields, not {len(_QUERY_FIELDS)}")
            native_id, native_state, reason, status, node, name, comment = fields
            code, signal = _wait_status(status)
            for one in expand_ids(native_id):
                found[one] = _cluster_job(
                    one,
                    native_state,
                    reason=reason,
                    code=code,
                    signal=signal,
                    node=node,
                    name=name,
                    comment=comment,
                )
        return found

    def history_command(self, ids: Sequence[str]) -> list[str]:
        """Return the question to the accounting database about jobs the controller has forgotten."""
        return [
            "sacct",
            "--allocations",
            "--parsable2",
            f"--delimiter={_FIELD}",
            f"--jobs={','.join(ids)}",
            f"--format={','.join(_HISTORY_FIELDS)}",
        ]

    def parse_history(self, text: str) -> dict[str, ClusterJob]:
        """Read an answer of `sacct`; raise ValueError when it is not a whole one."""
        lines = text.split("\n")
        if lines[0].split(_FIELD) != list(_HISTORY_FIELDS):
            raise ValueError("the header line is missing")
        if lines[-1]:
            raise ValueError("the last line is cut off")
        found: dict[str, ClusterJob] = {}
        for line in lines[1:-1]:
            fields = line.split(_FIELD, len(_HISTORY_FIELDS) - 1)
            if len(fields) != len(_HISTORY_FIELDS):
                raise ValueError(f"a line has {len(fields)} fields, not {len(_HISTORY_FIELDS)}")
            native_id, native_state, exit_code, node, name = fields
            code, _, signal = exit_code.partition(":")
            for one in expand_ids(native_id):
                found[one] = _cluster_job(
                    one,
                    native_state,
                    reason="",
                    code=int(code) if code.isdecimal() else None,
                    signal=int(signal) if signal.isdecimal() else None,
                    node=node,
                    name=name,
                    comment="",
                )
        return found

    def history(self, ids: Iterable[str]) -> dict[str, ClusterJob]:
        asked = list(ids)
        wanted = sorted({split_id(one)[0] for one in asked})
        found = self.query(wanted)
        known = {job.job_id for job in found.values()}
        found |= self._elements([one for one in asked if one not in found and split_id(one)[0] in known])
        forgotten = [one for one in wanted if one not in known]
        if not forgotten:
            return found
        self._make_sure_of(forgotten[:_CONFIRMED])
        return self._accounts_of(forgotten) | found

    def _elements(self, ids: Iterable[str]) -> dict[str, ClusterJob]:
        """Ask about elements that an answer about their arrays lacked: narrowly, and about the first of them alone.

        Of an element that it no longer knows Slurm says nothing.
        """
        wanted = [one for one in ids if split_id(one)[1] is not None]
        found: dict[str, ClusterJob] = {}
        for first in range(0, len(wanted), _ELEMENTS_IN_ONE_QUESTION):
            found |= self._few(wanted[first : first + _ELEMENTS_IN_ONE_QUESTION])
        for one in [one for one in wanted if one not in found][:_CONFIRMED]:
            found |= self._few([one])
        return found

    def _make_sure_of(self, forgotten: Iterable[str]) -> None:
        """Ask about each of some jobs alone: then Slurm says of one that it does not know that it does not know it.

        An answer that was cut off between two records looks whole.
        """
        for one in forgotten:
            command = self.query_command([one], user="")
            answer = self._run(command, timeout_s=self._query_timeout_s, environment=self.environment)
            if answer.returncode == 0 or answer.timed_out or not self.all_unknown(answer):
                raise self._unanswered(command, answer, because=f"job {one} is missing")

    def _accounts_of(self, forgotten: Sequence[str]) -> dict[str, ClusterJob]:
        """Ask the accounting database, where there is one, about jobs that the controller has forgotten."""
        command = self.history_command(forgotten)
        try:
            answer = self._run(command, timeout_s=self._query_timeout_s, environment=self.environment)
        except SchedulerNotPresent:
            return {}
        if answer.returncode == 0:
            try:
                return self.parse_history(answer.stdout)
            except ValueError as error:
                raise self._unanswered(command, answer, because=str(error)) from error
        if "accounting storage is disabled" in self.said(answer).lower():
            return {}
        raise self._unanswered(command, answer)

    def query_names(self, names: Iterable[str]) -> dict[str, ClusterJob]:
        wanted = sorted(set(names))
        found: dict[str, ClusterJob] = {}
        for first in range(0, len(wanted), _NAMES_IN_ONE_QUESTION):
            some = ",".join(wanted[first : first + _NAMES_IN_ONE_QUESTION])
            command = [*self.query_command(None, user=current_user()), f"--name={some}"]
            found |= self._ask(command, one_id=True) or {}
        return found

    def _few(self, ids: Sequence[str]) -> dict[str, ClusterJob]:
        return self._ask(self.query_command(ids, user=""), one_id=True) or {}

    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        return ["scancel", *ids]

    def release_command(self, ids: Sequence[str]) -> list[str]:
        return ["scontrol", "release", ",".join(ids)]

    def output_pattern(self, stem: str, *, array: bool) -> str:
        if "\\" in stem:
            raise RequestError(
                f"Slurm fills in no id where a path holds a backslash: {stem!r}.",
                hint="Choose another folder.",
            )
        return stem.replace("%", "%%") + ("-%A_%a.out" if array else "-%j.out")

    def read_output(self, text: str) -> State | None:
        found = None
        for line in text.splitlines():
            # Where several slurmd share a machine, the name of the node follows: "slurmstepd-n1: error:".
            if re.search(r"slurmstepd\S*: error:", line):
                found = next((state for words, state in LAST_WORDS.items() if words in line), found)
        return found

    def all_unknown(self, answer: Answer) -> bool:
        return "invalid job id specified" in self.said(answer).lower()

    def all_gone(self, answer: Answer) -> bool:
        words = self.said(answer).lower()
        ended = ("invalid job id specified", "already completing or completed", "already finished")
        return not self._is_down(words) and any(word in words for word in ended)

    def limits_command(self) -> list[str]:
        """Return the question about the cluster's configuration."""
        return ["scontrol", "show", "config"]

    def parse_limits(self, text: str) -> tuple[int, str]:
        """Return how many elements one array may have, and the cluster's name; raise ValueError when one is missing."""
        size = re.search(r"^MaxArraySize\s*=\s*(\d+)\s*$", text, re.MULTILINE)
        name = re.search(r"^ClusterName\s*=\s*(\S+)\s*$", text, re.MULTILINE)
        if size is None or name is None:
            raise ValueError(f"{'MaxArraySize' if size is None else 'ClusterName'} is missing")
        return int(size[1]), name[1]

    def largest_array(self) -> int | None:
        return self._limits()[0]

    def cluster_name(self) -> str:
        return self._limits()[1]

    def _limits(self) -> tuple[int, str]:
        """Ask for the cluster's configuration, once."""
        if self._known_limits is None:
            self._known_limits = self._ask_limits()
        return self._known_limits

    def _ask_limits(self) -> tuple[int, str]:
        command = self.limits_command()
        answer = self._run(command, timeout_s=self._query_timeout_s, environment=self.environment)
        if answer.returncode != 0:
            raise self._unanswered(command, answer)
        try:
            return self.parse_limits(answer.stdout)
        except ValueError as error:
            raise SchedulerUnavailable(f"slurm gave an answer that is not whole ({error}).") from error


def expand_ids(native_id: str) -> Iterator[str]:
    """Yield the ids that squeue and sacct fold into one: ``7_[1-3,8-12:2%4]`` is 7_1, 7_2, 7_3, 7_8, ..."""
    match = re.fullmatch(r"(\d+)(?:_(?:(\d+)|\[([\d,:-]+)(?:%\d+)?\]))?(?:\+\d+)?", native_id)
    if match is None:
        raise ValueError(f"'{native_id}' is no id")
    job_id, index, indices = match.groups()
    if indices is None:
        yield job_id if index is None else element_id(job_id, int(index))
        return
    for piece in indices.split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", piece)
        if span is None:
            raise ValueError(f"'{native_id}' is no id")
        first, last, step = int(span[1]), int(span[2] or span[1]), int(span[3] or 1)
        for number in range(first, last + 1, step):
            yield element_id(job_id, number)


def _as_operand(path: str) -> str:
    return f"./{path}" if path.startswith("-") else path


def _state(native: str, reason: str) -> State:
    # sacct writes "CANCELLED by 1000", and some versions a trailing "+" where a word was cut.
    word = native.split(" ", 1)[0].rstrip("+")
    if word == "PENDING" and reason in HELD:
        return State.HELD
    return STATES.get(word, State.UNKNOWN)


def _wait_status(text: str) -> tuple[int | None, int | None]:
    if not text.isdecimal():
        return None, None
    status = int(text)
    return status >> 8, status & 0x7F


def _cluster_job(
    one: str,
    native: str,
    *,
    reason: str,
    code: int | None,
    signal: int | None,
    node: str,
    name: str,
    comment: str,
) -> ClusterJob:
    reason = "" if reason in ("None", "(null)", "N/A") else reason
    # Some reasons carry details: "ReqNodeNotAvail, UnavailableNodes:n1".
    word = reason.split(",", 1)[0]
    state = _state(native, word)
    # Before the end the status is 0, and where no script ended by itself it says nothing.
    if not state.is_final or (code == 0 and state is not State.COMPLETED):
        code = None
    return ClusterJob(
        id=one,
        name=name,
        state=state,
        native_state=native,
        reason=reason,
        reason_words=REASONS.get(word, f"Slurm says '{reason}'." if reason else ""),
        comment="" if comment == "(null)" else comment,
        never_starts=state in (State.QUEUED, State.HELD) and word in NEVER,
        exit_code=code,
        exit_signal=signal if signal and state.is_final else None,
        node="" if node in ("n/a", "N/A", "(null)", "None assigned") else node,
    )
