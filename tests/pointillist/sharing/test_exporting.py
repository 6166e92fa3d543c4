from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

BODY = """
@Project.post.isfile("value.txt")
@Project.operation
def compute(job):
    \"\"\"Square it.\"\"\"
    if job.sp.a == 3:
        raise ValueError("three is too much")
    with open(job.fn("value.txt"), "w") as file:
        file.write(str(job.sp.a ** 2))

def files(project):
    return {"more/about.txt": b"more"}

def entities(project):
    return [
        {"@id": "more/about.txt", "description": "More about it."},
        {"@id": "https://example.org/numbers/", "@type": "Dataset", "name": "Numbers", "license": "CC0",
         "description": "All of them.", "datePublished": "2001-01-01"},
    ]

Project.archived(about={"name": "Squares", "license": "https://example.org/licence"}, files=files, entities=entities,
                 leave_out=["secret*"])
"""
CITATION = """
cff-version: 1.2.0
message: Cite it.
title: Squares of small numbers
authors:
  - family-names: Noether
    given-names: Emmy
    orcid: https://orcid.org/0000-0002-1825-0097
    affiliation: Göttingen
  - name: The calculators
    website: https://example.org/calculators
license: CC-BY-4.0
date-released: 2026-01-02
repository-code: https://example.org/squares
keywords: [squares, numbers]
"""
PUBLISHER = '"publisher": {"@type": "Organization", "name": "A journal", "url": "https://example.org/journal"}'


@pytest.fixture
def study(make_study):
    study = make_study(BODY, *({"a": a} for a in (1, 2, 3)))
    study.cli("run", check=1)
    (study.path / "secret.txt").write_text("secret")
    (study.path / "__pycache__").mkdir(exist_ok=True)
    return study


@pytest.fixture
def unpacked(study, tmp_path) -> Path:
    study.cli("export", "../study.zip")
    elsewhere = tmp_path / "far" / "away"
    command = [sys.executable, "-m", "pointillist", "import", str(tmp_path / "study.zip"), str(elsewhere)]
    assert "3 jobs" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return elsewhere


def graph(folder: Path) -> dict[str, dict]:
    return {e["@id"]: e for e in json.loads((folder / "ro-crate-metadata.json").read_bytes())["@graph"]}


