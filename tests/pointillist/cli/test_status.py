from __future__ import annotations

import json
import signal

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


def test_help_of_every_command_has_examples(make_study) -> None:
    from pointillist.cli.main import COMMANDS

    study = make_study(BODY)
    for command in COMMANDS:
        assert f"python project.py {command}" in study.cli(command, "--help").stdout


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
