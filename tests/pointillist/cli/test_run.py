from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from patience import until

CHAIN = """
import os, sys, time

def write(job, name, text="x"):
    with open(job.fn(name + "~"), "w") as file:
        file.write(text)
    os.rename(job.fn(name + "~"), job.fn(name))

@Project.post.isfile("a")
@Project.operation
def first(job):
    print("first of", job.sp.x)
    write(job, "a")

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True, batch=True)
def second(*jobs):
    folders = " ".join(f"workspace/{job.id}" for job in jobs)
    return f"for d in {folders}; do echo second of $d; touch $d/b; done"

@Project.pre.after(second)
@Project.post.isfile("c")
@Project.operation(aggregator=aggregator.groupby("g"))
def third(*jobs):
    for job in jobs:
        write(job, "c", str(len(jobs)))
"""
POINTS = [{"x": x, "g": x % 2} for x in range(6)]


@pytest.mark.parametrize("parallel", [[], ["--parallel", "3"]])
def test_runs_until_nothing_is_eligible(make_study, parallel: list[str]) -> None:
    study = make_study(CHAIN, *POINTS)
    result = study.cli("run", *parallel)
    assert "14 completed" in result.stderr
    assert all((study.job(i) / "c").read_text() == "3" for i in study.make_jobs())
    assert result.stdout.count("first of") == result.stdout.count("second of") == 6
    assert "Nothing to do" in study.cli("run", *parallel).stderr


def test_a_batch_is_one_process_each_of_parallel(make_study) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("run", "-o", "first")
    study.cli("run", "--parallel", "2")
    logs = list((study.path / ".pointillist" / "logs" / "second").iterdir())
    assert sorted(len(log.read_text().splitlines()) for log in logs) == [3, 3]


def test_a_directive_of_a_batched_operation_is_asked_of_each_job(make_study) -> None:
    directives = "{'walltime': lambda job: 1 + job.sp.x, 'omp_num_threads': lambda job: 2}"
    study = make_study(CHAIN.replace("cmd=True, batch=True", f"cmd=True, batch=True, directives={directives}"), *POINTS)
    study.cli("run", "-o", "first")
    assert "export OMP_NUM_THREADS=2; for d in" in study.cli("run", "-o", "second", "--pretend").stdout
    assert "6 completed" in study.cli("run", "-o", "second", "--parallel", "2").stderr


def test_num_and_operation_limit_what_runs(make_study) -> None:
    study = make_study(CHAIN, *POINTS)
    assert "2 completed" in study.cli("run", "-n", "2").stderr
    assert "4 completed" in study.cli("run", "-o", "first").stderr
    assert "Nothing to do" in study.cli("run", "-o", "first").stderr


@pytest.mark.parametrize(
    ("words", "count"), [("-n -1", 6), ("-n 0", 0), ("--ignore-conditions all", 6), ("--ignore-conditions=none", 6)]
)
def test_numbers_and_conditions_are_said_as_in_signac_flow(make_study, words: str, count: int) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("run", "-o", "first", *words.split())
    assert len(list(study.path.glob("workspace/*/a"))) == count


@pytest.mark.parametrize("number", [[], ["-1"]])
def test_as_many_tasks_at_once_as_there_are_cores(make_study, number: list[str]) -> None:
    study = make_study(
        """
        import time
        @Project.operation
        def work(job):
            open(job.fn("there"), "w").close()
            while not all(os.path.exists(os.path.join(job.path, "..", i, "there")) for i in os.listdir("workspace")):
                time.sleep(0.02)
        import os
        """,
        {"x": 0},
        {"x": 1},
    )
    assert "2 ended" in study.cli("run", "--cores", "2", "--timeout", "60", "--parallel", *number).stderr
    assert "no positive number" in study.cli("run", "--parallel", "-2", check=2).stderr


def test_braces_in_a_command_are_left_to_the_shell(make_study) -> None:
    command = 'for name in {job.id} {1,2}; do echo "<${name}>"; done'
    body = f"@Project.operation(cmd=True)\ndef work(job): return {command!r}"
    assert "<{job.id}>\n" in make_study(body, {"x": 0}).cli("run").stdout


def test_flags_that_ask_for_what_is_always_done_are_accepted(make_study) -> None:
    study = make_study(CHAIN, *POINTS)
    assert "6 completed" in study.cli("run", "-o", "first", "--progress", "--switch-to-project-root").stderr


@pytest.mark.parametrize("command", ["run", "submit"])
def test_conditions_and_numbers_that_are_none_are_refused(make_study, command: str) -> None:
    study = make_study(CHAIN, *POINTS)
    assert "none of none, pre, post, all" in study.cli(command, "--ignore-conditions", "some", check=2).stderr
    assert "no whole number" in study.cli(command, "-n", "some", check=2).stderr
    assert "--ignore-conditions {none,pre,post,all}" in study.cli(command, "--help").stdout


