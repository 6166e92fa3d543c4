from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dying import DIE_AT

from plmnist import results
from plmnist.attacks import attack_fgsm
from plmnist.errors import ResultError
from plmnist.perturbations import FastGradientSign
from plmnist.results import TrainFiles
from plmnist.results.files import json_bytes
from plmnist.training import train


@pytest.fixture(scope="module")
def trained(digits, make_config):
    return train(make_config(), data=digits)


@pytest.fixture
def folder(tmp_path, trained) -> Path:
    results.save_training(tmp_path, TrainFiles.of(trained))
    return tmp_path


def attack_files(trained, result, *, examples: bytes = b"e", figure: bytes = b"f") -> dict[str, bytes]:
    """Return what `save_attack` writes for an attack on a network."""
    record = results.attack_record(
        trained.config,
        result,
        model_sha256=json.loads(TrainFiles.of(trained).record)["model_sha256"],
        attack=FastGradientSign(),
        n_all=359,
        examples=examples,
        figure=figure,
    )
    return {"examples": examples, "figure": figure, "record": record}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_network_comes_back_bit_for_bit(folder, trained, digits):
    network = results.load_network(folder)
    ours, theirs = trained.network.state_dict(), network.state_dict()
    assert {key: value.numpy().tobytes() for key, value in ours.items()} == {
        key: value.numpy().tobytes() for key, value in theirs.items()
    }
    assert not network.training
    assert network.dropout_prob == trained.config.dropout_prob
    assert torch.equal(network(digits.test.pixels()), trained.network(digits.test.pixels()))


def test_model_file_is_plain_safetensors_with_the_configuration(folder, trained):
    from safetensors import safe_open

    with safe_open(folder / results.MODEL, "pt") as stream:
        assert "normalisation.mean" in stream.keys()  # noqa: SIM118 - not a dictionary
        about = json.loads(stream.metadata()["plmnist"])
    assert about["config"] == trained.config.training_mapping()


def test_record_holds_counts_from_which_the_rates_follow(folder, trained):
    record = results.load_train(folder)
    for split in ("train", "val", "test"):
        assert record[f"{split}_acc"] == record[f"{split}_correct"] / record[f"n_{split}"]
    assert record["test_correct"] == trained.test.correct
    assert record["config"] == trained.config.training_mapping()
    assert "fgsm_epsilon" not in record["config"]


def test_history_has_one_row_per_epoch(folder, trained):
    lines = (folder / results.HISTORY).read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_acc,val_loss,val_acc"
    assert len(lines) == 1 + trained.config.num_epochs
    last = [float(value) for value in lines[-1].split(",")]
    record = results.load_train(folder)
    assert last[1:] == [record["train_loss"], record["train_acc"], record["val_loss"], record["val_acc"]]


def test_files_say_nothing_about_time_place_or_machine(folder):
    for content in contents(folder).values():
        for word in (str(folder), os.uname().nodename, os.path.expanduser("~"), "2026", "plmnist/"):
            assert word.encode() not in content


def test_bytes_are_the_same_in_another_process(folder, trained):
    program = (
        "import sys, json; from pathlib import Path; from plmnist.config import Configuration\n"
        "from plmnist import results; from plmnist.training import train\n"
        "config = Configuration.from_mapping(json.loads(sys.argv[1]))\n"
        "results.save_training(Path(sys.argv[2]), results.TrainFiles.of(train(config)))"
    )
    other = folder / "other"
    other.mkdir()
    arguments = [json.dumps(trained.config.to_mapping()), str(other)]
    subprocess.run([sys.executable, "-c", program, *arguments], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    for name in (results.MODEL, results.HISTORY, results.TRAIN_RECORD):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_complete_training_is_recognised(folder, trained):
    assert results.complete_training(folder, trained.config) == TrainFiles.of(trained)
    assert results.complete_training(folder, replace(trained.config, fgsm_epsilon=0.3)) is not None
    assert results.complete_training(folder, replace(trained.config, seed=9)) is None
    assert results.complete_training(folder / "nowhere", trained.config) is None


@pytest.mark.parametrize("name", [results.MODEL, results.HISTORY, results.TRAIN_RECORD])
@pytest.mark.parametrize("damage", ["missing", "flipped", "truncated"])
def test_damaged_training_is_not_complete(folder, trained, name, damage):
    content = bytearray((folder / name).read_bytes())
    if damage == "missing":
        (folder / name).unlink()
    elif damage == "flipped":
        content[len(content) // 3] ^= 1
        (folder / name).write_bytes(bytes(content))
    else:
        (folder / name).write_bytes(bytes(content[:-3]))
    complete = results.complete_training(folder, trained.config)
    # A bit of the record that says neither what was trained nor what belongs to it may flip unnoticed.
    assert complete is None or (name == results.TRAIN_RECORD and damage == "flipped")


def test_flipped_bit_of_a_network_is_an_error(folder):
    path = folder / results.MODEL
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ResultError, match=r"is not the network of train\.json") as caught:
        results.load_network(folder)
    assert "plmnist train --force" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.json", None, "does not exist"),
        ("train.json", b"{", "is not valid JSON"),
        ("train.json", b"[]", "is not a record"),
        ("train.json", b'{"format": 99}', "has format 99"),
        ("train.json", b'{"format": 0}', "was made by an earlier version of plmnist"),
        ("model.safetensors", None, "cannot be read"),
    ],
)
def test_unusable_results_are_named(folder, name, content, words):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(ResultError, match=words) as caught:
        results.load_network(folder)
    assert str(folder / name) in str(caught.value)
    assert caught.value.hint


