"""A survey of all job folders: what the declared conditions read of each, in columns of one byte a job.

Every answer hangs on a *source*: a folder's listing, or the content of one JSON file of it. Beside the answers a survey
keeps the stamp that each source had (size, times and inode), so that a later survey needs one ``stat`` of a source to
know that its answers still hold, and reads only what has changed.

When a stamp is believed
------------------------
Every change of a file or of the entries of a folder sets its change time (ctime) to the present, which no program can
set to anything else. So equal stamps mean equal content, with one exception: a second change within the same tick of
the file system's clock. Hence a stamp is kept only when it was older than any tick at the moment the source was read;
otherwise the source is read again next time. A survey from the future, made before the clock was set back, is not used.
What a listing can't tell (where a link leads to) and what could not be read is asked anew each time.

A file that is not there has the stamp of its folder: it cannot come without an entry in that folder, so as long as the
folder's own stamp stands there is no need to look for it. Only files in the folder itself have one, and no links that
lead nowhere, because their entry is there already.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from pointillist.definition.conditions import JobCondition, Question
from pointillist.definition.grid import STATEPOINT, statepoint_id
from pointillist.state.slices import in_slices, shared_bytes

NO, YES, UNKNOWN = 0, 1, 2
"""The answers in a column."""

VALID = Question("valid", STATEPOINT)
"""The question every survey asks: does the state point belong to its folder?"""

_LISTING = ""
"""The source that is a folder's listing; other sources are JSON files by name."""

_UNSEEN = 0
"""An inode that no file has: the source must be read."""

_ABSENT = -1
"""A size that no file has: there was none, and the other columns are the stamp of the folder that lacked it."""

_FIELDS = ("Q", "q", "q", "q")
"""What makes a stamp: inode, ctime, mtime, size."""


