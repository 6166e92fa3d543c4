from __future__ import annotations

import json
from pathlib import Path

import pytest

BODY = """
from pathlib import Path
HERE = Path(__file__).parent

@Project.post.isfile("value.txt")
@Project.operation
def compute(job):
    Path(job.fn("value.txt")).write_text(str(job.sp.a ** 2))
    Path(job.fn("where.txt")).write_text(str(HERE))

@Project.pre.after(compute)
@Project.post.isfile("double.txt")
@Project.operation(cmd=True)
def double(job):
    return f"expr 2 '*' $(cat workspace/{job.id}/value.txt) > workspace/{job.id}/double.txt"

@Project.pre.after(double)
@Project.post(lambda *jobs: (HERE / "total.txt").exists())
@Project.operation(aggregator=aggregator())
def total(*jobs):
    (HERE / "total.txt").write_text(str(sum(int(Path(j.fn("double.txt")).read_text()) for j in jobs)))

Project.reproducible(made=["total.txt"], ignore=["where.txt"])
"""
JOBS = [{"a": a} for a in range(5)]


@pytest.fixture
def study(make_study):
    study = make_study(BODY, *JOBS)
    study.cli("run")
    return study


def tree(root: Path) -> dict[str, bytes]:
    """Return all files but the engine's own and Python's."""
    paths = [p for p in root.rglob("*") if p.is_file() and not {".pointillist", "__pycache__"} & {*p.parts}]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def reproduce(study, *arguments: str, check: int = 0) -> dict:
    return json.loads(study.cli("reproduce", "--json", *arguments, check=check).stdout)


def verdicts(answer: dict) -> dict[str, str]:
    """Return the verdicts that are not `identical`, by job and file."""
    return {f"{f['job'][:4]}/{f['file']}": f["verdict"] for f in answer["files"] if f["verdict"] != "identical"}


def first_job(study) -> Path:
    return study.job(sorted(path.name for path in (study.path / "workspace").iterdir())[0])


def test_everything_is_made_again_and_the_original_left_alone(study, tmp_path):
    before = tree(study.path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    answer = reproduce(study, "--scratch", str(scratch))
    assert answer["reproduced"]
    assert len(answer["jobs"]) == 5
    assert verdicts(answer) == {}
    makers = {(f["file"], f["operation"]) for f in answer["files"]}
    assert makers == {("value.txt", "compute"), ("double.txt", "double"), ("total.txt", "total")}
    assert tree(study.path) == before
    assert list(scratch.iterdir()) == []


def test_table_says_what_was_compared_where_and_the_outcome(study):
    text = study.cli("reproduce", "--sample", "2").stdout
    assert "double.txt" in text
    assert "total.txt" not in text, "two of five jobs do not have the total of five"
    assert "4 identical" in text
    assert "pointillist 0." in text
    assert "REPRODUCED" in text.splitlines()


def test_flipped_bit_is_different_and_the_exit_code_1(study):
    path = first_job(study) / "value.txt"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))
    answer = reproduce(study, check=1)
    assert not answer["reproduced"]
    assert verdicts(answer) == {f"{path.parent.name[:4]}/value.txt": "DIFFERENT"}
    assert "NOT REPRODUCED" in study.cli("reproduce", check=1).stdout.splitlines()


def test_file_that_only_one_side_has_is_named(study):
    folder = first_job(study)
    (folder / "notes.txt").write_text("mine")
    study.write_project(BODY.replace('job.fn("where.txt")', 'job.fn("here.txt")'))
    found = verdicts(reproduce(study, "-j", folder.name, check=1))
    job = folder.name[:4]
    assert found == {f"{job}/notes.txt": "NOT MADE AGAIN", f"{job}/here.txt": "NOT IN THE ORIGINAL"}


def test_sample_is_drawn_from_the_seed_that_is_told(study):
    first = reproduce(study, "--sample", "2")
    again = reproduce(study, "--sample", "2", "--seed", str(first["sample_seed"]))
    assert again["jobs"] == first["jobs"]
    assert any(reproduce(study, "--sample", "2", "--seed", str(s))["jobs"] != first["jobs"] for s in range(4))


