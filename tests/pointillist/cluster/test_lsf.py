"""LSF's spelling: headers, and answers as documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointillist.cluster.errors import SchedulerUnavailable
from pointillist.cluster.schedulers.commands import Answer
from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.lsf import Lsf
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request

RECORDED = Path(__file__).parent / "recorded"


def answering(answer: Answer) -> Lsf:
    return Lsf(run=lambda command, **_: answer)


def test_header_states_the_request() -> None:
    request = Request(
        name="FlowProject/abc",
        processes=2,
        threads_per_process=4,
        gpus_per_process=1,
        memory_bytes=8 * 2**30,
        walltime_s=3601,
        partition="normal",
        account="chem",
        output="logs/my run-%J.out",
        array=Array(10, limit=2),
        signal_before_s=90,
        requeue=True,
    )
    assert Lsf().header_lines(request) == [
        '#BSUB -J "FlowProject/abc[1-10]%2"',
        "#BSUB -q normal",
        "#BSUB -P chem",
        "#BSUB -n 2",
        '#BSUB -R "affinity[core(4)]"',
        '#BSUB -gpu "num=1/task"',
        '#BSUB -R "rusage[mem=4096MB/task]"',
        "#BSUB -M 4096MB",
        "#BSUB -W 01:01",
        '#BSUB -o "logs/my run-%J.out"',
        "#BSUB -r",
        "#BSUB -Q 75",
    ]


def test_indices_begin_at_one_there_and_at_zero_here() -> None:
    after = (Dependency(After.OK, "7_0"), Dependency(After.ELEMENTWISE, "8"), Dependency(After.NOT_OK, "9"))
    assert Lsf().submit_arguments(Request(name="a", after=after)) == [
        "-w",
        "done(7[1]) && done(8[*]) && exit(9)",
        "-ti",
    ]
    assert Lsf().cancel_command(["7_0", "8"]) == ["bkill", "7[1]", "8"]


def test_id_is_read_from_the_answer() -> None:
    assert Lsf().parse_submit("Job <71> is submitted to default queue <normal>.\n") == "71"


def test_recorded_json_is_read() -> None:
    jobs = Lsf().parse_query((RECORDED / "bjobs.json").read_text())
    assert {one: job.state for one, job in jobs.items()} == {
        "71": State.RUNNING,
        "72": State.HELD,
        "73": State.QUEUED,
        "74_0": State.COMPLETED,
        "74_1": State.FAILED,
        "75": State.TIMED_OUT,
        "76": State.OUT_OF_MEMORY,
        "77": State.CANCELLED,
        "78": State.QUEUED,
        "79": State.UNKNOWN,
    }
    assert jobs["74_1"].exit_code == 3
    assert jobs["74_1"].name == "array"
    assert jobs["78"].never_starts


@pytest.mark.parametrize("text", ["", "{}", '{"JOBS": 2, "RECORDS": [', '{"JOBS": 2, "RECORDS": []}'])
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(SchedulerUnavailable):
        answering(Answer(0, text, "")).query()
