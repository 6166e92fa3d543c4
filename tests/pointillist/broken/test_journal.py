"""A journal whose lines are damaged: every command goes on, says so once, and results are what they were."""

from __future__ import annotations

import json

BODY = """
    @Project.post.isfile("a")
    @Project.operation(cmd=True)
    def work(job):
        return f"test {job.sp.x} -gt 0 && touch {job.path}/a"
"""


FIELDS = ["event", "attempt", "time", "operation", "aggregate", "log", "outcome", "exit_code"]


def test_no_line_stops_a_command(make_study) -> None:
    study = make_study(BODY, *({"x": x} for x in range(2)))
    study.cli("run", check=1)
    (path,) = study.path.glob(".pointillist/journal/*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    odd = [[1], {"a": 1}, "text", 1e300]
    damaged = [line | {field: value} for line in lines for field in FIELDS if field in line for value in odd]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [[1], *lines, *damaged, 3]))
    status = study.cli("status", "-d")
    assert status.stderr.count("no record of an attempt: [1] (and") == 1
    assert status.stdout.splitlines()[3].split()[1] == "1"
    for command in ("explain", "logs", "usage", "next work", "status --json", "run --pretend", "export x.zip"):
        assert "Traceback" not in study.cli(*command.split(), check=None).stderr
    run = study.cli("run", check=None)
    assert run.stderr.count("no record of an attempt: [1] (and") == 1
    assert "Traceback" not in run.stderr