def call(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(folder / "project.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


def test_what_is_complete_here_is_complete_elsewhere_and_nothing_runs_again(study, unpacked):
    finished = [folder.parent for folder in unpacked.glob("workspace/*/value.txt")]
    assert len(finished) == 2
    before = {path: path.stat().st_mtime_ns for folder in finished for path in folder.rglob("*")}
    jobs = [folder.name for folder in finished]
    command = [sys.executable, "project.py", "run", "-j", *jobs]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=unpacked)
    assert "Nothing to do: 2 of 2 tasks are complete" in result.stderr + result.stdout
    assert {path: path.stat().st_mtime_ns for folder in finished for path in folder.rglob("*")} == before
    status = json.loads(call(unpacked, "status", "--json"))
    assert status["operations"][0]["completed"] == 2


def test_history_goes_along_and_what_is_private_or_of_the_moment_stays(study, unpacked):
    assert "three is too much" in call(unpacked, "logs", "-o", "compute")
    names = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*")}
    assert not [n for n in names if "secret" in n or "__pycache__" in n]
    assert {p.name for p in (unpacked / ".pointillist").iterdir()} == {"journal", "logs"}


def test_same_study_gives_same_bytes_also_from_elsewhere(study, unpacked, tmp_path):
    first = (tmp_path / "study.zip").read_bytes()
    study.cli("export", "../again.zip")
    assert (tmp_path / "again.zip").read_bytes() == first
    call(unpacked, "export", str(tmp_path / "third.zip"))
    assert (tmp_path / "third.zip").read_bytes() == first


def test_metadata_have_an_action_for_every_attempt(study, unpacked):
    entities = graph(unpacked)
    actions = [e for e in entities.values() if e["@type"] == "CreateAction" and e["@id"] != "#run"]
    assert len(actions) == 3
    by_status = {}
    for action in actions:
        by_status.setdefault(action["actionStatus"].rsplit("/", 1)[-1], []).append(action)
        assert action["instrument"] == {"@id": "#operation/compute"}
        assert action["object"]["@id"].endswith("/signac_statepoint.json")
        assert action["startTime"] <= action["endTime"]
    (failed,) = by_status["FailedActionStatus"]
    assert "three is too much" in failed["error"]
    assert "result" not in failed
    for completed in by_status["CompletedActionStatus"]:
        assert completed["result"]["@id"].endswith("/value.txt")
        assert (unpacked / completed["result"]["@id"]).is_file()
    assert entities["#operation/compute"]["description"] == "Square it."
    assert entities["./"]["name"] == "Squares"
    assert entities["more/about.txt"]["description"] == "More about it."
    assert (unpacked / "more/about.txt").read_bytes() == b"more"


def test_metadata_tie_every_attempt_to_its_step_and_all_to_the_run_of_the_project_file(study, unpacked):
    entities = graph(unpacked)
    workflow = entities[entities["./"]["mainEntity"]["@id"]]
    assert workflow["@id"] == "project.py"
    assert {"ComputationalWorkflow", "HowTo"} <= set(workflow["@type"])
    assert workflow["hasPart"] == {"@id": "#operation/compute"}
    step = entities[workflow["step"]["@id"]]
    assert step["workExample"] == {"@id": "#operation/compute"}
    controls = [e for e in entities.values() if e["@type"] == "ControlAction"]
    assert len({control["object"]["@id"] for control in controls}) == 3
    assert all(control["instrument"]["@id"] == step["@id"] for control in controls)
    run = entities["#run"]
    assert run["instrument"] == {"@id": "project.py"}
    assert sorted(one["@id"].rsplit("/")[-1] for one in run["result"]) == ["value.txt", "value.txt"]
    assert run["actionStatus"].endswith("FailedActionStatus")
    assert "1 task has failed" in run["error"]
    assert entities["#organized"]["result"] == {"@id": "#run"}
    assert len(entities["#organized"]["object"]) == 3


@pytest.mark.parametrize(("unfinished", "status"), [(False, "http://schema.org/CompletedActionStatus"), (True, None)])
def test_run_is_complete_when_all_tasks_are(make_study, tmp_path, unfinished, status):
    study = make_study(BODY, {"a": 1}, {"a": 2})
    study.cli("run")
    if unfinished:
        study.make_jobs({"a": 4})
    study.cli("export", "../a.zip")
    study.cli("import", "../a.zip", "../out")
    assert graph(tmp_path / "out")["#run"].get("actionStatus") == status


def issues(folder: Path, profile: str, severity: str) -> set[str]:
    """Return what the validator finds.

    It wants the context of RO-Crate 1.1 from the network; it gets the later one that rocrate brings, with the terms
    whose addresses have changed since as they were.
    """
    import rocrate
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    context = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes())
    for term in ("ComputationalWorkflow", "FormalParameter"):
        context["@context"][term] = f"https://bioschemas.org/{term}"

    def answer(self: object, url: str, **options: object) -> object:
        is_known = url.startswith("https://w3id.org/ro/crate/")
        return types.SimpleNamespace(
            status_code=200 if is_known else 404,
            headers={"Content-Type": "application/ld+json"},
            history=[],
            url=url,
            json=lambda: context,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpRequester, "get", answer, raising=False)
        settings = models.ValidationSettings(
            rocrate_uri=str(folder),
            profile_identifier=profile,
            requirement_severity=getattr(models.Severity, severity),
            offline=True,
        )
        return {f"{i.check.identifier}: {i.message}" for i in services.validate(settings).get_issues()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_metadata_pass_the_required_checks_of_the_profile(unpacked):
    assert issues(unpacked, "provenance-run-crate-0.5", "REQUIRED") == set()
    path = unpacked / "ro-crate-metadata.json"
    crate = json.loads(path.read_bytes())
    for entity in crate["@graph"]:
        if entity["@type"] == "ControlAction":
            del entity["instrument"]
    path.write_text(json.dumps(crate))
    assert issues(unpacked, "provenance-run-crate-0.5", "REQUIRED") != set()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_metadata_of_a_study_that_says_who_made_it_lack_few_recommendations(make_study, tmp_path):
    study = make_study(BODY.replace("about={", f"about={{{PUBLISHER}, "), {"a": 1})
    (study.path / "CITATION.cff").write_text(CITATION)
    (study.path / "README.md").write_text("Squares")
    study.cli("run")
    assert "No author" not in study.cli("export", "../a.zip").stderr
    study.cli("import", "../a.zip", "../out")
    found = issues(tmp_path / "out", "provenance-run-crate-0.5", "RECOMMENDED")
    assert {issue.split(": ")[0] for issue in found} == {
        "process-run-crate-0.5_3.2",  # the engine has no address
        "process-run-crate-0.5_5.1",  # nor has it for an id; the project file has a path as its id
        "ro-crate-1.1_28.1",  # the data set on the web can't be reached from a test
        "ro-crate-1.1_31.2",  # a citation file knows no address of an affiliation
    }


def test_citation_file_says_who_made_the_study_and_comes_before_the_declaration(study, tmp_path):
    (study.path / "CITATION.cff").write_text(CITATION)
    study.cli("export", "../a.zip")
    study.cli("import", "../a.zip", "../out")
    entities = graph(tmp_path / "out")
    whole = entities["./"]
    assert whole["name"] == "Squares of small numbers"
    assert whole["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert whole["datePublished"] == "2026-01-02"
    assert whole["keywords"] == "squares, numbers"
    person, group = sorted(
        (entities[one["@id"]] for one in whole["author"]), key=lambda one: one["@type"], reverse=True
    )
    assert (person["name"], person["@id"]) == ("Emmy Noether", "https://orcid.org/0000-0002-1825-0097")
    assert entities[person["affiliation"]["@id"]]["name"] == "Göttingen"
    assert (group["@type"], group["name"]) == ("Organization", "The calculators")
    agents = [entity["agent"] for entity in entities.values() if entity["@type"] == "CreateAction"]
    assert agents == [whole["author"]] * 4
    assert entities["project.py"]["codeRepository"] == "https://example.org/squares"
    assert "https://example.org/squares#operation/compute" in entities


@pytest.mark.parametrize(
    ("text", "said"),
    [("authors: [", "can't be read"), ("just words", "no entries"), ("authors: me", "no list of persons"),
     ("authors: [{orcid: x}]", "has no name")],
)  # fmt: skip
def test_citation_file_that_can_not_be_understood_is_an_error(study, tmp_path, text, said):
    (study.path / "CITATION.cff").write_text(text)
    error = study.cli("export", "../a.zip", check=2).stderr
    assert "CITATION.cff" in error
    assert said in error
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("author", "names"),
    [
        ("'Emmy Noether'", ["Emmy Noether"]),
        (
            "['Emmy Noether', {'name': 'Emil Artin', '@id': 'https://example.org/artin'}]",
            ["Emil Artin", "Emmy Noether"],
        ),
        ("{'@id': 'https://example.org/artin'}", None),
    ],
)
def test_authors_can_be_declared_in_the_project_file(make_study, tmp_path, author, names):
    study = make_study(BODY.replace("about={", f"about={{'author': {author}, "), {"a": 1})
    if names is None:
        assert "has no name" in study.cli("export", "../a.zip", check=2).stderr
        return
    study.cli("export", "../a.zip")
    study.cli("import", "../a.zip", "../out")
    entities = graph(tmp_path / "out")
    found = entities["./"]["author"]
    found = found if isinstance(found, list) else [found]
    assert sorted(entities[one["@id"]]["name"] for one in found) == names


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_study_of_which_nothing_was_run_is_a_workflow_without_runs(make_study, tmp_path):
    study = make_study(BODY, {"a": 1})
    assert "No author is named" in study.cli("export", "../a.zip").stderr
    study.cli("import", "../a.zip", "../out")
    assert issues(tmp_path / "out", "workflow-ro-crate-1.0", "REQUIRED") == set()
    assert "wfrun" not in (tmp_path / "out/ro-crate-metadata.json").read_text()


def test_damaged_job_stops_an_export_until_it_is_forced(make_study, tmp_path):
    verify = """
import hashlib
def verify(folder):
    for seal in folder.glob("*.sha256"):
        if hashlib.sha256((folder / seal.stem).read_bytes()).hexdigest() != seal.read_text():
            yield f"{seal.stem} is not what was made"
Project.reproducible(verify=verify)
"""
    study = make_study(BODY + verify, {"a": 1}, {"a": 2})
    study.cli("run")
    for value in study.path.glob("workspace/*/value.txt"):
        (value.parent / "value.txt.sha256").write_text(hashlib.sha256(value.read_bytes()).hexdigest())
    study.cli("export", "../whole.zip")
    content = bytearray(value.read_bytes())
    content[0] ^= 1
    value.write_bytes(content)
    error = study.cli("export", "../a.zip", check=1).stderr
    assert f"{value.parent.name}: value.txt is not what was made" in error
    assert "--force" in error
    assert not (tmp_path / "a.zip").exists()
    assert "value.txt is not what was made" in study.cli("export", "../a.zip", "--force").stderr
    assert (tmp_path / "a.zip").exists()


def test_running_tasks_stop_an_export(make_study, tmp_path):
    study = make_study(
        "import time\n@Project.post.isfile('x')\n@Project.operation\ndef slow(job):\n    time.sleep(60)\n", {"a": 1}
    )
    process = study.start("run")
    try:
        for _ in range(200):
            if json.loads(study.cli("status", "--json").stdout)["operations"][0]["running"]:
                break
        assert "1 task is running" in study.cli("export", "../a.zip", check=2).stderr
        assert not (tmp_path / "a.zip").exists()
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("library", ["rocrate", "yaml"])
def test_missing_library_is_said_with_the_command_that_installs_it(study, tmp_path, library):
    (tmp_path / "block").mkdir()
    (tmp_path / f"block/{library}.py").write_text("raise ImportError('not there')")
    import os

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "block")}
    result = study.cli("export", "../a.zip", check=2, env=environment)
    assert "pip install 'pointillist[export]'" in result.stderr
    assert not (tmp_path / "a.zip").exists()


def test_wrong_suffix_and_an_archive_that_is_there_are_errors(study, tmp_path):
    assert ".tar.gz" in study.cli("export", "../a.7z", check=1).stderr
    (tmp_path / "a.zip").write_text("mine")
    assert "there already" in study.cli("export", "../a.zip", check=1).stderr
    assert (tmp_path / "a.zip").read_text() == "mine"


def test_archive_within_the_project_does_not_hold_itself(study):
    study.cli("export", "a.zip")
    study.cli("export", "b.tar.gz")
    assert "a.zip" in study.cli("import", "b.tar.gz", "out").stdout or (study.path / "out/a.zip").exists()
    assert not (study.path / "out/b.tar.gz").exists()