def test_finds_equal_trainings_among_neighbours(tmp_path, trained, digits, make_config):
    files = TrainFiles.of(trained)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        results.save_training(tmp_path / name, files)
    (tmp_path / "a" / results.MODEL).write_bytes(b"damaged")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / results.TRAIN_RECORD).write_text("{ broken")
    (tmp_path / "file").write_text("")
    wanted = [replace(trained.config, fgsm_epsilon=0.7), make_config(seed=99)]
    assert results.find_trained(tmp_path, wanted) == {trained.config.training_key: files}
    assert results.find_trained(tmp_path / "nowhere", wanted) == {}


def test_new_network_takes_the_record_of_an_attack_on_the_old_one_away(folder, trained, digits, make_config):
    def attack() -> None:
        results.save_attack(folder, **attack_files(trained, attack_fgsm(trained.network, digits.test, [0.05])))

    attack()
    assert results.is_attacked(folder, trained.config, [0.05])
    results.save_training(folder, TrainFiles.of(trained))
    assert results.is_attacked(folder, trained.config, [0.05])
    other = train(make_config(seed=2), data=digits)
    results.save_training(folder, TrainFiles.of(other))
    assert not (folder / results.ATTACK_RECORD).exists()


def test_attack_record_has_counts_rates_and_curve(folder, trained, digits):
    result = attack_fgsm(trained.network, digits.test, [0.05, 0.0, 0.2])
    record = json.loads(attack_files(trained, result)["record"])
    main = result.counts[0]
    assert record["epsilon"] == 0.05
    assert record["adversarial_correct"] == main.adversarial_correct
    assert record["fgsm_acc"] == main.adversarial_correct / record["n_test"]
    assert record["fgsm_acc_given_clean"] == record["adversarial_correct_given_clean"] / record["clean_correct"]
    assert [point["epsilon"] for point in record["curve"]] == [0.0, 0.05, 0.2]
    assert record["curve"][0]["adversarial_correct"] == record["clean_correct"]
    for entry, predictions in (("clean", result.clean_predictions), ("adversarial", result.predictions[0])):
        counted = [[0] * 10 for _ in range(10)]
        for true, predicted in zip(result.labels.tolist(), predictions.tolist(), strict=True):
            counted[true][predicted] += 1
        assert record[f"{entry}_confusion"] == counted
        assert sum(counted[i][i] for i in range(10)) == record[f"{entry}_correct"]


def test_rows_of_numbers_stand_on_one_line_and_nothing_else_changes():
    value = {"rows": [[1, 0], [20, 3]], "empty": [], "text": "[\n 1,\n 2]", "rates": [0.5, None], "objects": [{"a": 1}]}
    written = json_bytes(value).decode()
    assert json.loads(written) == value
    assert '"rows": [\n    [1, 0],\n    [20, 3]\n  ]' in written


def test_examples_are_read_as_they_were_packed_and_only_if_they_are_those_of_the_record(folder, trained, digits):
    result = attack_fgsm(trained.network, digits.test, [0.05, 0.2])
    files = attack_files(trained, result, examples=results.pack_examples(result, 0))
    results.save_attack(folder, **files)
    read = results.load_examples(folder)
    assert np.array_equal(read["smallest_epsilon"], result.smallest_epsilon.numpy())
    assert np.array_equal(read["adversarial"], result.examples.adversarial[0].numpy())
    assert float(read["epsilon"]) == 0.05
    path = folder / results.EXAMPLES
    path.write_bytes(files["examples"][:-1])
    with pytest.raises(ResultError, match=r"is not the file that fgsm\.json names"):
        results.load_examples(folder)
    path.unlink()
    with pytest.raises(ResultError, match="cannot be read"):
        results.load_examples(folder)


