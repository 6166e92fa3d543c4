"""The lines that cluster scripts call look at their own job, however many others there are."""

from __future__ import annotations

import json
import shutil

import pytest

BODY = """
import atexit, json, os, sys

seen = set()

def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and "/workspace/" in str(arguments[0]) + "/":
        seen.add(str(arguments[0]))

sys.addaudithook(watch)
main_process = os.getpid()

@atexit.register
def tell():
    if os.getpid() == main_process:
        with open("seen.json", "w") as file:
            json.dump(sorted(seen), file)

@Project.post.isfile("a")
@Project.operation
def single(job):
    open(job.fn("a"), "w").close()

@Project.pre.after(single)
@Project.post.isfile("b")
@Project.operation(cmd=True)
def shell(job):
    return f"touch {job.fn('b')}"

@Project.pre.after(shell)
@Project.operation(aggregator=aggregator.groupby("g"))
def many(*jobs):
    pass
"""


@pytest.mark.parametrize(
    "words",
    [["exec", "single"], ["run", "-o", "single", "-j"], ["run", "-o", "shell", "-j"], ["status", "-o", "single", "-j"]],
)
def test_only_the_job_of_interest_is_looked_at(make_study, words: list[str]) -> None:
    study = make_study(BODY, *({"x": x, "g": x // 2} for x in range(5)))
    job_id = study.make_jobs()[2]
    if "shell" in words:
        (study.job(job_id) / "a").touch()
    study.cli(*words, job_id)
    seen = json.loads((study.path / "seen.json").read_text())
    assert all(job_id in path for path in seen), seen
    if words[0] != "status":
        assert (study.job(job_id) / ("b" if "shell" in words else "a")).exists()


def test_exec_takes_aggregates_abbreviated_ids_and_all(make_study) -> None:
    study = make_study(
        """
        @Project.operation(cmd=True, aggregator=aggregator.groupby("g", sort_by="x"))
        def shell(*jobs):
            return "echo together " + " ".join(str(job.sp.x) for job in jobs)

        @Project.operation
        def single(job):
            print("single", job.sp.x)
        """,
        *({"x": x, "g": x // 2} for x in range(4)),
    )
    assert sorted(study.cli("exec", "shell").stdout.splitlines()) == ["together 0 1", "together 2 3"]
    aggregate_id = study.cli("next", "shell").stdout.split()[0]
    assert study.cli("exec", "shell", aggregate_id).stdout.startswith("together 0 1")
    assert study.cli("exec", "shell", aggregate_id[:12]).stdout.startswith("together 0 1")
    assert study.cli("exec", "single").stdout.count("single") == 4
    job_id = study.make_jobs()[0]
    for ids in ([job_id[:10]], [job_id, job_id], [job_id[:10], job_id]):
        assert study.cli("exec", "single", *ids).stdout.count("single") == 1
    assert "Did not find job" in study.cli("exec", "single", "zzz", check=3).stderr
    assert "Did you mean single" in study.cli("exec", "singel", check=3).stderr


def test_an_operation_that_exits_ends_its_own_task_only(make_study) -> None:
    study = make_study(
        """
        import sys

        @Project.operation
        def work(job):
            print("seen", job.sp.x)
            sys.exit(job.sp.how)
        """,
        *({"x": x, "how": how} for x, how in enumerate([0, None, 3, "no good"])),
    )
    said = study.cli("exec", "work", check=1)
    assert said.stdout.count("seen") == 4
    assert said.stderr == "no good\n"
    files = (study.path / ".pointillist" / "journal").glob("*.jsonl")
    records = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    ends = sorted((r["outcome"], r["exit_code"]) for r in records if r["event"] == "end")
    assert ends == [("ended", 0), ("ended", 0), ("failed", 1), ("failed", 3)]


def test_unknown_aggregates_are_named_also_where_there_is_no_workspace(make_study) -> None:
    study = make_study(
        """
        @Project.operation(aggregator=aggregator())
        def together(*jobs):
            pass
        """
    )
    shutil.rmtree(study.path / "workspace", ignore_errors=True)
    for words in (["exec", "together"], ["run", "-j"]):
        assert "Did not find aggregate with id 'agg-12'" in study.cli(*words, "agg-12", check=3).stderr


def test_what_can_not_be_decided_is_named_where_it_is_left_out(make_study) -> None:
    study = make_study(
        """
        @Project.pre(lambda job: job.doc.absent)
        @Project.operation
        def work(job):
            pass
        """,
        {"x": 1},
    )
    for words in (["next", "work"], ["run", "--pretend"]):
        said = study.cli(*words)
        assert said.stdout == ""
        assert said.stderr.startswith("Left out: The condition"), said.stderr


def test_a_group_is_run_by_its_name(make_study) -> None:
    study = make_study(
        """
        both = Project.make_group("both", group_aggregator=aggregator.groupby("g"))

        @both
        @Project.operation
        def one(*jobs):
            print("one of", len(jobs))

        @both
        @Project.operation
        def two(*jobs):
            print("two of", len(jobs))
        """,
        *({"x": x, "g": x // 2} for x in range(4)),
    )
    output = study.cli("run", "-o", "both").stdout
    assert (output.count("one of 2"), output.count("two of 2")) == (2, 2)
    assert study.cli("run", "-o", "one").stdout.count("one of 1") == 4
    assert "both hold the operation one" in study.cli("run", "-o", "one", "both", check=2).stderr
    aggregate_id = study.cli("next", "both").stdout.split()[0]
    assert study.cli("run", "-o", "both", "-j", aggregate_id).stdout.count("of 2") == 2
    for command in ("explain", "logs"):
        words = study.cli(command, "-o", "both")
        assert (words.stdout + words.stderr).count(f"one ({aggregate_id})") == 1


def test_a_parser_of_the_users_own_gets_the_commands(make_study) -> None:
    study = make_study("", {"x": 0})
    (study.path / "project.py").write_text(
        "import argparse\n"
        "from pointillist import FlowProject\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--config')\n"
        "@FlowProject.operation\n"
        "def work(job): print('worked')\n"
        "FlowProject().main(parser=parser)\n"
    )
    assert "worked" in study.cli("--config", "x", "run").stdout
    assert "1 job, 1 task\n" in study.cli("-v", "--debug", "status").stdout
    assert "1 job, 1 task\n" in study.cli("status", "-v", "--debug").stdout