def test_pretend_prints_commands_and_changes_nothing(make_study) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("run", "-o", "first")
    before = {str(p): p.lstat().st_mtime_ns for p in study.path.rglob("*") if "__pycache__" not in str(p)}
    output = study.cli("run", "--pretend").stdout
    assert output.startswith("for d in workspace/")
    assert {str(p): p.lstat().st_mtime_ns for p in study.path.rglob("*") if "__pycache__" not in str(p)} == before


FAILING = """
@Project.post.isfile("a")
@Project.operation
def work(job):
    if job.sp.x == 1 and not job.isfile("mended"):
        raise ValueError("no good")
    open(job.fn("a"), "w").close()

@Project.pre.after(work)
@Project.post.isfile("b")
@Project.operation
def more(job):
    open(job.fn("b"), "w").close()
"""


def test_a_failure_stops_only_itself_and_what_depends_on_it(make_study) -> None:
    study = make_study(FAILING, *({"x": x} for x in range(4)))
    result = study.cli("run", check=1)
    assert "6 completed, 1 failed" in result.stderr
    assert "ValueError: no good" in result.stderr
    assert "project.py" in result.stderr  # the user's own frame
    assert "pointillist/execution" not in result.stderr  # not the engine's


def test_a_failed_task_waits_for_retry_or_for_a_mended_input(make_study) -> None:
    study = make_study(FAILING, {"x": 1})
    (job_id,) = study.make_jobs()
    study.cli("run", check=1)
    assert "1 task failed earlier and was not" in study.cli("run").stderr
    assert "1 failed" in study.cli("run", "--retry-failed", check=1).stderr
    (study.job(job_id) / "mended").touch()
    assert "2 completed" in study.cli("run").stderr


def test_a_changed_project_file_clears_a_failure(make_study) -> None:
    study = make_study(FAILING, {"x": 1})
    study.cli("run", check=1)
    study.write_project(FAILING.replace("== 1", "== 99"))
    assert "2 completed" in study.cli("run").stderr


def test_an_operation_that_exits_the_process_fails_alone(make_study) -> None:
    body = """
        import os, signal
        @Project.post.isfile("a")
        @Project.operation
        def work(job):
            if job.sp.x == 0: os._exit(7)
            if job.sp.x == 1: os.kill(os.getpid(), signal.SIGKILL)
            open(job.fn("a"), "w").close()
    """
    study = make_study(body, *({"x": x} for x in range(4)))
    result = study.cli("run", check=1)
    assert "2 completed, 2 failed" in result.stderr
    assert "exit code 7" in result.stderr
    assert "killed by SIGKILL" in result.stderr


DYING_BATCH = """
import shlex, sys
SCRIPT = '''
import json, os, sys, pathlib
def report(folder, event):
    with open(os.environ["POINTILLIST_REPORT"], "a") as file:
        file.write(json.dumps({"folder": folder, "event": event}) + chr(10))
for folder in sys.argv[1:]:
    report(folder, "start")
    if json.loads(pathlib.Path(folder, "signac_statepoint.json").read_text())["x"] == 2:
        os.kill(os.getpid(), 9)
    pathlib.Path(folder, "a").touch()
    report(folder, "end")
'''

@Project.post.isfile("a")
@Project.operation(cmd=True, batch=True)
def work(*jobs):
    return shlex.join([sys.executable, "-c", SCRIPT, *(f"workspace/{job.id}" for job in jobs)])
"""


def test_a_batch_that_dies_loses_only_the_task_it_was_at(make_study) -> None:
    study = make_study(DYING_BATCH, *({"x": x} for x in range(8)))
    result = study.cli("run", check=1)
    assert "7 completed, 1 failed" in result.stderr


def test_exit_without_the_post_condition_is_said(make_study) -> None:
    study = make_study(
        "@Project.post.isfile('a')\n@Project.operation(cmd=True)\ndef work(job): return 'true'", {"x": 0}
    )
    result = study.cli("run")
    assert "file a exists" in result.stderr
    assert "1 ended" in result.stderr


def test_hostile_values_never_reach_the_shell_unquoted(make_study) -> None:
    study = make_study(CHAIN, {"x": "$(touch /tmp/owned) `id` ' \" \n;", "g": 0}, name="a $(touch owned) 'b\" c")
    assert "3 completed" in study.cli("run").stderr
    assert not list(study.path.parent.rglob("owned"))


