"""Brief tasks are lined up behind each other; nobody can tell, except by the clock."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import signac
from patience import until

from pointillist.definition.operations import Operation
from pointillist.execution.running.lining import BRIEF_S, LONGEST_NAP_S, Pace
from pointillist.execution.running.workers import Worker
from pointillist.state.journal import Journal

PYTHON = """
    import os, time
    @Project.post.isfile("a")
    @Project.operation
    def work(job):
        {special}
        open(job.fn("a"), "w").close()
"""
SHELL = """
    @Project.post.isfile("a")
    @Project.operation(cmd=True)
    def work(job):
        return {special} + f"touch {{job.fn('a')}}"
"""
POINTS = [{"x": x} for x in range(40)]


def events(study) -> list[dict]:
    files = sorted((study.path / ".pointillist" / "journal").glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]


def count_files(study) -> int:
    return len(list((study.path / "workspace").glob("*/a")))


def no_claims(study) -> bool:
    return not list((study.path / ".pointillist" / "claims").glob("*/*"))


@pytest.mark.parametrize("body", [PYTHON.format(special="pass"), SHELL.format(special="''")])
@pytest.mark.parametrize("parallel", [[], ["--parallel", "2"]])
def test_each_task_is_done_once_and_recorded(make_study, body: str, parallel: list[str]) -> None:
    study = make_study(body, *POINTS)
    study.cli("run", *parallel)
    assert count_files(study) == 40
    assert no_claims(study)
    seen = Counter(event["event"] for event in events(study))
    assert seen["end"] == 40
    assert seen["start"] - seen["withdrawn"] == 40
    ended = [event for event in events(study) if event["event"] == "end"]
    assert {event["outcome"] for event in ended} == {"completed"}
    assert all(event["cpu_s"] >= 0 and event["peak_memory_bytes"] > 0 for event in ended)


@pytest.mark.parametrize("body", [PYTHON.format(special="pass"), SHELL.format(special="''")])
def test_no_more_are_started_than_asked_for(make_study, body: str) -> None:
    study = make_study(body, *POINTS)
    study.cli("run", "-n", "9")
    assert count_files(study) == 9
    assert no_claims(study)
    study.cli("run", "-n", "9", "--parallel", "2")
    assert count_files(study) == 18


WAIT_PYTHON = """if job.id == "{slow}":
            deadline = time.monotonic() + 60
            while sum(os.path.isfile(f"workspace/{{i}}/a") for i in os.listdir("workspace")) < 39:
                assert time.monotonic() < deadline
                time.sleep(0.01)"""
WAIT_SHELL = (
    """(f"while [ $(ls workspace/*/a | wc -l) -lt 39 ]; do sleep 0.02; done; " if job.id == "{slow}" else "")"""
)


@pytest.mark.parametrize(("body", "special"), [(PYTHON, WAIT_PYTHON), (SHELL, WAIT_SHELL)])
def test_nothing_waits_behind_a_task_that_turns_out_long(make_study, body: str, special: str) -> None:
    study = make_study("", *POINTS)
    slow = study.make_jobs()[12]
    study.write_project(body.format(special=special.format(slow=slow)))
    # The slow one ends only when all others have: one that stood behind it would never come to its turn.
    study.cli("run", "--parallel", "2")
    assert count_files(study) == 40
    assert no_claims(study)


def test_a_worker_that_dies_takes_only_its_own_task_with_it(make_study) -> None:
    study = make_study("", *POINTS)
    deadly = study.make_jobs()[12]
    study.write_project(PYTHON.format(special=f'if job.id == "{deadly}": os._exit(3)'))
    assert "39 completed, 1 failed" in study.cli("run", check=1).stderr
    assert count_files(study) == 39
    assert no_claims(study)
    ended = [event for event in events(study) if event["event"] == "end"]
    assert Counter(event["outcome"] for event in ended) == {"completed": 39, "failed": 1}


def test_a_failing_task_does_not_stop_those_behind_it(make_study) -> None:
    study = make_study("", *POINTS)
    bad = study.make_jobs()[12]
    study.write_project(SHELL.format(special=f'("false; exit 4; " if job.id == "{bad}" else "")'))
    assert "39 completed, 1 failed" in study.cli("run", check=1).stderr


def test_when_the_user_stops_the_others_were_never_begun(make_study) -> None:
    study = make_study("", *POINTS)
    slow = study.make_jobs()[12]
    special = f'if job.id == "{slow}": open("here", "w").close(); time.sleep(60)'
    study.write_project(PYTHON.format(special=special))
    run = study.start("run")
    until((study.path / "here").exists)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 130, said
    assert count_files(study) == 12
    assert no_claims(study)
    ended = [event for event in events(study) if event["event"] == "end"]
    assert Counter(event["outcome"] for event in ended) == {"completed": 12, "interrupted": 1}
    seen = Counter(event["event"] for event in events(study))
    assert seen["start"] - seen["withdrawn"] == 13


def test_a_time_limit_is_for_the_task_itself(make_study) -> None:
    study = make_study("", *POINTS)
    slow = study.make_jobs()[12]
    study.write_project(PYTHON.format(special=f'if job.id == "{slow}": time.sleep(60)'))
    assert "it took longer than 1 s" in study.cli("run", "--timeout", "1", check=1).stderr
    assert count_files(study) == 39


def test_attempts_that_were_withdrawn_are_no_attempts(make_study) -> None:
    study = make_study(PYTHON.format(special="pass"), *POINTS[:1])
    (job_id,) = study.make_jobs()
    folder = study.path / ".pointillist" / "journal"
    folder.mkdir(parents=True)
    start = {"event": "start", "attempt": "s-1", "time": 1.0, "operation": "work", "aggregate": job_id, "log": "x"}
    lines = [
        start | {"host": "h", "pid": 1},
        {"event": "end", "attempt": "s-1", "time": 2.0, "outcome": "failed", "exit_code": 1},
        start | {"host": "h", "pid": 1, "attempt": "s-2", "time": 3.0},
        {"event": "withdrawn", "attempt": "s-2", "time": 4.0},
    ]
    (folder / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for only in (None, [job_id]):
        journal = Journal(str(folder), only=only)
        assert [attempt.id for attempt in journal.attempts()] == ["s-1"]
        last = journal.last("work", job_id)
        assert last is not None
        assert last.outcome == "failed"


def test_the_briefer_tasks_are_the_more_of_them_may_stand_in_line() -> None:
    def work(job: object) -> None: ...

    one, batched = (Operation(name="work", function=work, directives={}, batch=batch) for batch in (1, True))
    pace = Pace()
    for seconds in (1.0, 0.01, 0.01):
        pace.note(one, seconds)
    assert not pace.is_brief(one)
    pace.note(one, 0.01)
    assert pace.is_brief(one)
    assert not pace.is_brief(batched)
    counts = []
    for _ in range(40):
        pace.note(one, 0.001)
        counts.append(pace.count(one))
    assert counts == sorted(counts)
    assert counts[-1] == pytest.approx(BRIEF_S / 0.001, abs=2)
    assert pace.nap_s(one, 0) == 0
    assert pace.nap_s(one, 3) == pytest.approx(0.0015, rel=0.1)
    assert pace.nap_s(one, 64) == LONGEST_NAP_S
    pace.note(one, BRIEF_S)
    assert not pace.is_brief(one)


@pytest.fixture
def worker(tmp_path: Path):
    def call(seconds: float, name: str, moved: dict[str, str]) -> None:
        time.sleep(seconds)
        (tmp_path / name).touch()

    worker = Worker(call, close_fds=(), cwd=str(tmp_path))
    yield worker
    worker.close()


def test_a_call_is_either_made_or_taken_back(worker: Worker, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    worker.call(log, 0.3, "a")
    while not os.path.exists(log):
        time.sleep(0.01)
    for name in "bc":
        worker.call(log, 0, name)
    assert worker.take_back() == 2
    assert worker.take_back() == 0
    worker.call(log, 0, "d")
    ends = []
    deadline = time.monotonic() + 30
    while len(ends) < 2:
        assert time.monotonic() < deadline
        ended = worker.poll()
        if ended is not None:
            ends.append(ended.exit_code)
        time.sleep(0.005)
    assert ends == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d", "log"]


def test_calls_taken_back_at_random_moments_are_not_made(worker: Worker, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    expected = 0
    for number in range(60):
        for part in range(4):
            worker.call(log, 0, f"{number}-{part}")
        time.sleep(0.0003 * (number % 7))
        # The last part of the round before may still be at work: then all four stand behind it.
        expected += 4 - worker.take_back()
    ends = 0
    deadline = time.monotonic() + 30
    while ends < expected:
        assert time.monotonic() < deadline
        ends += worker.poll() is not None
    time.sleep(0.05)
    assert worker.poll() is None
    assert len(list(tmp_path.glob("*-*"))) == expected


def test_calls_end_in_their_order_whenever_others_are_taken_back(tmp_path: Path) -> None:
    worker = Worker(lambda code, moved: sys.exit(code), close_fds=(), cwd=str(tmp_path))
    try:
        log = str(tmp_path / "log")
        for number in range(1, 8000, 4):
            expected = list(range(number, number + 4))
            worker.call_later((log, one) for one in expected)
            ends: list[int] = []
            while len(ends) < len(expected):
                if (ended := worker.poll()) is not None:
                    ends.append(ended.exit_code)
                    if len(ends) == 1:
                        expected = expected[: 4 - worker.take_back()]
            assert ends == expected
    finally:
        worker.close()


def test_what_a_worker_has_done_before_it_died_counts(tmp_path: Path) -> None:
    def call(name: str, moved: dict[str, str]) -> None:
        if name == "deadly":
            os._exit(3)
        (tmp_path / name).touch()

    worker = Worker(call, close_fds=(), cwd=str(tmp_path))
    try:
        log = str(tmp_path / "log")
        for name in ("a", "b", "deadly", "c", "d"):
            worker.call(log, name)
        until((tmp_path / "b").exists)
        time.sleep(0.1)
        worker.call(log, "e")  # only now do we hear that it is dead
        ends = [worker.poll() for _ in range(3)]
        assert [ended and ended.exit_code for ended in ends] == [0, 0, 3]
        assert worker.take_back() == 3
        assert not worker.is_alive
        worker.call(log, "f")
        assert worker.take_back() == 1
        worker.release()
        assert worker.fileno() is None
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "log"]
    finally:
        worker.close()


def test_a_run_with_nothing_to_do_opens_no_job(make_study) -> None:
    study = make_study(PYTHON.format(special="pass"), {"x": 1})
    study.cli("run")
    told = study.cli("run", env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"}).stderr
    assert "pointillist.execution.running.local" in told
    assert "| signac" not in told


VARYING = """
    import os
    @Project.post.isfile("a")
    @Project.operation(directives={directives})
    def work(job):
        with open(job.fn("a"), "w") as file: file.write(str(os.getpid()))
"""


@pytest.mark.parametrize(
    "words", [["project.py", "run"], ["-c", "import project; project.Project.get_project().run()"]]
)
def test_directive_fork_counts_for_the_tasks_it_is_true_of(make_study, engine, words: list[str]) -> None:
    study = make_study(VARYING.replace("{directives}", '{"fork": lambda job: job.sp.x % 8 == 0}'), *POINTS)
    engine(study.path, *words)
    process_of = {job.sp.x: Path(job.fn("a")).read_text() for job in signac.get_project(str(study.path))}
    shared, _count = Counter(process_of.values()).most_common(1)[0]
    assert {x for x, process in process_of.items() if process != shared} == {0, 8, 16, 24, 32}


def test_directive_that_raises_for_one_task_is_that_tasks_alone(make_study) -> None:
    study = make_study(VARYING.replace("{directives}", '{"np": lambda job: 1 // abs(job.sp.x - 30) + 1}'), *POINTS)
    assert "ZeroDivisionError" in study.cli("run", check=1).stderr
    assert count_files(study) == 39
