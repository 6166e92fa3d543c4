"""PBS's spelling, in both dialects: headers, and answers as documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointillist.cluster.errors import RequestError, SchedulerUnavailable
from pointillist.cluster.schedulers.commands import Answer
from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.pbs import Pbs, Torque
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request

RECORDED = Path(__file__).parent / "recorded"


def answering(answer: Answer) -> Pbs:
    return Pbs(run=lambda command, **_: answer)


def test_header_counts_chunks() -> None:
    request = Request(
        name="FlowProject/abc",
        processes=2,
        threads_per_process=4,
        gpus_per_process=1,
        memory_bytes=8 * 2**30,
        walltime_s=3661,
        partition="workq",
        account="chem",
        output="logs/my run.out",
        array=Array(10, limit=2),
        requeue=False,
    )
    assert Pbs().header_lines(request) == [
        "#PBS -N FlowProject-abc",
        "#PBS -l select=2:ncpus=4:mpiprocs=1:ompthreads=4:ngpus=1:mem=4194304kb",
        "#PBS -l walltime=01:01:01",
        "#PBS -q workq",
        "#PBS -A chem",
        "#PBS -j oe",
        "#PBS -o 'logs/my run.out'",
        "#PBS -r n",
        "#PBS -J 0-9%2",
    ]


def test_torque_counts_nodes() -> None:
    request = Request(name="a", processes=2, threads_per_process=4, gpus_per_process=1, array=Array(1))
    assert Torque().header_lines(request)[:2] == ["#PBS -N a", "#PBS -l nodes=1:ppn=8:gpus=2"]
    assert "#PBS -t 0-0" in Torque().header_lines(request)


@pytest.mark.parametrize("wish", [{"qos": "fast"}, {"array": Array(1)}])
def test_what_pbs_cannot_say_is_refused(wish: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        Pbs().header_lines(Request(name="a", **wish))


def test_dependencies_name_elements_in_brackets() -> None:
    after = (Dependency(After.OK, "51.head"), Dependency(After.ANY, "54.head_1"))
    assert Pbs().submit_arguments(Request(name="a", after=after)) == [
        "-W",
        "depend=afterok:51.head,afterany:54[1].head",
    ]


@pytest.mark.parametrize(("stdout", "expected"), [("51.head\n", "51.head"), ("54[].head.site\n", "54.head.site")])
def test_id_is_read_from_the_answer(stdout: str, expected: str) -> None:
    assert Pbs().parse_submit(stdout) == expected


def test_recorded_json_is_read() -> None:
    jobs = Pbs().parse_query((RECORDED / "qstat.json").read_text())
    assert {one: job.state for one, job in jobs.items()} == {
        "51.head": State.RUNNING,
        "52.head": State.HELD,
        "53.head": State.QUEUED,
        "54.head_0": State.COMPLETED,
        "54.head_1": State.QUEUED,
        "55.head": State.FAILED,
        "56.head": State.TIMED_OUT,
        "57.head": State.CANCELLED,
        "58.head": State.CANCELLED,
        "59.head": State.UNKNOWN,
    }
    assert jobs["55.head"].exit_code == 3
    assert jobs["57.head"].exit_signal == 15
    assert jobs["51.head"].node == "n7"
    assert "Insufficient amount" in jobs["54.head_1"].reason_words


def test_recorded_xml_is_read() -> None:
    jobs = Torque().parse_query((RECORDED / "qstat.xml").read_text())
    assert {one: job.state for one, job in jobs.items()} == {
        "51.head": State.RUNNING,
        "54.head_0": State.COMPLETED,
        "54.head_1": State.QUEUED,
    }


def test_other_peoples_jobs_are_not_ours() -> None:
    text = (RECORDED / "qstat.json").read_text()
    assert "59.head" not in answering(Answer(0, text, "")).query(user="ada")
    assert set(answering(Answer(0, text, "")).query(user="bob")) == {"59.head"}


def test_known_jobs_are_read_beside_complaints_about_unknown_ones() -> None:
    text = (RECORDED / "qstat.json").read_text()
    answer = Answer(153, text, "qstat: Unknown Job Id 51[].head\nqstat: Unknown Job Id 99.head\n")
    assert set(answering(answer).query(["51.head", "99.head"])) == {"51.head"}
    other_trouble = Answer(153, text, "qstat: Unknown Job Id 99.head\nqstat: cannot connect to server head\n")
    with pytest.raises(SchedulerUnavailable):
        answering(other_trouble).query(["51.head", "99.head"])


@pytest.mark.parametrize("text", ["", "{}", '{"timestamp": 1, "Jobs": {"51.he', "<Data>"])
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(SchedulerUnavailable):
        answering(Answer(0, text, "")).query()


def test_torque_saying_nothing_proves_nothing() -> None:
    with pytest.raises(SchedulerUnavailable):
        Torque(run=lambda command, **_: Answer(0, "", "")).query()
