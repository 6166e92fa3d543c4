from __future__ import annotations

import csv
import io
import json

BODY = """
import time
@Project.post.isfile("a")
@Project.operation(directives={"np": 1, "walltime": 0.5})
def python(job):
    block = bytearray(120 * 1024**2)
    end = time.process_time() + 0.2
    while time.process_time() < end: pass
    open(job.fn("a"), "w").close()

@Project.post.isfile("b")
@Project.operation(cmd=True, batch=True)
def shell(*jobs):
    touch = "; ".join(f"touch workspace/{job.id}/b" for job in jobs)
    return f"{sys.executable} -c 'import time\\nwhile time.process_time() < 0.4: pass'; {touch}"

import sys
"""


def test_usage_is_what_the_processes_took(make_study) -> None:
    study = make_study(BODY, {"x": 0}, {"x": 1})
    study.cli("run")
    document = json.loads(study.cli("usage", "--json").stdout)
    assert document["schema"] == "pointillist/usage/1"
    python, shell = document["operations"]
    assert python["tasks"] == shell["tasks"] == 2
    assert 0.2 <= python["cpu_s_median"] < 1
    assert python["peak_memory_bytes"] > 120 * 1024**2
    assert python["asks_for"] == {"np": 1, "walltime": 0.5}
    assert 0.4 <= shell["cpu_s_total"] < 2  # of one process, shared by its tasks
    assert "np 1, walltime 0.5" in study.cli("usage").stdout


def test_details_of_a_status_tell_what_the_last_attempt_took(make_study) -> None:
    study = make_study(BODY, {"x": 0}, {"x": 1})
    details = ("status", "-d", "--no-overview", "--format", "csv")
    assert "peak memory" not in study.cli(*details).stdout  # nothing has been run
    study.cli("run", "-o", "python", "-n", "1")
    rows = list(csv.DictReader(io.StringIO(study.cli(*details).stdout)))
    (took,) = [row for row in rows if row["peak memory"]]
    assert took["operation"] == "python"
    assert float(took["s"]) >= float(took["CPU s"]) >= 0.2
    number, unit = took["peak memory"].split()
    assert int(number) > 120
    assert unit == "MiB"
    assert {(row["s"], row["CPU s"]) for row in rows if row is not took} == {("", "")}


def test_before_anything_ran_it_says_so(make_study) -> None:
    assert "Nothing has been run yet" in make_study(BODY, {"x": 0}).cli("usage", check=3).stdout
