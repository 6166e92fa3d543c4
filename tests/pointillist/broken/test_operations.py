"""Operations that misbehave: each fails or ends alone, is told in a sentence, and costs the run nothing."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from patience import until

WELL = """
import os, signal, subprocess, sys, time
@Project.post.isfile("well")
@Project.operation
def well(job):
    print("well of", job.sp.x)
    open(job.fn("well"), "w").close()
"""
MIB = 1024**2


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("yes 'a line of text' | head -c {size}", "a line of text\n"),
        ("head -c {size} /dev/zero", "\0"),  # one line of a gigabyte
    ],
)
def test_a_gigabyte_of_output_goes_to_the_log_and_not_into_memory(make_study, command: str, printed: str) -> None:
    size = 1024 * MIB
    body = f"@Project.operation(cmd=True)\ndef talk(job): return {command.format(size=size)!r}"
    study = make_study(body, {"x": 0})
    limit = 400 * MIB  # Python and signac alone reserve about 100 MiB
    run = subprocess.run(
        study.command("run", "--no-progress"),
        cwd=study.path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    (log,) = study.path.glob(".pointillist/logs/talk/*.log")
    assert log.stat().st_size == size
    tail = study.cli("logs", "-o", "talk", "-l", "2")
    assert tail.stdout.startswith(printed)
    assert len(tail.stdout) < MIB
    log.unlink()


@pytest.mark.parametrize("kind", ["python", "shell"])
def test_children_left_behind_do_not_hold_up_the_run(make_study, kind: str, tmp_path: Path) -> None:
    mark = f"left-{uuid.uuid4().hex}"
    left = f"import time; time.sleep(300)  # {mark}"
    python = f"""
        @Project.post.isfile("a")
        @Project.operation
        def leaves(job):
            subprocess.Popen([sys.executable, "-c", {left!r}])
            open(job.fn("a"), "w").close()
    """
    shell = f"""
        import shlex
        @Project.post.isfile("a")
        @Project.operation(cmd=True)
        def leaves(job):
            return f"{{shlex.quote(sys.executable)}} -c {{shlex.quote({left!r})}} & touch workspace/{{job.id}}/a"
    """
    study = make_study((python if kind == "python" else shell).replace("\n        ", "\n") + WELL, {"x": 0}, {"x": 1})
    with_imports = "import os, signal, subprocess, sys, time\n" + (study.path / "project.py").read_text()
    (study.path / "project.py").write_text(with_imports)
    try:
        run = study.cli("run", "--parallel", "2")
        assert "4 completed" in run.stderr
        assert "Nothing to do: 4 of 4" in study.cli("run").stderr
        assert len(processes(mark)) == 2  # they were left alone
    finally:
        for pid in processes(mark):
            os.kill(pid, signal.SIGKILL)


def processes(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if mark.encode() in (folder / "cmdline").read_bytes() and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def test_a_forked_copy_that_comes_back_does_not_answer_for_its_parent(make_study) -> None:
    body = """
        @Project.post.isfile("a")
        @Project.operation
        def forks(job):
            if os.fork() == 0:
                return  # the copy walks out of the operation
            os.wait()
            open(job.fn("a"), "w").close()
    """
    study = make_study(body.replace("\n        ", "\n") + WELL, *({"x": x} for x in range(4)))
    run = study.cli("run")
    assert "8 completed" in run.stderr
    assert run.stdout.count("well of") == 4


@pytest.mark.parametrize(
    "deed",
    [
        "sys.stdout.close()",
        "sys.stdout.close(); sys.stderr.close()",
        "os.close(1)",
        "os.close(1); os.close(2)",
        "sys.stdout = None; sys.stderr = None",
        "os.chdir('/')",
        "os.environ.clear()",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "sys.stdin.read()",
    ],
)
def test_what_an_operation_does_to_its_process_stays_without_consequence(make_study, deed: str) -> None:
    body = f"""
        import os, signal, sys
        @Project.post.isfile("a")
        @Project.operation
        def first(job):
            print("first speaks", job.sp.x)
            open(job.fn("a"), "w").close()
            {deed}
        @Project.pre.after(first)
        @Project.post.isfile("b")
        @Project.operation
        def second(job):
            print("second speaks", job.sp.x, file=sys.stdout)
            print("and", job.sp.x, file=sys.stderr)
            assert os.getcwd() == {{}}
            open(job.fn("b"), "w").close()
    """
    study = make_study("", {"x": 0}, {"x": 1})
    study.write_project(body.replace("{}", repr(str(study.path))))
    run = study.cli("run")
    assert "4 completed" in run.stderr, run.stderr
    assert run.stdout.count("second speaks") == 2
    assert run.stdout.count("and") == 2


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        ("os._exit(7)", "exit code 7"),
        ("sys.exit('enough')", "SystemExit: enough"),
        ("sys.exit(4)", "SystemExit: 4"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL (out of memory?)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("os.abort()", "killed by SIGABRT"),
        ("raise KeyboardInterrupt", "killed by SIGINT"),
        ("raise Odd('odd')", "Odd: odd"),
        ("raise RecursionError", "RecursionError"),
        ("raise ValueError('x' * 10_000_000)", "ValueError: xxx"),
        ("os.close(1); os.close(2); raise ValueError('unheard')", "ValueError: unheard"),
        ("sys.stderr.close(); raise ValueError('unheard')", "ValueError: unheard"),
    ],
)
def test_an_end_without_a_result_fails_one_task_and_is_told(make_study, deed: str, words: str) -> None:
    body = f"""
