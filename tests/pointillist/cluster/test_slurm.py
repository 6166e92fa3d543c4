"""Slurm's spelling: requests as golden headers, answers as recorded from Slurm 22.05."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointillist.cluster.errors import RequestError, SchedulerUnavailable, SubmissionRejected
from pointillist.cluster.schedulers.commands import Answer
from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request
from pointillist.cluster.schedulers.slurm import Slurm, expand_ids

RECORDED = Path(__file__).parent / "recorded"


def answering(*answers: Answer) -> Slurm:
    left = list(answers)
    return Slurm(run=lambda command, **_: left.pop(0))


def recorded_words(name: str) -> list[str]:
    return (RECORDED / name).read_text().split("%\n")


def test_header_states_the_whole_request() -> None:
    request = Request(
        name="FlowProject/abc/train",
        processes=4,
        threads_per_process=6,
        gpus_per_process=1,
        nodes=2,
        memory_bytes=24 * 2**30,
        walltime_s=3 * 3600 + 62,
        partition="gpu",
        account="chem-1",
        qos="inferno",
        output="logs/my run-%A_%a.out",
        array=Array(10, limit=2),
        comment='say "hi"',
        signal_before_s=90,
        requeue=True,
        flags=("--constraint=a100",),
    )
    assert "\n".join(Slurm().header_lines(request)) + "\n" == (RECORDED / "sbatch-header.txt").read_text()


def test_memory_of_one_process_is_asked_for_as_a_whole() -> None:
    assert "#SBATCH --mem=1025M" in Slurm().header_lines(Request(name="a", memory_bytes=2**30 + 1))


def test_hold_and_dependencies_stay_out_of_the_header() -> None:
    after = (Dependency(After.OK, "7"), Dependency(After.ELEMENTWISE, "8"), Dependency(After.ANY, "9_3"))
    request = Request(name="a", hold=True, after=after)
    assert not [line for line in Slurm().header_lines(request) if "hold" in line or "depend" in line]
    assert Slurm().submit_arguments(request) == [
        "--hold",
        "--dependency=afterok:7,aftercorr:8,afterany:9_3",
        "--kill-on-invalid-dep=yes",
    ]


@pytest.mark.parametrize("field", ["name", "comment", "output", "partition", "account", "qos"])
def test_line_break_cannot_leave_the_header(field: str) -> None:
    with pytest.raises(RequestError, match="line break"):
        Request(**{"name": "a", field: "x\nrm -rf ~"})


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [("123\n", "123"), ("123;cluster\n", "123"), ("welcome\n\n123\n", "123"), ("Submitted batch job 7\n", "7")],
)
def test_id_is_read_from_the_answer(stdout: str, expected: str) -> None:
    assert Slurm().parse_submit(stdout) == expected


def test_recorded_queue_is_read() -> None:
    jobs = Slurm().parse_query((RECORDED / "squeue.txt").read_text())
    states = {one: job.state for one, job in jobs.items()}
    assert states["1"] is State.RUNNING
    assert states["5_0"] is State.RUNNING
    assert {states[f"5_{index}"] for index in range(1, 10)} == {State.QUEUED}
    assert {states[f"11_{index}"] for index in range(4)} == {State.CANCELLED}
    assert [one for one in jobs if one.startswith("12_")] == [f"12_{index}" for index in range(0, 300, 2)]
    assert states["12_298"] is State.HELD
    assert len(jobs["1"].name) == 100
    assert jobs["1"].comment == 'tasks | "3" of 7'
    assert (jobs["2"].exit_code, jobs["2"].exit_signal) == (3, None)
    assert (jobs["3"].exit_code, jobs["3"].exit_signal) == (None, 9)
    assert (jobs["4"].exit_code, jobs["4"].node) == (0, "n1")
    assert jobs["8"].never_starts
    assert jobs["7"].reason_words == "It waits for another cluster job."


def test_recorded_accounting_is_read() -> None:
    jobs = Slurm().parse_history((RECORDED / "sacct.txt").read_text())
    assert {one: job.state for one, job in jobs.items()} == {
        "4211": State.COMPLETED,
        "4212": State.CANCELLED,
        "4213": State.TIMED_OUT,
        "4214": State.OUT_OF_MEMORY,
        "4215": State.NODE_FAILED,
        "4216_0": State.FAILED,
        "4216_1": State.QUEUED,
        "4216_2": State.QUEUED,
        "4216_3": State.QUEUED,
        "4217": State.PREEMPTED,
    }
    assert jobs["4216_0"].exit_code == 3
    assert jobs["4212"].exit_signal == 15


@given(st.integers(min_value=0, max_value=10_000))
def test_no_part_of_an_answer_passes_for_a_whole_one(cut: int) -> None:
    text = (RECORDED / "squeue.txt").read_text()
    part = text[: cut % len(text)]
    try:
        jobs = Slurm().parse_query(part)
    except ValueError:
        return
    # What is left after a cut between two records cannot be told from a shorter queue; nothing else passes.
    assert part.rstrip("\n").endswith("\x1e")
    assert "JOBID" in part
    assert len(jobs) <= len(Slurm().parse_query(text))


def test_word_that_nobody_knows_is_unknown_and_not_final() -> None:
    text = (RECORDED / "squeue.txt").read_text().replace("RUNNING", "DREAMING")
    job = Slurm().parse_query(text)["1"]
    assert job.state is State.UNKNOWN
    assert job.native_state == "DREAMING"
    assert not job.state.is_final


@pytest.mark.parametrize("words", recorded_words("sbatch-rejections.txt"))
def test_wrong_request_is_a_rejection(words: str, tmp_path: Path) -> None:
    with pytest.raises(SubmissionRejected) as caught:
        answering(Answer(1, "", words)).submit(str(tmp_path / "s.sh"), Request(name="a"))
    assert "sbatch: " not in caught.value.words


@pytest.mark.parametrize("words", recorded_words("sbatch-unavailable.txt"))
def test_scheduler_in_trouble_is_no_rejection(words: str, tmp_path: Path) -> None:
    with pytest.raises(SchedulerUnavailable) as caught:
        answering(Answer(1, "", words)).submit(str(tmp_path / "s.sh"), Request(name="a"))
    assert caught.value.may_have_acted == ("timed out" in words or "Zero Bytes" in words)


@pytest.mark.parametrize(
    ("answer", "may_have_acted"),
    [(Answer(None, "", ""), True), (Answer(0, "", ""), True), (Answer(-9, "", ""), True), (Answer(1, "", ""), False)],
)
def test_submission_without_an_answer_may_have_been_accepted(answer: Answer, may_have_acted: bool) -> None:
    with pytest.raises(SchedulerUnavailable) as caught:
        answering(answer).submit("s.sh", Request(name="a"))
    assert caught.value.may_have_acted == may_have_acted


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, "", ""),
        Answer(0, "", ""),
        Answer(0, "slurm is being upgraded\n", ""),
        Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
        Answer(-15, "", ""),
    ],
)
def test_no_answer_is_never_an_empty_queue(answer: Answer) -> None:
    with pytest.raises(SchedulerUnavailable):
        answering(answer, answer).query(["1"])
    with pytest.raises(SchedulerUnavailable):
        answering(answer, answer).query()


def test_queue_without_jobs_is_empty() -> None:
    header = (RECORDED / "squeue.txt").read_text().split("\n")[0] + "\n"
    assert answering(Answer(0, header, "")).query() == {}


def test_one_forgotten_id_does_not_hide_the_others() -> None:
    refusal = Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    queue = Answer(0, (RECORDED / "squeue.txt").read_text(), "")
    assert set(answering(refusal, queue).query(["1", "999"])) == {"1"}
    assert answering(refusal).query(["999"]) == {}


def test_nothing_is_asked_about_no_ids() -> None:
    assert answering().query([]) == {}


def test_history_does_without_accounting() -> None:
    unknown = Answer(1, "", "slurm_load_jobs error: Invalid job id specified\n")
    disabled = Answer(1, "", "Slurm accounting storage is disabled\n")
    assert answering(unknown, unknown, disabled).history(["4211"]) == {}
    sacct = Answer(0, (RECORDED / "sacct.txt").read_text(), "")
    assert answering(unknown, unknown, sacct).history(["4211"])["4211"].state is State.COMPLETED


def test_job_is_not_forgotten_because_an_answer_was_cut_off_between_records() -> None:
    header = (RECORDED / "squeue.txt").read_text().split("\n")[0] + "\n"
    empty = Answer(0, header, "")
    with pytest.raises(SchedulerUnavailable, match="4211 is missing"):
        answering(empty, empty).history(["4211"])


def test_largest_array_is_read_from_the_configuration() -> None:
    assert answering(Answer(0, (RECORDED / "scontrol-config.txt").read_text(), "")).largest_array() == 1001


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("7", ["7"]),
        ("7_3", ["7_3"]),
        ("7_[3]", ["7_3"]),
        ("7_[4-6%2]", ["7_4", "7_5", "7_6"]),
        ("7_[0-4:2,9]", ["7_0", "7_2", "7_4", "7_9"]),
    ],
)
def test_folded_ids_are_expanded(native: str, expected: list[str]) -> None:
    assert list(expand_ids(native)) == expected


@pytest.mark.parametrize("native", ["", "x", "7_", "7_[1,...]", "7_[1-...", "7_[]", "7_[1-2"])
def test_cut_off_id_is_no_id(native: str) -> None:
    with pytest.raises(ValueError, match="is no id"):
        list(expand_ids(native))
