"""Slots, time limits and retries of a run."""

from __future__ import annotations

import itertools
import json

import psutil
import pytest

TOUCH = "open(job.fn('a'), 'w').close()"


def test_tasks_share_the_cores_and_get_their_threads(make_study) -> None:
    body = """
        import os, time
        @Project.post.isfile("a")
        @Project.operation(directives={"np": 2})
        def work(job):
            job.document.threads = os.environ["OMP_NUM_THREADS"]
            job.document.began = time.time()
            time.sleep(0.15)
            job.document.ended = time.time()
            open(job.fn("a"), "w").close()
    """
    study = make_study(body, *({"x": x} for x in range(4)))
    study.cli("run", "--parallel", "4", "--cores", "4")
    documents = [json.loads((study.job(i) / "signac_job_document.json").read_text()) for i in study.make_jobs()]
    assert {document["threads"] for document in documents} == {"2"}
    changes = sorted([(d["began"], 1) for d in documents] + [(d["ended"], -1) for d in documents])
    assert max(itertools.accumulate(change for _, change in changes)) == 2


def test_gpus_are_handed_out_one_by_one(make_study) -> None:
    body = """
        @Project.post.isfile("a")
        @Project.operation(cmd=True, directives={"ngpu": 1})
        def work(job):
            return f"echo $CUDA_VISIBLE_DEVICES > {job.path}/a; sleep 0.2"
    """
    study = make_study(body, *({"x": x} for x in range(2)))
    study.cli("run", "--parallel", "2", "--gpus", "2")
    assert sorted((study.job(i) / "a").read_text().strip() for i in study.make_jobs()) == ["0", "1"]