class Odd(BaseException): pass
@Project.post.isfile("a")
@Project.operation
def ends(job):
    if job.sp.x == 1:
        {deed}
    open(job.fn("a"), "w").close()
"""
    study = make_study(WELL + body, *({"x": x} for x in range(3)))
    study.cli("run", "-o", "well")
    run = study.cli("run", check=1)
    assert "2 completed, 1 failed" in run.stderr
    assert words in run.stderr
    assert len(run.stderr) < 100_000
    status = study.cli("status", "--failed")
    assert words[:20] in status.stdout


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return None", "returned None"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("return 'exit 3'", "exit code 3"),
        ("return 'kill -9 $$'", "killed by SIGKILL"),
        ("return 'no-such-program'", "exit code 127"),
        ("return 'echo \\0'", "null"),
    ],
)
def test_a_command_that_can_not_be_is_one_failure(make_study, body: str, words: str) -> None:
    study = make_study(WELL + f"@Project.operation(cmd=True)\ndef command(job):\n    {body}\n", {"x": 0})
    run = study.cli("run", check=1)
    assert "1 completed, 1 failed" in run.stderr
    assert words in run.stderr


def test_a_process_that_the_kernel_kills_for_memory_fails_one_task(make_study) -> None:
    group = Path("/sys/fs/cgroup/memory") / f"test-{uuid.uuid4().hex}"
    if not os.access(group.parent, os.W_OK) or not (group.parent / "memory.limit_in_bytes").exists():
        pytest.skip("needs a memory cgroup that can be written (version 1, as root)")
    body = f"""
@Project.post.isfile("a")
@Project.operation
def eats(job):
    if job.sp.x == 1:
        with open("{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        eaten = bytearray(512 * 1024**2)
        eaten[::4096] = b"x" * len(eaten[::4096])
    open(job.fn("a"), "w").close()
"""
    study = make_study(WELL + body, *({"x": x} for x in range(3)))
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(128 * MIB))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        run = study.cli("run", check=1)
        assert "5 completed, 1 failed" in run.stderr
        assert "killed by SIGKILL (out of memory?)" in run.stderr
        assert int((group / "memory.failcnt").read_text()) > 0
    finally:
        group.rmdir()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("from pointillist import *\nimport no_such_module\n", "No module named 'no_such_module'"),
    ],
)
def test_a_project_file_that_can_not_be_read_fails_before_anything_is_touched(
    make_study, text: str, words: str
) -> None:
    study = make_study(WELL, {"x": 0})
    (study.path / "project.py").write_text(text)
    before = sorted(study.path.rglob("*"))
    for command in ("status", "run"):
        result = study.cli(command, check=1)
        assert words in result.stderr
        assert "project.py" in result.stderr
    assert sorted(p for p in study.path.rglob("*") if "__pycache__" not in str(p)) == before


def test_a_project_file_spoiled_while_it_runs_harms_nothing_that_runs(make_study) -> None:
    body = """
@Project.post.isfile("a")
@Project.operation
def slow(job):
    open(job.fn("started"), "w").close()
    while not job.isfile("go"): time.sleep(0.02)
    open(job.fn("a"), "w").close()
"""
    study = make_study(WELL + body, {"x": 0})
    (job_id,) = study.make_jobs()
    run = study.start("run")
    until((study.job(job_id) / "started").exists)
    text = (study.path / "project.py").read_text()
    (study.path / "project.py").write_text("def broken(:")
    assert "SyntaxError" in study.cli("status", check=1).stderr
    (study.job(job_id) / "go").touch()
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 0
    assert "2 completed" in errors
    (study.path / "project.py").write_text(text)
    assert "Nothing to do: 2 of 2" in study.cli("run").stderr