def test_two_runs_at_once_share_the_work(make_study) -> None:
    body = """
        import time
        @Project.post.isfile("a")
        @Project.operation
        def work(job):
            time.sleep(0.1)
            with open(job.fn("times"), "a") as file:
                file.write("x")
            open(job.fn("a"), "w").close()
    """
    study = make_study(body, *({"x": x} for x in range(20)))
    runs = [study.start("run") for _ in range(2)]
    outputs = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all((study.job(i) / "times").read_text() == "x" for i in study.make_jobs())
    counts = [int(text.split(" completed")[0].split()[-1]) for text in outputs]
    assert sum(counts) == 20
    assert min(counts) > 0


def test_interrupt_lets_children_end_and_keeps_the_journal_right(make_study) -> None:
    body = """
        import sys, shlex
        @Project.post.isfile("a")
        @Project.operation(cmd=True)
        def work(job):
            folder = shlex.quote(job.path)
            return f"trap 'echo ended well > {folder}/ended; exit 130' INT; touch {folder}/started; sleep 60 & wait"
    """
    study = make_study(body, *({"x": x} for x in range(3)))
    run = study.start("run", "--parallel", "2")
    until(lambda: len(list(study.path.glob("workspace/*/started"))) == 2)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "2 interrupted" in errors
    assert len(list(study.path.glob("workspace/*/ended"))) == 2
    status = study.cli("status").stdout.splitlines()[3].split()
    assert status == ["work", "0", "3", "0", "0", "0"]


def test_a_second_interrupt_kills(make_study) -> None:
    body = """
        @Project.post.isfile("a")
        @Project.operation(cmd=True)
        def work(job):
            return f"trap '' INT; touch {job.path}/started; while :; do sleep 0.05; done"
    """
    study = make_study(body, {"x": 0})
    run = study.start("run")
    until(lambda: list(study.path.glob("workspace/*/started")))
    run.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode == 130


def test_status_shows_what_runs_elsewhere(make_study) -> None:
    body = """
        import time, os
        @Project.post.isfile("a")
        @Project.operation
        def work(job):
            open(job.fn("started"), "w").close()
            while not job.isfile("go"): time.sleep(0.02)
            open(job.fn("a"), "w").close()
    """
    study = make_study(body, {"x": 0})
    run = study.start("run")
    until(lambda: list(study.path.glob("workspace/*/started")))
    assert study.cli("status").stdout.splitlines()[3].split() == ["work", "0", "0", "0", "1", "0"]
    assert "worked on by another process" in study.cli("run").stderr
    assert "running now" in study.cli("explain").stdout
    assert "being worked on" in study.cli("exec", "work", check=1).stderr
    (study.job(study.make_jobs()[0]) / "go").touch()
    run.communicate(timeout=30)
    assert study.cli("status").stdout.splitlines()[3].split() == ["work", "1", "0", "0", "0", "0"]


@pytest.mark.parametrize("words", [[], ["--parallel", "2"]])
def test_operations_work_in_the_projects_folder(make_study, tmp_path: Path, words: list[str]) -> None:
    study = make_study(
        """
        import os, beside
        @Project.operation
        def python(job): print("python in", os.getcwd(), beside.VALUE)
        @Project.operation(cmd=True)
        def shell(job): return "echo shell in $(pwd)"
        """,
        {"x": 0},
    )
    (study.path / "beside.py").write_text("VALUE = 5")
    text = (study.path / "project.py").read_text().replace("Project.get_project().main()", "Project.main()")
    (study.path / "project.py").write_text(text)
    result = study.cli("run", "--switch-to-project-root", *words, cwd=tmp_path)
    assert sorted(result.stdout.splitlines()) == [f"python in {study.path} 5", f"shell in {study.path}"]


def test_run_from_another_folder_after_a_move_with_a_space(make_study, tmp_path: Path) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("run", "-o", "first")
    study.path = study.path.rename(tmp_path / "moved here")
    text = (study.path / "project.py").read_text().replace("get_project()", "get_project(__file__ + '/..')")
    (study.path / "project.py").write_text(text)
    assert "8 completed" in study.cli("run", cwd="/").stderr


def test_python_api_runs_in_this_process(make_study, monkeypatch) -> None:
    from pointillist import FlowProject
    from pointillist.errors import UserOperationError

    study = make_study("", *({"x": x} for x in range(3)))

    class Project(FlowProject):
        pass

    seen = []

    @Project.operation
    def work(job):
        seen.append((os.getpid(), job.sp.x))
        if job.sp.x == 1:
            raise ValueError("no good")

    project = Project(study.path)
    with pytest.raises(UserOperationError, match="no good"):
        project.run()
    assert sorted(seen) == [(os.getpid(), x) for x in range(3)]
    project.run(jobs=[project.open_job({"x": 2})], names=["w.*"])
    assert len(seen) == 4
