from __future__ import annotations

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
PROFILE = "process-run-crate-0.5"


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
    actions = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_metadata_pass_the_checks_of_the_profile(unpacked, monkeypatch):
    """The validator wants the context of RO-Crate 1.1 from the network; it gets the later one that rocrate brings."""
    import rocrate
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    context = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes())

    def answer(self: object, url: str, **options: object) -> object:
        is_known = url.startswith("https://w3id.org/ro/crate/")
        return types.SimpleNamespace(
            status_code=200 if is_known else 404,
            headers={"Content-Type": "application/ld+json"},
            history=[],
            url=url,
            json=lambda: context,
        )

    monkeypatch.setattr(HttpRequester, "get", answer, raising=False)

    def issues() -> list[str]:
        settings = models.ValidationSettings(
            rocrate_uri=str(unpacked),
            profile_identifier=PROFILE,
            requirement_severity=models.Severity.REQUIRED,
            offline=True,
        )
        return [f"{i.check.identifier}: {i.message}" for i in services.validate(settings).get_issues()]

    assert issues() == []
    path = unpacked / "ro-crate-metadata.json"
    crate = json.loads(path.read_bytes())
    for entity in crate["@graph"]:
        if entity["@type"] == "CreateAction":
            del entity["instrument"]
    path.write_text(json.dumps(crate))
    assert issues() != []


def test_running_tasks_stop_an_export(make_study, tmp_path):
    study = make_study(
        "import time\n@Project.post.isfile('x')\n@Project.operation\ndef slow(job):\n    time.sleep(60)\n", {"a": 1}
    )
    process = study.start("run")
    try:
        for _ in range(200):
            if json.loads(study.cli("status", "--json").stdout)["operations"][0]["running"]:
                break
        assert "are running" in study.cli("export", "../a.zip", check=2).stderr
        assert not (tmp_path / "a.zip").exists()
    finally:
        process.terminate()
        process.communicate()


def test_missing_library_is_said_with_the_command_that_installs_it(study, tmp_path):
    (tmp_path / "block").mkdir()
    (tmp_path / "block/rocrate.py").write_text("raise ImportError('no rocrate')")
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
