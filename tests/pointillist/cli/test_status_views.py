"""Every view and flag of ``status``, on studies with aggregates, groups, labels and hostile values."""

from __future__ import annotations

import csv
import io
import itertools
import json
from html.parser import HTMLParser
from typing import Any

import pytest

BODY = """
done = Project.label("done")(isfile("a.txt"))
both = Project.make_group("both")

@both
@Project.post(done)
@Project.operation
def first(job):
    if job.sp.x == 1:
        raise ValueError("no good")
    open(job.fn("a.txt"), "w").close()

@both
@Project.pre.after(first)
@Project.post.isfile("b.txt")
@Project.operation
def second(job):
    pass

@Project.pre.after(first)
@Project.post.isfile("c.txt")
@Project.operation(aggregator=aggregator.groupby("g"))
def third(*jobs):
    pass
"""
POINTS = [{"x": x, "g": x // 2, "fixed": "same", "deep": {"er": x}} for x in range(4)]


@pytest.fixture
def study(make_study):
    study = make_study(BODY, *POINTS)
    study.cli("run", "-o", "first", check=1)
    return study


def lines(study, *arguments: str) -> list[list[str]]:
    return [line.split() for line in study.cli("status", "--no-overview", *arguments).stdout.splitlines()]


def test_details_list_each_task_with_its_state(study) -> None:
    rows = lines(study, "-d")
    assert rows[0] == ["job", "or", "aggregate", "operation", "state", "s", "CPU", "s", "peak", "memory", "labels"]
    assert len(rows) == 1 + 4 + 4 + 2
    together = [key for key, _ in itertools.groupby(row[0] for row in rows[1:])]
    assert len(together) == len(set(together)) == 6  # four jobs, two aggregates
    assert sum(row[1:3] == ["second", "eligible"] for row in rows) == 3
    assert sum(row[1:3] == ["third", "eligible"] for row in rows) == 1
    assert sum(row[2] == "failed" and "ValueError:" in row for row in rows[1:]) == 1


@pytest.mark.parametrize(("flag", "count"), [("--eligible", 4), ("--failed", 1), ("--completed", 3), ("--running", 0)])
def test_filters_list_the_tasks_in_a_state(study, flag: str, count: int) -> None:
    assert len(lines(study, flag)) == 1 + count
    assert len(json.loads(study.cli("status", "--json", flag).stdout)["tasks"]) == count


def test_only_incomplete_leaves_out_jobs_that_are_through(study) -> None:
    job_id = next(row[0] for row in lines(study, "-d", "-o", "first") if "completed" in row)
    for name in ("b.txt", "c.txt"):
        (study.job(job_id) / name).touch()
    rows = lines(study, "-d", "--only-incomplete-operations")
    assert not any(row[0] == job_id for row in rows)
    assert len(rows) == 1 + 3 + 3 + 2


def test_parameters_are_those_in_which_jobs_differ(study) -> None:
    heading, *rows = lines(study, "-d", "-p", "-o", "first")
    assert sorted(heading[10:-1]) == ["deep.er", "g", "x"]
    assert len(rows) == 4


def test_parameters_may_be_named_and_come_from_the_document(study) -> None:
    job_id = study.make_jobs()[0]
    (study.job(job_id) / "signac_job_document.json").write_text('{"note": "a text that is long"}')
    output = study.cli(
        "status", "--no-overview", "-p", "sp.x", "deep.er", "doc.note", "fixed", "--param-max-width", "9", "-j", job_id
    ).stdout
    assert "a text..." in output
    assert "same" in output
    assert output.splitlines()[0].split()[-5:] == ["sp.x", "deep.er", "doc.note", "fixed", "labels"]


def test_parameters_of_aggregates_are_those_of_their_jobs(study) -> None:
    output = study.cli("status", "--no-overview", "-p", "g", "x", "-o", "third").stdout
    assert "0, 1" in output or "1, 0" in output
    assert "2, 3" in output or "3, 2" in output


def test_stack_lists_tasks_below_their_job_with_symbols(study) -> None:
    output = study.cli("status", "--stack", "--no-overview").stdout
    assert "  X first" in output
    assert "  + second" in output
    assert "  ! first" in output
    assert "[X]:completed" in output
    assert "  ● second" in study.cli("status", "--stack", "--pretty").stdout


def test_one_line_lists_a_line_for_each_job_and_aggregate(study) -> None:
    rows = lines(study, "-1")
    assert len(rows) == 1 + 4 + 2
    assert any(row[1:4] == ["first", "(+1)", "failed"] for row in rows)


def test_expand_has_two_tables(study) -> None:
    output = study.cli("status", "-e", "--no-overview").stdout
    first, second = output.split("\n\n")
    assert len(first.splitlines()) == 1 + 4 + 2
    assert [line.split()[2] for line in second.splitlines()[1:]].count("Y") == 4


def test_groups_are_counted(study) -> None:
    output = study.cli("status").stdout
    row = next(line for line in output.splitlines() if line.startswith("both"))
    assert row.split() == ["both", "first,", "second", "4", "0", "3"]
    (group,) = json.loads(study.cli("status", "--json", "-o", "both").stdout)["groups"]
    assert group == {"name": "both", "operations": ["first", "second"], "aggregates": 4, "completed": 0, "eligible": 3}


def test_a_label_that_gives_texts_has_a_row_for_each_and_none_of_its_own(make_study: Any) -> None:
    body = """
    @Project.label
    def progress(job):
        return f"{job.sp.x} of 2"

    @Project.label
    def never(job):
        return False
    """
    shown = make_study(body, {"x": 1}, {"x": 2}).cli("status").stdout
    rows = [line.split("░")[0].split("█")[0].strip() for line in shown.splitlines() if "%" in line]
    assert rows == ["never", "1 of 2", "2 of 2"]


def test_overview_may_be_shortened(study) -> None:
    assert "[2 more operations omitted]" in study.cli("status", "--eligible-jobs-max-lines", "1").stdout
    assert "[1 more labels omitted]" in study.cli("status", "-m", "0").stdout


def test_markdown_html_and_csv_hold_the_same_table(study) -> None:
    rows = list(csv.reader(io.StringIO(study.cli("status", "-d", "--no-overview", "--format", "csv").stdout)))
    markdown = study.cli("status", "-d", "--no-overview", "--format", "markdown").stdout.splitlines()
    assert [[c.strip() for c in line.strip("|").split("|")] for line in [markdown[0], *markdown[2:]]] == rows

    class Reader(HTMLParser):
        cells: tuple = ()

        def handle_data(self, data: str) -> None:
            self.cells += (data,) if data.strip() else ()

    reader = Reader()
    reader.feed(study.cli("status", "-d", "--no-overview", "--output-format", "html").stdout)
    assert [cell for row in rows for cell in row if cell] == list(reader.cells)


def test_flags_of_older_versions_are_accepted(study) -> None:
    result = study.cli("status", "--full", "-a", "--hide-progress", "--ignore-errors", "--profile")
    assert "cProfile" in result.stderr


def test_settings_of_signac_flow_for_a_slow_status_change_nothing(study) -> None:
    before = study.cli("status", "-d").stdout
    with open(study.path / ".signac" / "config", "a") as config:
        config.write("[flow]\neligible_jobs_max_lines = 1\nstatus_parallelization = process\n")
        config.write("status_performance_warn_threshold = 0\n")
    told = study.cli("status", "-d")
    assert told.stdout == before
    assert "parallel" not in told.stderr


def test_values_with_control_characters_do_not_reach_the_terminal(make_study) -> None:
    study = make_study(BODY, {"x": "a\x1b[31m\nb|c", "g": 0}, {"x": 2, "g": 0})
    output = study.cli("status", "-p", "x").stdout
    assert "\x1b" not in output
    assert "a\\x1b[31m\\nb|c" in output


def test_next_prints_what_could_run(study) -> None:
    eligible = {row[0] for row in lines(study, "--eligible", "-o", "second")[1:]}
    assert set(study.cli("next", "second").stdout.split()) == eligible
    assert study.cli("next", "third").stdout.startswith("agg-")
    assert "Did you mean second?" in study.cli("next", "secnod", check=3).stderr


def test_python_prints_what_the_command_line_prints(study, monkeypatch, capsys) -> None:
    import importlib.util

    monkeypatch.chdir(study.path)
    spec = importlib.util.spec_from_file_location("study_under_test", study.path / "project.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    project = module.Project(study.path)
    into = io.StringIO()
    project.print_status(detailed=True, parameters=["x"], file=into)
    assert into.getvalue() == study.cli("status", "-d", "-p", "x").stdout
    into = io.StringIO()
    job = next(iter(project))
    project.print_status([job], dump_json=True, file=into)
    assert {task["aggregate"] for task in json.loads(into.getvalue())["tasks"]} == {job.id}
    project.print_status(overview=False, compact=True, pretty=True, operation="first", parameters=True)
    assert "deep.er" in capsys.readouterr().out
    with pytest.raises(ValueError, match="terminal"):
        project.print_status(output_format="termnal")
    for arguments, words in (
        ({"unroll": False, "detailed": True}, ["--stack", "-d"]),
        ({"expand": True, "all_ops": True}, ["-e", "-a"]),
        ({"detailed": True, "parameters": ["deep"], "param_max_width": 4}, ["-d", "-p", "deep", "--param-max-width=4"]),
        ({"overview_max_lines": 0, "eligible_jobs_max_lines": 1}, ["-m", "0", "--eligible-jobs-max-lines", "1"]),
        ({"compact": True, "only_incomplete": True}, ["-1", "--only-incomplete-operations"]),
    ):
        into = io.StringIO()
        project.print_status(**arguments, file=into)
        assert into.getvalue() == study.cli("status", *words).stdout
        assert into.getvalue() != study.cli("status").stdout
