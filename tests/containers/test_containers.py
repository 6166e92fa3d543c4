"""What can be said of the recipes without an engine: they agree with each other, and the entry point does its work."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "containers"
SCRIPTS = ("base", "build", "entrypoint", "install", "run")


def enter(folder: Path, *arguments: str, check: int = 0) -> str:
    """Run the entry point in a folder, with the Python of the tests in place of the image's."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [str(HERE / "entrypoint"), *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == check, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_both_recipes_have_the_same_base_by_digest():
    bases = [re.findall(r"docker\.io/library/python@(sha256:[0-9a-f]{64})", (HERE / name).read_text())
             for name in ("Dockerfile", "study.def")]  # fmt: skip
    assert bases[0] == bases[1]
    assert len(bases[0]) == 1


def test_image_runs_as_somebody_and_its_code_is_not_theirs():
    lines = (HERE / "Dockerfile").read_text().splitlines()
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert user == "10001:10001"
    assert not [line for line in lines if line.startswith("COPY") and "--chown" in line]


def test_both_recipes_hold_the_same_files_and_they_are_let_through():
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (HERE / "Dockerfile").read_text(), re.M)
    of_docker = {word for line in copied for word in line.split()}
    section = (HERE / "study.def").read_text().split("%files")[1].split("%post")[0]
    of_apptainer = {line.split()[0] for line in section.splitlines() if line.strip()}
    assert of_docker == of_apptainer
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert of_docker == allowed
    assert all((ROOT / name).exists() for name in of_docker)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_executable_and_parse(name):
    assert os.access(HERE / name, os.X_OK)
    subprocess.run(["bash", "-n", str(HERE / name)], check=True)


def test_no_recipe_names_an_index():
    for path in [*(path for path in HERE.iterdir() if path.suffix != ".md"), ROOT / ".dockerignore"]:
        assert not re.search(r"https?://", path.read_text()), path


def test_an_empty_folder_becomes_a_study_and_a_study_stays_as_it_is(tmp_path):
    assert "There is no option --datset" in enter(tmp_path, "study", "--datset", "mnist", check=2)
    assert (tmp_path / "project.py").read_bytes() == (ROOT / "project/project.py").read_bytes()
    assert not (tmp_path / "workspace").exists()
    init = tmp_path / "init.py"
    text = init.read_text().replace("num_epochs=[5, 20]", "num_epochs=1").replace("seed=[1, 2, 3]", "seed=1")
    init.write_text(text)
    enter(tmp_path, "study", "--parallel", "2")
    assert init.read_text() == text
    n = len(list((tmp_path / "workspace").iterdir()))
    assert n >= 3
    assert f"{n} jobs" in enter(tmp_path, "status")
    assert f"{n} folders verified, no problems" in enter(tmp_path, "bash", "-c", "plmnist verify workspace/*")


def test_a_study_is_made_as_the_options_say(tmp_path):
    """With a project.py that has nothing to run, so that only the jobs are made."""
    enter(tmp_path, "python", "-c", "")
    (tmp_path / "project.py").write_text("")
    assert "18 new jobs" in enter(tmp_path, "study", "--dataset", "mnist")
    assert "6 new jobs, 18 were there" in enter(tmp_path, "study", "--dataset", "mnist", "--adversarial")


def test_a_folder_that_can_not_be_written_is_said(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root can write everywhere")
    tmp_path.chmod(0o555)
    assert "can't be written" in enter(tmp_path, check=1)


def test_build_refuses_an_unknown_variant():
    result = subprocess.run([str(HERE / "build"), "tpu"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "cpu or gpu" in result.stderr


def test_every_argument_of_the_definition_has_a_value():
    """Apptainer passes over an argument without one, and then refuses the place where it is used."""
    definition = (HERE / "study.def").read_text()
    section = definition.split("%arguments")[1].split("%files")[0]
    given = dict(line.split("=", 1) for line in map(str.strip, section.splitlines()) if line and line[0] != "#")
    assert set(re.findall(r"{{ (\w+) }}", definition)) == set(given)
    assert all(given.values())


@pytest.fixture
def apptainer(tmp_path, monkeypatch):
    """Return the file in which a stand-in for Apptainer, which Debian does not have, writes its arguments."""
    program = tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$(dirname "$0")/said"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.with_name("said")


def test_apptainer_is_told_what_its_definition_asks_for(apptainer):
    environment = {**os.environ, "ENGINE": "apptainer"}
    subprocess.run([HERE / "build", "gpu"], env=environment, check=True, capture_output=True)
    said = apptainer.read_text().split()
    arguments = dict(word.split("=", 1) for before, word in itertools.pairwise(said) if before == "--build-arg")
    assert arguments["variant"] == "gpu"
    assert arguments["torch_index"] == "none"
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?|unknown", arguments["commit"])
    assert said[-1] == "containers/study.def"
    assert said[-2].endswith("gpu.sif")


def test_apptainer_gets_the_folder_the_data_and_the_digest_of_the_image(apptainer, tmp_path):
    image = tmp_path / "study.sif"
    image.write_bytes(b"an image")
    environment = {**os.environ, "PLMNIST_DATA_DIR": "/my/data", "RUN_OPTIONS": "--no-home"}
    subprocess.run([HERE / "run", image, "status", "--json"], env=environment, cwd=tmp_path, check=True)
    said = apptainer.read_text().splitlines()
    assert f"CONTAINER_DIGEST=sha256:{hashlib.sha256(b'an image').hexdigest()}" in said
    assert {f"{tmp_path}:/study", "/my/data:/data:ro", "PLMNIST_DATA_DIR=/data", "--no-home"} <= set(said)
    assert said[-3:] == [str(image), "status", "--json"]