def test_packed_arrays_are_read_by_numpy_and_have_no_date():
    packed = results.pack_arrays({"a": np.arange(6).reshape(2, 3), "b": np.float64(0.5)})
    assert packed == results.pack_arrays({"a": np.arange(6).reshape(2, 3), "b": np.float64(0.5)})
    with np.load(io.BytesIO(packed)) as read:
        assert read["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert float(read["b"]) == 0.5
    assert {info.date_time for info in zipfile.ZipFile(io.BytesIO(packed)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_write_replaces_whole_files_and_leaves_no_others(tmp_path):
    path = tmp_path / "a.json"
    results.write_atomically(path, b"old")
    results.write_atomically(path, b"new")
    assert contents(tmp_path) == {"a.json": b"new"}


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    results.write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_atomically(path, b"new")
    assert contents(tmp_path) == {"a.json": b"old"}


def test_files_of_which_one_can_not_be_written_stay_as_they_were(tmp_path, monkeypatch):
    results.write_in_order(tmp_path, {"a": b"old a", "b": b"old b"})
    flush, flushed = os.fsync, []

    def full(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 2:
            raise OSError(28, "No space left on device")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_in_order(tmp_path, {"a": b"new a", "b": b"new b"})
    assert contents(tmp_path) == {"a": b"old a", "b": b"old b"}


SAVE_AND_DIE = f"""{DIE_AT}
import sys
from pathlib import Path
from plmnist import results

folder, files = Path(sys.argv[1]), Path(sys.argv[2])
die_at(int(sys.argv[3]), "fsync", "replace", "unlink")
read = lambda name: (files / name).read_bytes()
if sys.argv[4] == "train":
    results.save_training(folder, results.TrainFiles(read("model"), read("history"), read("train")))
else:
    results.save_attack(folder, examples=read("examples"), figure=read("figure"), record=read("record"))
print("survived")
"""


@pytest.mark.parametrize("part", ["train", "attack"])
def test_killed_between_any_two_writes_no_record_precedes_its_files(tmp_path, trained, digits, make_config, part):
    """SIGKILL before every flush, rename and removal; the folder holds older results, then is finished by a rerun."""
    old, new = TrainFiles.of(train(make_config(seed=5), data=digits)), TrainFiles.of(trained)
    result = attack_fgsm(trained.network, digits.test, [0.05])
    source = tmp_path / "source"
    source.mkdir()
    parts = {"model": new.model, "history": new.history, "train": new.record}
    parts |= attack_files(trained, result, examples=b"new e", figure=b"new f")
    for name, content in parts.items():
        (source / name).write_bytes(content)

    deaths = 0
    for step in range(1, 40):
        folder = tmp_path / f"after_{step}"
        folder.mkdir()
        results.save_training(folder, old if part == "train" else new)
        if part == "attack":
            results.save_attack(folder, **attack_files(trained, result))
        command = [sys.executable, "-c", SAVE_AND_DIE, str(folder), str(source)]
        child = subprocess.run([*command, str(step), part], capture_output=True, text=True)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        deaths += 1
        if part == "train":
            done = results.complete_training(folder, trained.config)
            assert done in (None, new)
            assert (results.complete_training(folder, make_config(seed=5)) is not None) or not (
                (folder / results.TRAIN_RECORD).exists() and done is None
            )
        elif (folder / results.ATTACK_RECORD).exists():
            assert results.is_attacked(folder, trained.config, [0.05])
        subprocess.run([*command, "0", part], check=True, capture_output=True)
        expected = {results.MODEL: new.model, results.HISTORY: new.history, results.TRAIN_RECORD: new.record}
        if part == "attack":
            expected |= {results.EXAMPLES: b"new e", results.FIGURE: b"new f", results.ATTACK_RECORD: parts["record"]}
        # The rerun has also removed what the killed process left half-written.
        assert contents(folder) == expected
    assert deaths >= 8


@pytest.mark.parametrize("is_reaped", [True, False])
def test_what_a_killed_process_left_half_written_is_removed(tmp_path, is_reaped):
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    leftover = tmp_path / f".file.{os.uname().nodename}.{killed.pid}.tmp"
    leftover.write_bytes(b"half")
    results.write_atomically(tmp_path / "file", b"while it is at work")
    assert leftover.exists()
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and still has its number
    if is_reaped:
        killed.wait()
    results.write_atomically(tmp_path / "file", b"whole")
    killed.wait()
    assert contents(tmp_path) == {"file": b"whole"}
