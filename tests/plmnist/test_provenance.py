from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dying import DIE_AT

from plmnist import __version__, surroundings
from plmnist.batch import attack_folders, check_folders, train_folders
from plmnist.errors import ResultError
from plmnist.provenance import PARTS, code_of_file, fingerprint, last_failure, load_provenance, parts_of, recording

ENTRIES = {
    "schema", "part", "attempt", "outcome", "note", "started", "ended", "wall_s", "cpu_s", "peak_memory_bytes",
    "command", "settings", "code", "packages", "python", "host", "working_folder", "scheduler", "session", "container",
    "machine", "copied_from", "inputs", "outputs",
}  # fmt: skip


class Quiet:
    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}
        self.summaries: dict[str, str] = {}

    def started(self, folder: str) -> None: ...

    def done(self, folder: str, summary: str) -> None:
        self.summaries[folder] = summary

    def failed(self, folder: str, error: Exception) -> None:
        self.failures[folder] = error


@pytest.fixture
def make_folder(tmp_path, make_mapping):
    def make(name: str = "a", **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(make_mapping(**changes)))
        return folder

    return make


def train(*folders: Path, **options: object) -> Quiet:
    listener = Quiet()
    train_folders(map(str, folders), listener, config_name="config.json", **options)
    return listener


def attack(*folders: Path, **options: object) -> Quiet:
    listener = Quiet()
    attack_folders(map(str, folders), listener, config_name="config.json", **options)
    return listener


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "provenance").glob("*"))


def test_each_part_tells_how_its_files_were_made(make_folder):
    folder = make_folder()
    train(folder)
    attack(folder, attacks=["fgsm", "pgd", "noise"], n_images=20)
    check_folders([str(folder)], Quiet())
    for part in ("train", "fgsm", "pgd", "noise", "checks"):
        record = load_provenance(folder, part)
        assert set(record) == ENTRIES
        assert record["outputs"] == hashes(folder, PARTS[part])
        assert record["started"] <= record["ended"]
        assert record["machine"]["cpu_capability"]
        assert record["code"]["commit"] is None or len(record["code"]["commit"]) == 40
        assert record["packages"]["torch"].startswith("2.")
        assert record["inputs"]["data_sha256"]
        if part != "train":
            model = load_provenance(folder, "train")["outputs"]["model.safetensors"]
            assert record["inputs"]["model_sha256"] == model
    assert parts_of(folder) == ["train", "fgsm", "pgd", "noise", "checks"]


def test_the_driver_of_a_gpu_is_told_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "_DRIVER", tmp_path / "version")
    assert surroundings._gpu_driver() is None
    told = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.82.07  Wed Aug 27 20:10:09 UTC 2025"
    (tmp_path / "version").write_text(f"{told}\nGCC version:  gcc version 12.2.0\n")
    assert surroundings._gpu_driver() == told
    assert "gpu_driver" in surroundings.machine_facts(True)


