from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess

CLEAR = b"\x1b[J"

BODY = """
import os
done = Project.label("done")(isfile("a.txt"))

@Project.post(done)
@Project.operation
def first(job):
    open(job.fn("a.txt"), "w").close()

@Project.pre.after(first)
@Project.post.isfile("b.txt")
@Project.operation(cmd=True)
def second(job):
    return "exit 3" if job.sp.x == 1 else f"touch {job.fn('b.txt')}"
"""


def test_overview_counts_each_task_once(make_study) -> None:
    study = make_study(BODY, *({"x": x} for x in range(3)))
    study.cli("run", check=1)
    lines = study.cli("status").stdout.splitlines()
    assert lines[0] == "3 jobs, 6 tasks"
    assert lines[2].split() == ["operation", "completed", "eligible", "waiting", "running", "failed"]
    assert lines[3].split() == ["first", "3", "0", "0", "0", "0"]
    assert lines[4].split() == ["second", "2", "0", "0", "0", "1"]
    assert "3/3 (100 %)" in lines[7]


def test_json_is_one_document_with_the_same_numbers(make_study) -> None:
    study = make_study(BODY, *({"x": x} for x in range(3)))
    study.cli("run", check=1)
    document = json.loads(study.cli("status", "--json").stdout)
    assert document["schema"] == "pointillist/status/1"
    second = next(entry for entry in document["operations"] if entry["name"] == "second")
    assert (second["completed"], second["failed"]) == (2, 1)
    failed = next(task for task in document["tasks"] if task["state"] == "failed")
    assert failed["last_attempt"]["message"] == "exit code 3"
    assert document["labels"] == {"done": 3}


def test_detailed_lists_what_is_selected(make_study) -> None:
    study = make_study(BODY, *({"x": x} for x in range(3)))
    job_id = study.make_jobs()[0]
    output = study.cli("status", "-d", "-o", "fir.*", "-j", job_id[:8]).stdout
    assert output.count(job_id) == 1
    assert "second" not in output
    output = study.cli("status", "-d", "-f", "x", "2").stdout
    assert output.count("eligible") == 2  # the heading and one task


def test_without_jobs_it_says_what_makes_them(make_study) -> None:
    assert "init.py" in make_study(BODY).cli("status").stdout


def test_a_broken_job_is_named_and_the_others_are_shown(make_study) -> None:
    study = make_study(BODY, *({"x": x} for x in range(3)))
    bad = study.make_jobs()[1]
    (study.job(bad) / "signac_statepoint.json").write_text("{")
    result = study.cli("status")
    assert bad in result.stderr
    assert "2 jobs" in result.stdout


def test_a_narrow_pipe_cuts_nothing_off(make_study) -> None:
    study = make_study(BODY, {"x": 0})
    name = "a_very_long_operation_name_" * 6
    study.write_project(f"@Project.operation('{name}')\ndef work(job): pass")
    assert name in study.cli("status", env={"COLUMNS": "40", "PATH": ""}).stdout


def test_misspelt_names_are_answered_with_near_ones(make_study) -> None:
    study = make_study(BODY, {"x": 0})
    assert "Did you mean first?" in study.cli("status", "-o", "frist", check=3).stderr
    assert "Did you mean status?" in study.cli("statsu", check=2).stderr
    assert "Did not find job" in study.cli("status", "-j", "zzz", check=3).stderr


def test_no_command_and_unknown_ones_are_answered_with_usage(make_study) -> None:
    study = make_study(BODY, {"x": 0})
    for words in ([], ["--debug"]):
        told = study.cli(*words, check=2)
        assert told.stdout == ""
        assert "usage: project.py" in told.stderr
        assert "status, run, submit" in told.stderr
    assert "There is no command 'statsu'" in study.cli("statsu", check=2).stderr


def test_help_of_every_command_has_examples(make_study) -> None:
    from pointillist.cli.main import COMMANDS

    study = make_study(BODY)
    for command in COMMANDS:
        assert f"python project.py {command}" in study.cli(command, "--help").stdout


def test_watching_at_a_terminal_leaves_the_last_table(make_study) -> None:
    study = make_study(BODY, {"x": 0})
    ours, its = pty.openpty()
    watching = subprocess.Popen(study.command("status", "--watch", "1"), cwd=study.path, stdout=its)
    os.close(its)
    seen = b""
    while seen.count(CLEAR) < 2 or b"[" not in seen.rpartition(CLEAR)[2]:
        seen += os.read(ours, 65536)
    watching.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the other end is closed
        while more := os.read(ours, 65536):
            seen += more
    os.close(ours)
    assert watching.wait(timeout=30) == 0
    left = seen.rpartition(CLEAR)[2].decode()
    assert "1 job, 2 tasks" in left
    assert "second" in left


def test_watch_shows_it_again_until_interrupted(make_study) -> None:
    study = make_study(BODY, {"x": 0})
    watching = study.start("status", "--watch", "1")
    assert watching.stdout is not None
    seen = [watching.stdout.readline() for _ in range(5)]
    study.cli("run")
    for line in watching.stdout:
        seen.append(line)
        if line.split()[:2] == ["second", "1"]:
            break
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert any(line.split()[:2] == ["second", "0"] for line in seen)