def test_statement_is_kept_with_the_history(study):
    answer = reproduce(study, "--sample", "1")
    (kept,) = (study.path / ".pointillist/reproductions").iterdir()
    assert json.loads(kept.read_text()) == answer


def test_unfinished_job_can_not_be_made_again(study):
    folder = first_job(study)
    (folder / "double.txt").unlink()
    text = study.cli("reproduce", "-j", folder.name, check=3).stderr
    assert f"{folder.name} is not finished: double is eligible" in text
    answer = reproduce(study)
    assert len(answer["jobs"]) == 4
    assert "total.txt" not in {f["file"] for f in answer["files"]}


def test_selected_operations_are_judged_alone(study):
    folder = first_job(study)
    (folder / "double.txt").unlink()
    answer = reproduce(study, "-o", "compute")
    assert len(answer["jobs"]) == 5
    assert {f["file"] for f in answer["files"]} == {"value.txt"}


def test_failure_is_said_with_its_last_lines(study):
    study.write_project(BODY.replace("expr 2", "echo no luck; exit 7; expr 2"))
    result = study.cli("reproduce", "--sample", "1", check=1)
    assert "double did not come through" in result.stdout
    assert "    no luck" in result.stdout
    assert "NOT MADE AGAIN" in result.stdout


def test_shared_folder_is_used_in_place_and_inputs_are_copied(make_study):
    body = """
from pathlib import Path
HERE = Path(__file__).parent

@Project.post.isfile("out.txt")
@Project.operation
def compute(job):
    assert (HERE / "data").is_symlink() == ("reproduce-" in str(HERE))
    text = (HERE / "data/big.txt").read_text() + Path(job.fn("in.txt")).read_text()
    Path(job.fn("out.txt")).write_text(text)

Project.reproducible(share=["data"], inputs=["in.txt"])
"""
    study = make_study(body, {"a": 1})
    (study.path / "data").mkdir()
    (study.path / "data/big.txt").write_text("big")
    (first_job(study) / "in.txt").write_text("in")
    study.cli("run")
    assert verdicts(reproduce(study)) == {}


COMPARED = """
from pathlib import Path

@Project.post.isfile("value.txt")
@Project.operation
def compute(job):
    Path(job.fn("value.txt")).write_text(Path(__file__).with_name("number").read_text())
    Path(job.fn("machine")).write_text(Path(__file__).with_name("name").read_text())

def compare(one, other):
    distance = abs(float(one.read_text()) - float(other.read_text()))
    return (None if distance > 100 else distance < 1), f"{distance:.1f} of 1.0"

def machine(folder, name):
    return (folder / "machine").read_text() or None

def code(folder, name):
    return "version " + (folder / "machine").read_text()

Project.reproducible(ignore=["machine"], compare={"val*": compare}, fingerprint=machine, code=code)
"""


@pytest.mark.parametrize(
    ("number", "name", "verdict", "note"),
    [
        ("1.5", "other", "within tolerance", "0.5 of 1.0"),
        ("3", "other", "DIFFERENT", "2.0 of 1.0; made by other code: version here, now version other"),
        ("300", "other", "not compared", "299.0 of 1.0"),
        ("1.5", "here", "DIFFERENT", "made on a machine of the same fingerprint"),
        ("1.5", "", "DIFFERENT", "not recorded"),
        ("1", "other", "identical", ""),
    ],
)
def test_tolerance_holds_on_another_machine_only(make_study, number, name, verdict, note):
    study = make_study(COMPARED, {"a": 1})
    (study.path / "number").write_text("1")
    (study.path / "name").write_text("here")
    study.cli("run")
    (study.path / "number").write_text(number)
    (study.path / "name").write_text(name)
    answer = reproduce(study, check=int(verdict == "DIFFERENT"))
    (finding,) = answer["files"]
    assert finding["verdict"] == verdict
    assert note in finding["note"]
    assert ("other code" in finding["note"]) == (verdict == "DIFFERENT" and name != "here")