def test_a_variable_that_the_computation_sets_is_told_also_if_an_earlier_record_lacks_it(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert "CUBLAS_WORKSPACE_CONFIG" not in surroundings.machine_facts(True)["variables"]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert surroundings.machine_facts(True)["variables"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_each_of_several_attacks_has_a_record_also_where_a_later_one_fails(make_folder, monkeypatch):
    from plmnist.perturbations import ATTACKS, Noise

    class Broken(Noise):
        def fill(self, *arguments: object, **options: object) -> int:
            raise ZeroDivisionError("planted")

    folder = make_folder()
    train(folder)
    monkeypatch.setitem(ATTACKS, "noise", Broken)
    listener = attack(folder, attacks=["fgsm", "noise", "pgd"], n_images=20)
    assert "planted" in str(listener.failures[str(folder)])
    assert load_provenance(folder, "fgsm")["outcome"] == "completed"
    (failed,) = [name for name in names(folder) if name.startswith("noise")]
    assert "planted" in json.loads((folder / "provenance" / failed).read_bytes())["note"]
    assert parts_of(folder) == ["train", "fgsm"]
    monkeypatch.undo()
    assert not attack(folder, attacks=["fgsm", "noise", "pgd"], n_images=20).failures
    assert parts_of(folder) == ["train", "fgsm", "pgd", "noise"]


def test_a_finished_folder_gets_no_new_record(make_folder):
    folder = make_folder()
    train(folder)
    before = (folder / "provenance/train.json").read_bytes()
    train(folder)
    assert (folder / "provenance/train.json").read_bytes() == before
    assert names(folder) == ["train.json"]


WRITE_AND_DIE = f"""{DIE_AT}
import json, sys
from pathlib import Path
from plmnist import results
from plmnist.provenance import Recorder

folder, source, part = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
die_at(int(sys.argv[4]), "fsync", "replace", "unlink", "rename", "mkdir")

class Quiet:
    started = done = lambda *_: None

recorder = Recorder(part, Quiet())
recorder.started(folder)
write, read = recorder.writer(folder, "a note"), lambda name: (source / name).read_bytes()
if part == "train":
    files = results.TrainFiles(*map(read, ("model.safetensors", "history.csv", "train.json")))
    results.save_training(Path(folder), files, write=write)
elif part == "fgsm":
    files = dict(zip(("record", "examples", "figure"), map(read, ("fgsm.json", "fgsm_examples.npz", "fgsm.png"))))
    results.save_attack(Path(folder), **files, write=write)
else:
    record, outcomes = read(part + ".json"), read(part + "_outcomes.npz")
    results.save_attack(Path(folder), part, record=record, outcomes=outcomes, write=write)
recorder.done(folder, "a note")
"""


@pytest.mark.parametrize("part", ["train", "fgsm", "noise"])
@pytest.mark.parametrize("has_older", [False, True], ids=["new", "again"])
def test_killed_between_any_two_writes_no_record_is_without_its_provenance(make_folder, tmp_path, part, has_older):
    source, older = make_folder("source"), make_folder("older", **({"seed": 2} if part == "train" else {}))
    for folder, n_images in ((source, 20), (older, 30)):
        train(folder)
        attack(folder, attacks=["fgsm", "noise"], n_images=n_images)
    files = PARTS[part]
    record = "train.json" if part == "train" else f"{part}.json"
    fates = set()
    for step in range(1, 40):
        folder = tmp_path / f"killed_at_{step}"
        shutil.copytree(older, folder)
        shutil.copy(source / "config.json", folder)
        if not has_older:
            for name in (*files, f"provenance/{part}.json"):
                (folder / name).unlink()
        before = attempts(folder, part)
        command = [sys.executable, "-c", WRITE_AND_DIE, str(folder), str(source), part]
        killed = subprocess.run([*command, str(step)], capture_output=True, text=True, timeout=60)
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        # What an attempt is called once another one has followed it.
        outcome = "completed" if (folder / record).exists() else "failed"
        told = before | dict.fromkeys(attempts(folder, part).keys() - before.keys(), outcome)
        fates.add((outcome, len(told) - len(before)))
        if (folder / record).exists():
            assert load_provenance(folder, part)["outputs"] == hashes(folder, files)
        subprocess.run([*command, "0"], check=True, capture_output=True, timeout=60)
        assert load_provenance(folder, part)["outputs"] == hashes(folder, files) == hashes(source, files)
        assert not list(folder.rglob("*.tmp"))
        assert attempts(folder, part) == told | {load_provenance(folder, part)["attempt"]: "completed"}
    # Killed before its provenance was there, before its record was, and after it.
    assert fates >= {("failed", 0), ("failed", 1)}
    assert {outcome for outcome, _ in fates} == {"completed", "failed"}
    assert step >= 6


def attempts(folder: Path, part: str) -> dict[str, str]:
    """Return the outcome of each attempt at a part that is told of."""
    records = [json.loads(path.read_bytes()) for path in (folder / "provenance").glob(f"{part}*.json")]
    return {record["attempt"]: record["outcome"] for record in records}


def hashes(folder: Path, files: tuple[str, ...]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}


def test_an_earlier_attempt_is_kept_under_its_id(make_folder):
    folder = make_folder()
    train(folder)
    first = load_provenance(folder, "train")
    train(folder, force=True)
    kept = json.loads((folder / f"provenance/train-{first['attempt']}.json").read_bytes())
    assert kept == first
    second = load_provenance(folder, "train")
    assert second["attempt"] != first["attempt"]
    assert second["outputs"] == first["outputs"]


def test_an_earlier_attempt_is_kept_where_another_process_takes_a_leftover_away(make_folder):
    folder = make_folder()
    train(folder)
    first = load_provenance(folder, "train")["attempt"]
    # Listed, and not there any more when it is read.
    (folder / f".train.json.{os.uname().nodename}.{os.getpid()}.tmp").symlink_to("gone")
    train(folder, force=True)
    assert f"train-{first}.json" in names(folder)


def test_a_failure_is_kept_beside_the_record_of_the_present_files(make_folder):
    folder = make_folder()
    train(folder)
    present = (folder / "provenance/train.json").read_bytes()
    (folder / "config.json").write_text("{}")
    assert train(folder).failures
    assert (folder / "provenance/train.json").read_bytes() == present
    (other,) = [name for name in names(folder) if name != "train.json"]
    failed = json.loads((folder / "provenance" / other).read_bytes())
    assert failed["outcome"] == "failed"
    assert "missing" in failed["note"]
    assert failed["outputs"] == {}
    assert last_failure(folder, "train") == failed["note"]
    assert last_failure(folder, "fgsm") is None


def test_a_failure_that_was_made_good_is_the_last_no_more(make_folder):
    folder = make_folder()
    mapping = (folder / "config.json").read_text()
    (folder / "config.json").write_text("{}")
    assert train(folder).failures
    (folder / "provenance/train-damaged.json").write_text("[")
    assert "missing" in last_failure(folder, "train")
    (folder / "config.json").write_text(mapping)
    train(folder)
    assert last_failure(folder, "train") is None


def test_a_copy_names_its_origin_and_the_machine_that_computed(make_folder):
    first, second = make_folder("a"), make_folder("b", fgsm_epsilon=0.2)
    train(first)
    train(second)
    origin, copy = load_provenance(first, "train"), load_provenance(second, "train")
    assert copy["copied_from"] == {"folder": "a", "attempt": origin["attempt"]}
    assert copy["machine"] == origin["machine"]
    assert fingerprint(first, "train") == fingerprint(second, "train") is not None


def test_other_instructions_are_another_fingerprint(make_folder):
    folder = make_folder()
    train(folder)
    attack(folder)
    before = fingerprint(folder, "fgsm")
    path = folder / "provenance/train.json"
    record = json.loads(path.read_bytes())
    record["machine"]["cpu_capability"] = "AVX2" if record["machine"]["cpu_capability"] != "AVX2" else "AVX512"
    path.write_text(json.dumps(record))
    assert code_of_file(folder, "model.safetensors") == code_of_file(folder, "fgsm_examples.npz") is not None
    # The attack rests on the training.
    assert fingerprint(folder, "fgsm") not in (None, before)
    record["code"]["source_sha256"] = "0123456789abcdef"
    path.write_text(json.dumps(record))
    assert code_of_file(folder, "model.safetensors") == f"plmnist {__version__}, sources 01234567"
    assert code_of_file(folder, "fgsm.json") not in (None, code_of_file(folder, "train.json"))
    path.unlink()
    assert fingerprint(folder, "fgsm") is None
    assert code_of_file(folder, "train.json") is code_of_file(folder, "figure.png") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is another device where there is a GPU")
def test_fingerprint_is_of_the_device_that_computed_whatever_it_was_asked_by(make_folder):
    asked, automatic = make_folder("a"), make_folder("b", seed=2)
    for folder, device in ((asked, "cpu"), (automatic, "auto")):
        train(folder, device=device)
        attack(folder, device=device)
    for part in ("train", "fgsm"):
        assert load_provenance(automatic, part)["settings"]["device"] == "auto"
        assert fingerprint(asked, part) == fingerprint(automatic, part) is not None
    path = automatic / "provenance/train.json"
    record = json.loads(path.read_bytes())
    record["machine"]["device"] = "NVIDIA H200"
    path.write_text(json.dumps(record))
    assert fingerprint(asked, "train") != fingerprint(automatic, "train")


def test_a_copy_has_the_settings_of_its_origin(make_folder):
    first, second, third = make_folder("a"), make_folder("b", fgsm_epsilon=0.2), make_folder("c", fgsm_epsilon=0.3)
    train(first)
    train(second, engine="stacked")
    assert load_provenance(second, "train")["settings"]["engine"] == "tensor"
    for folder in (first, second):
        (folder / "provenance/train.json").unlink()
    train(third)
    assert load_provenance(third, "train")["settings"] is None
    assert fingerprint(third, "train") is None


def test_what_is_made_of_many_results_tells_from_which_and_with_what_code(tmp_path):
    code, folder = tmp_path / "src", tmp_path / "analysis"
    code.mkdir()
    folder.mkdir()
    (code / "table.py").write_text("1")

    def make(content: str, *, fail: bool = False) -> None:
        with recording(folder, "table", code=code, packages=["pytest", "no-such-package"]) as making:
            if not content:
                return
            making.inputs["results_sha256"] = {"job": "0" * 64}
            if fail:
                raise ZeroDivisionError("planted")
            (folder / "table.txt").write_text(content)
            making.outputs = ["table.txt"]

    make("one")
    first = load_provenance(folder, "table")
    assert set(first) == ENTRIES
    assert first["outputs"] == {"table.txt": hashlib.sha256(b"one").hexdigest()}
    assert first["inputs"] == {"results_sha256": {"job": "0" * 64}}
    assert first["packages"]["pytest"] == pytest.__version__
    assert "no-such-package" not in first["packages"]
    make("")
    assert load_provenance(folder, "table") == first
    with pytest.raises(ZeroDivisionError):
        make("two", fail=True)
    assert load_provenance(folder, "table") == first
    (failed,) = [name for name in names(folder) if name != "table.json"]
    assert json.loads((folder / "provenance" / failed).read_bytes())["note"] == "ZeroDivisionError: planted"
    (code / "table.py").write_text("2")
    make("two")
    second = load_provenance(folder, "table")
    assert second["code"]["study_sha256"] != first["code"]["study_sha256"]
    assert f"table-{first['attempt']}.json" in names(folder)


def test_scheduler_session_and_container_come_from_the_environment(make_folder, monkeypatch):
    for name, value in {
        "SLURM_JOB_ID": "4711",
        "SLURM_ARRAY_TASK_ID": "3",
        "POINTILLIST_SESSION": "s-1",
        "CONTAINER_IMAGE": "study:1",
        "CONTAINER_DIGEST": "sha256:" + "0" * 64,
    }.items():
        monkeypatch.setenv(name, value)
    surroundings.process_facts.cache_clear()
    folder = make_folder()
    train(folder)
    record = load_provenance(folder, "train")
    surroundings.process_facts.cache_clear()
    assert record["scheduler"] == {"SLURM_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "3"}
    assert record["session"] == "s-1"
    assert record["container"] == {"image": "study:1", "digest": "sha256:" + "0" * 64}


def test_the_command_names_the_folder_at_hand_only(make_folder, tmp_path):
    folders = [make_folder("a"), make_folder("b", seed=2)]
    command = [sys.executable, "-m", "plmnist", "train", *map(str, folders)]
    subprocess.run(command, check=True, capture_output=True)
    for folder in folders:
        assert load_provenance(folder, "train")["command"][-2:] == ["train", str(folder)]


def test_an_attempt_whose_record_could_not_be_written_stays_failed(make_folder, monkeypatch):
    folder = make_folder()
    train(folder)
    replace = os.replace

    def full(source: str, target: str) -> None:
        if Path(target) == folder / "noise.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert attack(folder, attacks=["noise"]).failures
    monkeypatch.undo()
    ((failed, _),) = attempts(folder, "noise").items()
    assert not attack(folder, attacks=["noise"]).failures
    completed = load_provenance(folder, "noise")["attempt"]
    assert attempts(folder, "noise") == {failed: "failed", completed: "completed"}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema": "plmnist/provenance/999"}'])
def test_an_unreadable_record_is_an_error_and_is_set_aside(make_folder, content):
    folder = make_folder()
    train(folder)
    (folder / "provenance/train.json").write_bytes(content)
    with pytest.raises(ResultError, match=r"train\.json"):
        load_provenance(folder, "train")
    train(folder, force=True)
    assert load_provenance(folder, "train")["outcome"] == "completed"
    assert len(names(folder)) == 2


@pytest.mark.parametrize(
    ("built", "commit", "dirty"), [("", None, None), ("a" * 40, "a" * 40, False), ("a" * 40 + "-dirty", "a" * 40, True)]
)
def test_outside_of_a_clone_the_commit_is_that_of_the_container(tmp_path, monkeypatch, built, commit, dirty):
    monkeypatch.setenv("PLMNIST_COMMIT", built)
    assert surroundings._commit(tmp_path) == {"commit": commit, "dirty": dirty}


def test_a_clone_says_its_commit_and_whether_it_was_changed(tmp_path):
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    assert surroundings._commit(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "untracked").write_text("1")
    assert surroundings._commit(tmp_path)["dirty"] is False
    (tmp_path / "file").write_text("2")
    assert surroundings._commit(tmp_path)["dirty"] is True