def test_a_task_without_gpus_sees_none_of_the_task_before_it(make_study, monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    body = """
        import os
        @Project.post.isfile("a")
        @Project.operation(directives={"ngpu": lambda job: job.sp.x})
        def work(job):
            with open(job.fn("a"), "w") as file:
                file.write(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    """
    study = make_study(body, {"x": 1})
    (with_gpu,) = study.make_jobs()
    study.make_jobs({"x": 0})
    study.cli("run", "--gpus", "1", "--order", "by-job")
    seen = {i: (study.job(i) / "a").read_text() for i in study.make_jobs()}
    assert seen.pop(with_gpu) == "0"
    assert list(seen.values()) == ["none"]


def test_a_task_that_can_never_fit_is_refused_and_the_others_run(make_study) -> None:
    body = f"""
        @Project.post.isfile("a")
        @Project.operation(directives={{"ngpu": lambda job: job.sp.x}})
        def work(job):
            {TOUCH}
    """
    study = make_study(body, *({"x": x} for x in range(3)))
    result = study.cli("run", "--parallel", "2", "--gpus", "1", check=1)
    assert "it needs 2 GPUs, and there is 1" in result.stderr
    assert "2 completed" in result.stderr


@pytest.mark.parametrize(
    ("directives", "option", "words"),
    [
        ('{"np": 3}', "--cores=2", "it needs 3 cores, and there are 2"),
        ('{"omp_num_threads": 4}', "--cores=3", "it needs 4 cores, and there are 3"),
        ('{"ngpu": 1}', "--gpus=0", "it needs 1 GPU, and there are 0"),
        ('{"memory": 2}', "--memory=1500m", "it needs 2 GB"),
    ],
)
def test_what_there_is_can_be_said(make_study, directives: str, option: str, words: str) -> None:
    study = make_study(f"@Project.operation(cmd=True, directives={directives})\ndef work(job): return 'true'", {"x": 0})
    told = study.cli("run", option, check=1)
    assert words in told.stderr
    assert "--cores, --gpus and --memory say otherwise" in told.stderr
    assert "1 ended" in study.cli("run", "--cores=4", "--gpus=1", "--memory=2").stderr


def test_every_library_is_told_how_many_threads_it_may_use(make_study) -> None:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    study = make_study(
        f"""
        import os
        names = {names}

        @Project.operation(directives={{"np": 3}})
        def python(job):
            print("python", *(os.environ.get(name) for name in names))

        @Project.operation(cmd=True, directives={{"omp_num_threads": 2}})
        def shell(job):
            return " ".join(["echo shell", *("$" + name for name in names)])
        """,
        {"x": 0},
    )
    told = study.cli("run", "--parallel", "2", "--cores", "4").stdout
    assert sorted(told.splitlines()) == ["python 3 3 3 3", "shell 2 2 2 2"]


def test_others_go_on_after_a_failure_unless_told_otherwise(make_study) -> None:
    body = """
        @Project.post.isfile("a")
        @Project.operation
        def work(job):
            if job.sp.x == 0:
                raise ValueError
            open(job.fn("a"), "w").close()
    """
    for words in ([], ["--keep-going"]):
        study = make_study(body, *({"x": x} for x in range(4)), name=f"study {len(words)}")
        assert "3 completed, 1 failed" in study.cli("run", *words, check=1).stderr


def test_alone_a_task_may_take_what_it_wants(make_study) -> None:
    body = f"""
        @Project.post.isfile("a")
        @Project.operation(directives={{"np": 1000, "ngpu": 8}})
        def work(job):
            {TOUCH}
    """
    assert "1 completed" in make_study(body, {"x": 0}).cli("run").stderr


def test_timeout_ends_a_task_with_its_children_and_nothing_else(make_study) -> None:
    body = f"""
        import subprocess, time
        @Project.post.isfile("a")
        @Project.operation
        def python(job):
            if job.sp.x == 1:
                subprocess.run(["sleep", "61.5"])
            {TOUCH}

        @Project.post.isfile("b")
        @Project.operation(cmd=True)
        def shell(job):
            return "sleep 62.5 & wait" if job.sp.x == 1 else f"touch {{job.path}}/b"
    """
    study = make_study(body, *({"x": x} for x in range(3)))
    result = study.cli("run", "--parallel", "2", "--timeout", "0.7", check=1)
    assert "4 completed, 2 failed" in result.stderr
    assert result.stderr.count("it took longer than 0.7 s") == 2
    sleeping = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"]]
    assert not [c for c in sleeping if c in (["sleep", "61.5"], ["sleep", "62.5"])]


def test_a_negative_timeout_is_none_at_all(make_study) -> None:
    study = make_study(
        "@Project.post.isfile('a')\n@Project.operation(cmd=True)\ndef work(job): return f'touch {job.path}/a'"
    )
    study.make_jobs({"x": 0})
    assert "1 completed" in study.cli("run", "--timeout", "-1").stderr
    for wrong in ("0", "soon", "nan"):
        assert "no positive number of seconds" in study.cli("run", "--timeout", wrong, check=2).stderr


RETRIED = """
@Project.post.isfile("a")
@Project.operation(retries=1)
def work(job):
    with open(job.fn("tries"), "a") as file:
        file.write("x")
    if len(open(job.fn("tries")).read()) < job.sp.needed:
        raise OSError("not yet")
    open(job.fn("a"), "w").close()
"""


def test_a_failed_task_is_tried_again_as_often_as_it_may(make_study) -> None:
    study = make_study(RETRIED, {"needed": 1}, {"needed": 2}, {"needed": 3})
    result = study.cli("run", check=1)
    assert "2 completed, 1 failed" in result.stderr
    tries = sorted(len((study.job(i) / "tries").read_text()) for i in study.make_jobs())
    assert tries == [1, 2, 2]
    assert "1 completed" in study.cli("run", "--retry-failed").stderr


def test_retries_on_the_command_line_count_for_all(make_study) -> None:
    study = make_study(RETRIED.replace("(retries=1)", ""), {"needed": 3})
    assert "1 completed" in study.cli("run", "--retries", "2").stderr


def test_retries_of_operations_can_be_left_out(make_study) -> None:
    study = make_study(RETRIED, {"needed": 2})
    assert "1 failed" in study.cli("run", "--retries", "0", check=1).stderr


def test_pauses_before_another_try_double(make_study) -> None:
    study = make_study("@Project.operation\ndef work(job): raise ValueError", {"x": 0})
    study.cli("run", "--retries", "2", check=1)
    tries = json.loads(study.cli("logs", "--all", "--json").stdout)["attempts"]
    pauses = [later["started"] - earlier["ended"] for earlier, later in itertools.pairwise(tries)]
    assert len(pauses) == 2
    assert pauses[0] >= 1
    assert pauses[1] >= 2


def test_fail_fast_starts_nothing_after_a_failure(make_study) -> None:
    study = make_study("@Project.operation\ndef work(job): raise ValueError", *({"x": x} for x in range(5)))
    assert "1 failed" in study.cli("run", "--fail-fast", check=1).stderr


def test_passes_repeat_what_is_not_complete(make_study) -> None:
    body = "@Project.post.never\n@Project.operation\ndef work(job): print('again')"
    study = make_study(body, {"x": 0})
    assert study.cli("run", "--num-passes", "3").stdout.count("again") == 3
    assert study.cli("run").stdout.count("again") == 1


def test_a_document_spoiled_by_its_operation_is_a_failure_of_that_task(make_study) -> None:
    body = """
        @Project.post.true("done")
        @Project.operation
        def work(job):
            with open(job.fn("signac_job_document.json"), "w") as file:
                file.write("{" if job.sp.x else '{"done": true}')
    """
    result = make_study(body, {"x": 0}, {"x": 1}).cli("run", check=1)
    assert "1 completed, 1 failed" in result.stderr
    assert "not valid JSON" in result.stderr


def test_a_command_may_be_longer_than_an_argument_can_be(make_study) -> None:
    body = """
        @Project.post.isfile("a")
        @Project.operation(cmd=True)
        def work(job):
            return f": {'x' * 200_000}; touch {job.path}/a"
    """
    assert "1 completed" in make_study(body, {"x": 0}).cli("run").stderr
