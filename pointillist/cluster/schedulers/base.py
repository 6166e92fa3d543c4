"""The contract between the engine and any scheduler.

Owns `Scheduler`, which an adapter subclasses: it writes headers
and command lines, reads answers, and says which failures mean what, all without side effects. Running the
commands is done here, once, for all of them. It must not know any scheduler's spelling, nor what the jobs are
for.

The rule that everything else serves: an answer counts only when it proves that it is one. Nothing, half a
line or a non-zero exit raises `SchedulerUnavailable`; it is never read as an empty queue.
"""

from __future__ import annotations

import json
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pointillist.cluster.errors import SchedulerUnavailable, SubmissionRejected
from pointillist.cluster.schedulers.commands import (
    QUERY_TIMEOUT_S,
    SUBMIT_TIMEOUT_S,
    Answer,
    Runner,
    run_command,
)
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.requests import Request, split_id

# Longer lists of ids go as one question about the user: a command line has an end.
MOST_IDS_IN_ONE_QUESTION = 2000


class Scheduler(ABC):
    """Speak to one scheduler.

    An adapter writes the abstract methods; each is pure. The methods below "conversation" run commands.

    Parameters
    ----------
    run
        What runs a command; tests put a fake here.
    query_timeout_s, submit_timeout_s
        Seconds after which a question, or a submission, counts as unanswered.
    """

    name: ClassVar[str]
    """Name in the table of schedulers."""
    probe: ClassVar[str]
    """The command whose presence means that the scheduler is here."""
    programs: ClassVar[tuple[str, ...]] = ()
    """The commands that put their own names before what they say."""
    array_index: ClassVar[str]
    """Shell expression for an element's own index, counted from 0."""
    own_id: ClassVar[str]
    """Shell expression for a job's own id, without an array index; empty outside of a job, also under ``set -u``."""
    only_shows: ClassVar[bool] = False
    """Whether it takes nothing, and is only there to show scripts."""
    sends_warning: ClassVar[bool] = False
    """Whether it can send SIGUSR1 to the script some time before the time limit."""
    requeue_command: ClassVar[str] = ""
    """Shell command by which a script puts its own job back into the queue; empty where there is none."""
    smallest_array: ClassVar[int] = 1
    """Arrays below this size are refused by the scheduler; submit a single job instead."""
    names_each_unknown_id: ClassVar[bool] = False
    """Whether a question about several ids is answered for the known ones and names the others."""
    submits_on_stdin: ClassVar[bool] = False
    """Whether the script goes to the submit command's standard input."""
    down_words: ClassVar[tuple[str, ...]] = ()
    """Lower-case pieces of what the commands say when the scheduler cannot be reached or is overloaded."""
    lost_answer_words: ClassVar[tuple[str, ...]] = ()
    """The same for a conversation that broke off after the request was sent: it may have taken effect."""
    environment: ClassVar[Mapping[str, str | None]] = {}
    """Changes to the environment of every command, so that the user's settings cannot alter an answer."""

    def __init__(
        self,
        *,
        run: Runner = run_command,
        query_timeout_s: float = QUERY_TIMEOUT_S,
        submit_timeout_s: float = SUBMIT_TIMEOUT_S,
    ) -> None:
        self._run = run
        self._query_timeout_s = query_timeout_s
        self._submit_timeout_s = submit_timeout_s

    # ------------------------------------------------------------------ pure: to be written by an adapter

    @abstractmethod
    def header_lines(self, request: Request) -> list[str]:
        """Return the lines that state `request` at the top of a script.

        Holds and dependencies are not among them: they belong to one submission, and a person who submits the
        script again by hand does not want them.
        """

    @abstractmethod
    def submit_arguments(self, request: Request) -> list[str]:
        """Return what the command line must add to the header: hold and dependencies."""

    @abstractmethod
    def submit_command(self, script_path: str, arguments: Sequence[str] = ()) -> list[str]:
        """Return the command that submits a script, `arguments` before the script's name."""

    @abstractmethod
    def parse_submit(self, stdout: str) -> str:
        """Return the id in the answer to a submission; raise ValueError when there is none."""

    @abstractmethod
    def query_command(self, ids: Sequence[str] | None = None, *, user: str) -> list[str]:
        """Return the question about some cluster jobs (ids without index), or about all of `user`."""

    @abstractmethod
    def parse_query(self, text: str) -> dict[str, ClusterJob]:
        """Read an answer, one entry per job or array element; raise ValueError when it is not a whole one."""

    @abstractmethod
    def cancel_command(self, ids: Sequence[str]) -> list[str]:
        """Return the command that cancels cluster jobs or array elements."""

    @abstractmethod
    def release_command(self, ids: Sequence[str]) -> list[str]:
        """Return the command that lets held cluster jobs start."""

    @abstractmethod
    def output_pattern(self, stem: str, *, array: bool) -> str:
        """Return `Request.output` for a file beginning with the literal path `stem`, ending in the id."""

    def queue_name(self, name: str) -> str:
        """Return how the queue spells the name of a request; the name itself where it takes every character."""
        return name

    def read_output(self, text: str) -> State | None:
        """Return how a job ended that the scheduler has forgotten, from what it wrote into the job's output."""
        return None

    def said(self, answer: Answer) -> str:
        """Return the scheduler's own words, without the name of the program before each line."""
        lines = (answer.stderr.strip() or answer.stdout.strip()).splitlines()
        names = tuple(f"{program}: " for program in self.programs)
        return "; ".join(line.split(": ", 1)[-1] if line.startswith(names) else line for line in lines if line)

    def is_rejection(self, answer: Answer) -> bool:
        """Whether a failed submission was refused for its content, rather than for the scheduler's state."""
        words = self.said(answer)
        return answer.returncode is not None and answer.returncode > 0 and bool(words) and not self._is_down(words)

    def may_have_acted(self, answer: Answer) -> bool:
        """Whether a failed submission may have been accepted all the same."""
        cut_off = answer.returncode is None or answer.returncode <= 0
        return cut_off or any(word in self.said(answer).lower() for word in self.lost_answer_words)

    def _is_down(self, words: str) -> bool:
        return any(word in words.lower() for word in (*self.down_words, *self.lost_answer_words))

    def all_unknown(self, answer: Answer) -> bool:
        """Whether a failed question failed because the scheduler knows none of the ids."""
        return False

    def all_gone(self, answer: Answer) -> bool:
        """Whether a failed cancellation failed only because the jobs have already ended."""
        return self.all_unknown(answer)

    # ------------------------------------------------------------------ conversation

    @classmethod
    def is_present(cls) -> bool:
        """Whether the scheduler's commands are on this machine; looks, and runs nothing."""
        return shutil.which(cls.probe) is not None

    def submit(
        self,
        script_path: str,
        request: Request,
        *,
        flags: Sequence[str] = (),
        cwd: str | None = None,
        keep_fds: Sequence[int] = (),
    ) -> str:
        """Submit a script that already carries its header, and return its id.

        Parameters
        ----------
        flags
            Further arguments in the scheduler's own words; they win over the header.
        cwd
            Folder the submission is made in, which is where the script starts.
        keep_fds
            Descriptors that the command holds until it has ended: by them others see that it is still at work.

        Raises
        ------
        SubmissionRejected
            The scheduler refused the script.
        SchedulerUnavailable
            It gave no id. With `may_have_acted` the job may exist all the same: look for it by name.
        """
        command = self.submit_command(script_path, [*self.submit_arguments(request), *flags])
        answer = self._run(
            command,
            timeout_s=self._submit_timeout_s,
            stdin_path=script_path if self.submits_on_stdin else None,
            cwd=cwd,
            environment=self.environment,
            keep_fds=keep_fds,
        )
        if answer.returncode == 0:
            try:
                return self.parse_submit(answer.stdout)
            except ValueError as error:
                raise self._unanswered(command, answer, may_have_acted=True) from error
        if not answer.timed_out and self.is_rejection(answer):
            words = self.said(answer)
            raise SubmissionRejected(
                f"{self.name} refused '{request.name}': {words}",
                command=tuple(command),
                words=words,
                hint="Change what the operation asks for; 'submit --pretend' shows the script.",
            )
        raise self._unanswered(command, answer, may_have_acted=self.may_have_acted(answer))

    def submit_line(self, script_path: str, request: Request, flags: Sequence[str] = ()) -> str:
        """Return what :meth:`submit` does as a line that a person can type; empty when there is no such line."""
        line = shlex.join(self.submit_command(script_path, [*self.submit_arguments(request), *flags]))
        return f"{line} < {shlex.quote(script_path)}" if self.submits_on_stdin else line

    def hurry(self, query_timeout_s: float) -> None:
        """Wait for no answer to a question longer than this."""
        self._query_timeout_s = min(self._query_timeout_s, query_timeout_s)

    def query(self, ids: Iterable[str] | None = None, *, user: str | None = None) -> dict[str, ClusterJob]:
        """Ask what is queued, running or recently ended.

        Parameters
        ----------
        ids
            Only these cluster jobs (with all elements of an array); None asks for all of `user`.
        user
            Whose cluster jobs; None means our own.

        Returns
        -------
        dict
            By id. A job that was asked for and is not there has left the scheduler's memory: ask `history`.
            Slurm keeps no record at all of an array element that was cancelled before it started.

        Raises
        ------
        SchedulerUnavailable
            There was no whole answer. Nothing is known.
        """
        owner = user or current_user()
        wanted = None if ids is None else sorted({split_id(one)[0] for one in ids}, key=_by_number)
        if wanted is not None and not wanted:
            return {}
        few = wanted is not None and len(wanted) <= MOST_IDS_IN_ONE_QUESTION
        found = self._ask(
            self.query_command(wanted if few else None, user=owner), one_id=few and len(wanted or ()) == 1
        )
        if found is None:
            # One id has gone and the scheduler refuses the whole list for it: ask about the user instead.
            found = self._ask(self.query_command(None, user=owner), one_id=False) or {}
        if wanted is None:
            return {one: job for one, job in found.items() if job.owner in ("", owner)}
        known = set(wanted)
        return {one: job for one, job in found.items() if job.job_id in known}

    def query_names(self, names: Iterable[str]) -> dict[str, ClusterJob]:
        """Ask for our own cluster jobs of some names, as the queue spells them.

        Raises
        ------
        SchedulerUnavailable
            There was no whole answer.
        """
        wanted = set(names)
        return {one: job for one, job in self.query().items() if job.name in wanted}

    def history(self, ids: Iterable[str]) -> dict[str, ClusterJob]:
        """Ask what became of cluster jobs, with exit codes and nodes, as far back as the scheduler remembers.

        Parameters
        ----------
        ids
            Of cluster jobs, or of those elements of arrays that an earlier answer lacked.

        Returns
        -------
        dict
            By id; an id that is not there is forgotten, and only what the job itself wrote can tell.
        """
        return self.query(ids)

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel cluster jobs or array elements. One that has ended already is no error."""
        self._tell(self.cancel_command, ids)

    def release(self, ids: Iterable[str]) -> None:
        """Let held cluster jobs start."""
        self._tell(self.release_command, ids)

    def cluster_name(self) -> str:
        """Return the name of the cluster; empty when the scheduler has no such thing, or does not say."""
        return ""

    def largest_array(self) -> int | None:
        """Return how many elements one array may have; None when the scheduler does not say."""
        return None

    # ------------------------------------------------------------------ how answers become errors

    def _ask(self, command: Sequence[str], *, one_id: bool) -> dict[str, ClusterJob] | None:
        """Return the answer; None when the question must be put another way."""
        answer = self._run(command, timeout_s=self._query_timeout_s, environment=self.environment)
        if answer.returncode != 0:
            if answer.timed_out or not self.all_unknown(answer):
                raise self._unanswered(command, answer)
            if not (self.names_each_unknown_id and answer.stdout.strip()):
                return {} if one_id or self.names_each_unknown_id else None
        try:
            return self.parse_query(answer.stdout)
        except ValueError as error:
            raise self._unanswered(command, answer, because=str(error)) from error

    def _tell(self, command_for: Callable[[Sequence[str]], list[str]], ids: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), MOST_IDS_IN_ONE_QUESTION):
            command = command_for(wanted[start : start + MOST_IDS_IN_ONE_QUESTION])
            answer = self._run(command, timeout_s=self._query_timeout_s, environment=self.environment)
            if answer.returncode != 0 and (answer.timed_out or not self.all_gone(answer)):
                raise self._unanswered(command, answer, may_have_acted=answer.timed_out)

    def _unanswered(
        self, command: Sequence[str], answer: Answer, *, because: str = "", may_have_acted: bool = False
    ) -> SchedulerUnavailable:
        words = self.said(answer)
        if answer.timed_out:
            what = "did not answer in time"
        elif because:
            what = f"gave an answer that is not whole ({because})"
        elif answer.returncode == 0:
            what = "gave an answer that says nothing"
        else:
            what = f"could not answer: {words or f'exit code {answer.returncode}'}"
        hint = (
            "The submission may have been accepted. Nothing is submitted again until the queue can be read."
            if may_have_acted
            else "Nothing is known about queued cluster jobs, so none is touched. Try again later."
        )
        return SchedulerUnavailable(
            f"{self.name} {what}.",
            command=tuple(command),
            words=words,
            hint=hint,
            may_have_acted=may_have_acted,
            timed_out=answer.timed_out,
        )


def whole_json(text: str) -> dict[str, Any]:
    """Read an answer that is one JSON object; raise ValueError when it is not a whole one."""
    try:
        answer = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError("it is not whole JSON") from error
    if not isinstance(answer, dict):
        raise ValueError("it is no JSON object")
    return answer


def current_user() -> str:
    """Return the name under which the scheduler knows this process."""
    import getpass
    import os
    import pwd

    try:
        # Not getpass alone: it believes LOGNAME, and the scheduler goes by the user id.
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return getpass.getuser()


def _by_number(cluster_id: str) -> tuple[int, str]:
    head = cluster_id.split(".", 1)[0]
    return (int(head), cluster_id) if head.isdecimal() else (0, cluster_id)