class Survey:
    """The answers to declared questions about the job folders of a workspace.

    Attributes
    ----------
    ids
        The names of all job folders, sorted; a job's position here is its position in every column.
    answers
        For each question a column of :data:`NO`, :data:`YES` and :data:`UNKNOWN`; also for questions that were not
        asked this time, whose answers hang on stamps that were not compared.
    stamps
        For each source the four columns of its stamps.
    changed
        How many sources had to be read.
    """

    def __init__(self, ids: list[str], *, clock_ns: int, device: int) -> None:
        self.ids = ids
        self.clock_ns = clock_ns
        self.device = device
        self.answers: dict[Question, memoryview[int]] = {}
        self.stamps: dict[str, list[memoryview[int]]] = {}
        self.asked: set[Question] = set()
        self.changed = 0

    def column(self, question: Question) -> bytes | None:
        """Return the answers to a question; None when it was not asked this time."""
        return self.answers[question].tobytes() if question in self.asked else None

    def data(self) -> dict[str, Any]:
        """Return the survey as plain data."""
        return {
            "ids": "".join(self.ids),
            "clock": self.clock_ns,
            "device": self.device,
            "stamps": {source: [column.tobytes() for column in columns] for source, columns in self.stamps.items()},
            "answers": {tuple(question): column.tobytes() for question, column in self.answers.items()},
        }

    def recall(self, known: dict[str, Any] | None, questions: Iterable[Question]) -> None:
        """Make the columns, filled with what an earlier survey knew."""
        count = len(self.ids)
        stamps: dict[str, list[bytes]] = known["stamps"] if known else {}
        answers = {Question(*key): column for key, column in known["answers"].items()} if known else {}
        old = known["ids"] if known else ""
        same = old == "".join(self.ids)
        places = {} if same else {old[n : n + 32]: n // 32 for n in range(0, len(old), 32)}
        order = [] if same else [places.get(job_id, -1) for job_id in self.ids]

        def column(code: str, content: bytes | None, default: int) -> memoryview[int]:
            raw = shared_bytes(count * (8 if code != "B" else 1))
            made = cast("memoryview[int]", raw.cast(code))  # type: ignore[call-overload]
            if same and content is not None:
                raw[:] = content
            elif content is not None:
                source = cast("memoryview[int]", memoryview(content).cast(code))  # type: ignore[call-overload]
                for new, place in enumerate(order):
                    made[new] = source[place] if place >= 0 else default
            elif default:
                raw[:] = bytes([default]) * count
            return made

        for question in {*questions, *answers}:
            self.answers[question] = column("B", answers.get(question), UNKNOWN)
        for source in {_source(question) for question in self.answers} - {None}:
            assert source is not None
            fields = stamps.get(source, [None] * len(_FIELDS))
            self.stamps[source] = [column(code, field, 0) for code, field in zip(_FIELDS, fields, strict=True)]


def make_survey(
    workspace: str,
    ids: list[str],
    conditions: Iterable[JobCondition],
    *,
    known: dict[str, Any] | None = None,
    clock_ns: int | None = None,
) -> Survey:
    """Ask of all jobs whether their state points are valid, and the questions of some conditions.

    Parameters
    ----------
    workspace
        The workspace folder.
    ids
        The names of the job folders, sorted.
    conditions
        Those without a question are left out.
    known
        An earlier survey as plain data.
    clock_ns
        A moment before now, by the clock of the file system and less than any tick of it; what changed later is not
        remembered. None when it can't be told.
    """
    device = _device(workspace)
    survey = Survey(ids, clock_ns=clock_ns or 0, device=device)
    present = time.time_ns() if clock_ns is None else clock_ns
    if known and (known["device"] != device or known["clock"] > present):
        known = None
    claims: dict[Question, Callable[[_Reader], Any]] = {VALID: _is_valid}
    claims |= {c.question: c.holds_in for c in conditions if c.question is not None}
    survey.asked = set(claims)
    survey.recall(known, claims)
    by_source: dict[str | None, list[Question]] = {}
    for question in claims:
        by_source.setdefault(_source(question), []).append(question)
    # Folders come first: what they tell saves many a look for files that are not there.
    sources = sorted(by_source, key=lambda source: source != _LISTING)
    tasks = [_Look(survey, workspace, source, by_source[source], claims) for source in sources]
    survey.changed = sum(in_slices(len(ids), lambda begin, end: sum(look.at(begin, end) for look in tasks)))
    return survey


class _Reader:
    """What a condition sees of a job while one source of it is looked at."""

    __slots__ = ("content", "id", "is_whole", "names")

    def __init__(self) -> None:
        self.id = ""
        self.content: Any = None
        self.names: set[str] = set()
        self.is_whole = True
        """Whether the stamp of the source vouches for all that was seen."""

    def isfile(self, filename: str) -> bool:
        return filename in self.names

    def json(self, filename: str) -> Any:
        return self.content


class _Look:
    """Looks at one source of many jobs, and reads it where its stamp has changed."""

    def __init__(
        self,
        survey: Survey,
        workspace: str,
        source: str | None,
        questions: list[Question],
        claims: dict[Question, Callable[[_Reader], Any]],
    ) -> None:
        self._ids = survey.ids
        self._limit = survey.clock_ns
        self._prefix = os.path.join(workspace, "")
        self._source = source
        self._asked = [(claims[question], survey.answers[question]) for question in questions]
        self._filenames = [question.filename for question in questions]
        self._stamps = survey.stamps[source] if source is not None else []
        listing_is_compared = any(_source(question) == _LISTING for question in claims)
        is_entry = bool(source) and _is_entry(str(source))
        self._folders = survey.stamps[_LISTING] if listing_is_compared and is_entry else None
        """The stamps of the folders, where these tell of files that are not there."""
        self._others = [c for q, c in survey.answers.items() if q not in claims and _source(q) == source]
        columns = [int.from_bytes(answers, sys.byteorder) for _, answers in self._asked]
        self._unknown = functools.reduce(operator.or_, columns).to_bytes(len(survey.ids), sys.byteorder)

    def at(self, begin: int, end: int) -> int:
        """Look at some jobs; return how many had to be read."""
        if self._source is None:
            return self._look_each_time(begin, end)
        inodes, ctimes, mtimes, sizes = self._stamps
        suffix = f"{os.sep}{self._source}" if self._source else ""
        prefix, ids, unknown, stat = self._prefix, self._ids, self._unknown, os.stat
        read = self._read_listing if self._source == _LISTING else self._read_json
        changed = 0
        for i in self._uncertain(begin, end):
            path = f"{prefix}{ids[i]}{suffix}"
            found: os.stat_result | None = None
            try:
                found = stat(path)
            except FileNotFoundError:
                if self._source == _LISTING:
                    self._answer(i, None)
                    inodes[i] = _UNSEEN
                    continue
                if sizes[i] != _ABSENT:
                    self._reset_others(i)
                elif not unknown[i] & UNKNOWN:
                    self._note_absent(i, path)
                    continue
            except (OSError, ValueError):
                self._answer(i, None)
                inodes[i], sizes[i] = _UNSEEN, 0
                continue
            else:
                if (
                    found.st_ino == inodes[i]
                    and found.st_ctime_ns == ctimes[i]
                    and found.st_mtime_ns == mtimes[i]
                    and found.st_size == sizes[i]
                ):
                    if not unknown[i] & UNKNOWN:
                        continue
                else:
                    self._reset_others(i)
            changed += 1
            if not self._answer(i, read(path) if found else _Reader()):
                inodes[i], sizes[i] = _UNSEEN, 0
            elif found is None:
                self._note_absent(i, path)
            elif max(found.st_ctime_ns, found.st_mtime_ns) >= self._limit:
                inodes[i], sizes[i] = _UNSEEN, 0
            else:
                inodes[i], sizes[i] = found.st_ino, found.st_size
                ctimes[i], mtimes[i] = found.st_ctime_ns, found.st_mtime_ns
        return changed

    def _uncertain(self, begin: int, end: int) -> Iterable[int]:
        """Return the jobs to look at: all but those whose folder is as it was when it lacked the file."""
        if self._folders is None:
            return range(begin, end)
        inodes, ctimes, mtimes, sizes = self._stamps
        of_folder, ctimes_of_folder, mtimes_of_folder, _ = self._folders
        unknown = self._unknown
        return [
            i
            for i in range(begin, end)
            if sizes[i] != _ABSENT
            or unknown[i] & UNKNOWN
            or inodes[i] == _UNSEEN
            or inodes[i] != of_folder[i]
            or ctimes[i] != ctimes_of_folder[i]
            or mtimes[i] != mtimes_of_folder[i]
        ]

    def _note_absent(self, i: int, path: str) -> None:
        """Take note that a file is not there, by the stamp that its folder had before it was looked for."""
        inodes, ctimes, mtimes, sizes = self._stamps
        sizes[i] = _ABSENT
        if self._folders is None or self._folders[0][i] == _UNSEEN or _has_entry(path):
            inodes[i] = _UNSEEN
        else:
            inodes[i], ctimes[i], mtimes[i] = (column[i] for column in self._folders[:3])

    def _reset_others(self, i: int) -> None:
        """Forget what this source answered to questions that are not asked now."""
        for answers in self._others:
            answers[i] = UNKNOWN

    def _answer(self, i: int, reader: _Reader | None) -> bool:
        """Answer all questions for a job; say whether the answers may be remembered."""
        is_whole = reader is not None and reader.is_whole
        if reader is not None:
            reader.id = self._ids[i]
        for claim, answers in self._asked:
            try:
                answers[i] = UNKNOWN if reader is None else YES if claim(reader) else NO
            except Exception:
                answers[i] = UNKNOWN
                is_whole = False
        return is_whole

    def _read_json(self, path: str) -> _Reader | None:
        reader = _Reader()
        try:
            with open(path, "rb", buffering=0) as file:
                reader.content = json.loads(file.read())
        except (OSError, ValueError, RecursionError):
            return None
        if str(self._source).startswith("signac_") and not isinstance(reader.content, dict):
            return None
        return reader

    def _read_listing(self, path: str) -> _Reader | None:
        reader = _Reader()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name in self._filenames:
                        if is_file(entry):
                            reader.names.add(entry.name)
                        if entry.is_symlink():
                            # Where it leads to may change without any trace in this folder.
                            reader.is_whole = False
        except OSError:
            return None
        return reader

    def _look_each_time(self, begin: int, end: int) -> int:
        """Look for files below folders of the job: nothing of the job's own folder tells whether they are there."""
        for i in range(begin, end):
            for filename, (_, answers) in zip(self._filenames, self._asked, strict=True):
                answers[i] = YES if os.path.isfile(f"{self._prefix}{self._ids[i]}{os.sep}{filename}") else NO
        return 0


def _source(question: Question) -> str | None:
    """Return what a question is answered from; None for what is asked anew each time."""
    if question.kind != "file":
        return question.filename
    return _LISTING if _is_entry(question.filename) else None


def _is_entry(filename: str) -> bool:
    """Say whether a file would be an entry of the folder itself."""
    return os.sep not in filename and filename not in ("", ".", "..")


def _has_entry(path: str) -> bool:
    """Say whether there is anything of a name, were it a link that leads nowhere; in doubt there is."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def is_file(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry of a folder is a file, or a link to one."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_valid(reader: _Reader) -> bool:
    return isinstance(reader.content, dict) and statepoint_id(reader.content) == reader.id


def _device(path: str) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return 0