def test_damaged_original_is_said(make_study):
    study = make_study(
        COMPARED + "Project.reproducible(ignore=['machine'], verify=lambda folder: ['the seal is broken'])", {"a": 1}
    )
    (study.path / "number").write_text("1")
    (study.path / "name").write_text("here")
    study.cli("run")
    answer = reproduce(study, check=1)
    assert [(f["verdict"], f["note"]) for f in answer["files"]] == [
        ("identical", ""),
        ("ORIGINAL DAMAGED", "the seal is broken"),
    ]


def test_an_original_of_an_earlier_version_is_not_called_damaged(make_study):
    old = "Project.reproducible(ignore=['machine'], verify=lambda folder: ['too old', 'broken'], outdated={})"
    study = make_study(COMPARED + old.format("lambda folder, name: 'too old' * name.startswith('val')"), {"a": 1})
    (study.path / "number").write_text("1")
    (study.path / "name").write_text("here")
    study.cli("run")
    answer = reproduce(study, check=1)
    assert [(f["file"], f["verdict"], f["note"]) for f in answer["files"]] == [
        ("value.txt", "ORIGINAL OF AN EARLIER VERSION", "too old"),
        ("", "ORIGINAL DAMAGED", "broken"),
    ]


def test_without_a_declaration_every_file_counts(make_study):
    study = make_study(BODY.replace("Project.reproducible", "dict"), *JOBS)
    study.cli("run")
    answer = reproduce(study, "--sample", "1", check=1)
    assert {f["file"] for f in answer["files"] if f["verdict"] == "DIFFERENT"} == {"where.txt"}
    # total.txt is copied along, so that the operation behind it has nothing to do.
    assert answer["failures"] == {}


def test_operation_that_is_never_complete_is_made_again_and_that_is_the_end_of_it(make_study):
    study = make_study(
        """
        @Project.pre(lambda *jobs: all(job.isfile("a") for job in jobs))
        @Project.operation(cmd=True, aggregator=aggregator())
        def sum_up(*jobs):
            return "; ".join(f"cat workspace/{job.id}/a > workspace/{job.id}/b" for job in jobs)

        @Project.post.isfile("a")
        @Project.operation(cmd=True)
        def first(job):
            return f"echo {job.sp.x} > workspace/{job.id}/a"
        """,
        {"x": 1},
    )
    study.cli("run")
    said = study.cli("reproduce")
    assert "2 identical" in said.stdout
    assert said.stderr.count("making again: sum_up") == 3


def test_operation_that_takes_several_runs_is_run_as_often(make_study):
    study = make_study(
        """
        @Project.post(lambda job: job.isfile("a") and len(open(job.fn("a")).read()) == 4)
        @Project.operation(cmd=True)
        def extend(job):
            return f"printf x >> workspace/{job.id}/a"
        """,
        {"x": 1},
    )
    study.cli("run", "--num-passes", "4")
    assert "1 identical" in study.cli("reproduce").stdout


def test_scratch_folder_needs_a_folder_to_be_in(study):
    study.cli("run")
    assert "There is no folder nowhere" in study.cli("reproduce", "--scratch", "nowhere", check=2).stderr


@pytest.mark.parametrize("arguments", [["--sample", "0"], ["--sample", "-1"]])
def test_impossible_sample_is_an_error(study, arguments):
    assert "is no positive number" in study.cli("reproduce", *arguments, check=2).stderr


def test_kept_scratch_is_a_project_of_its_own(study, tmp_path):
    result = study.cli("reproduce", "--sample", "1", "--keep", "--scratch", str(tmp_path))
    folder = Path(result.stderr.splitlines()[-1].removeprefix("The scratch folder is "))
    assert len(list((folder / "workspace").iterdir())) == 1
    assert (folder / "project.py").exists()
