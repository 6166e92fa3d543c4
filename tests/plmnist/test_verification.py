from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plmnist import cli, results
from plmnist.errors import ResultError
from plmnist.provenance import PARTS, recording
from plmnist.verification import outdated, verify_folder

FILES = [name for part in ("train", "fgsm", "pgd", "checks") for name in PARTS[part]]


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_mapping) -> Path:
    """A folder with every kind of file, and one of another seed beside it."""
    root = tmp_path_factory.mktemp("made")
    folders = []
    for name, seed in (("a", 1), ("b", 2)):
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(make_mapping(seed=seed, num_epochs=1)))
        folders.append(str(root / name))
    assert cli.main(["train", *folders]) == 0
    assert cli.main(["attack", *folders]) == 0
    assert cli.main(["attack", *folders, "--attack", "pgd", "--steps", "2"]) == 0
    assert cli.main(["attack", *folders, "--legacy-clamp"]) == 0
    cli.main(["check", *folders])
    return root


@pytest.fixture
def root(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def flip_bit(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def edit(path: Path, change: Callable[[dict], None]) -> None:
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record, indent=2) + "\n")


def _move(row: list, here: int, there: int) -> None:
    """Count one image of a class as another."""
    row[here] -= 1
    row[there] += 1


def _swap(matrix: list[list[int]]) -> None:
    """Let one image of a class that was taken for 1 be of another class that was."""
    matrix[3][1] += 1
    matrix[5][1] -= 1


def test_a_sound_folder_has_no_problems(root):
    for name in ("a", "b"):
        assert verify_folder(root / name, needed=("fgsm", "pgd")) == []


def test_a_record_of_an_earlier_version_is_said_to_be_that_and_not_damaged(root):
    folder = root / "a"
    assert outdated(folder, "checks.json") is None
    edit(folder / "checks.json", lambda record: record.update(format=1))
    made = hashlib.sha256((folder / "checks.json").read_bytes()).hexdigest()
    edit(folder / "provenance/checks.json", lambda record: record["outputs"].update({"checks.json": made}))
    sentence = (
        "checks.json was made by an earlier version of plmnist: it has format 1, this one makes 3 "
        "(Remove it and run again.)"
    )
    assert verify_folder(folder) == [sentence]
    assert outdated(folder, "checks.json") == sentence
    assert outdated(folder, "history.csv") is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "of another network"])
def test_damage_to_any_file_is_named(root, name, damage):
    path = root / "a" / name
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "flipped":
        flip_bit(path, len(path.read_bytes()) // 2)
    else:
        shutil.copy(root / "b" / name, path)
    problems = verify_folder(root / "a")
    assert any(problem.startswith(name) or f" {name}" in problem for problem in problems), problems


def test_every_bit_of_a_weight_counts(root):
    flip_bit(root / "a" / results.MODEL, -1)
    problems = verify_folder(root / "a")
    assert any(problem.startswith("model.safetensors is not the file that train.json names") for problem in problems)
    assert any(problem.startswith("fgsm.json is of another network") for problem in problems)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("train.json", lambda r: r.update(test_correct=r["test_correct"] + 1), "test_acc is"),
        ("train.json", lambda r: r.update(test_acc=0.99), "test_acc is 0.99, but the counts are"),
        ("train.json", lambda r: r.update(val_loss=0.01), "history.csv ends with"),
        ("train.json", lambda r: r.pop("n_val"), "train.json lacks n_val"),
        (
            "fgsm.json",
            lambda r: r.update(subset={"spread": 7, "of": 359}),
            "subset is {'spread': 7, 'of': 359}, and n_test",
        ),
        ("train.json", lambda r: r.update(n_test="many"), "n_test is 'many'"),
        ("train.json", lambda r: r["config"].update(seed=7), "of another configuration"),
        ("train.json", lambda r: r["data_sha256"].clear(), "made from other data"),
        ("fgsm.json", lambda r: r.update(fgsm_acc=0.5), "fgsm_acc is 0.5"),
        ("fgsm.json", lambda r: r["curve"][2].update(fgsm_acc_given_clean=0.0), "at epsilon 0.02 is 0.0"),
        ("fgsm.json", lambda r: r["curve"].clear(), "its curve lacks its own epsilon"),
        ("fgsm.json", lambda r: r.update(clean_correct=0, clean_acc=0.0), "images that are classified correctly"),
        ("fgsm.json", lambda r: r.pop("examples_sha256"), "lacks examples_sha256"),
        ("fgsm.json", lambda r: _move(r["clean_confusion"][3], 3, 5), "clean_confusion has 359 images"),
        ("pgd.json", lambda r: r["adversarial_confusion"].insert(0, None), "no matrix of counts"),
        ("pgd.json", lambda r: _swap(r["adversarial_confusion"]), "are of other images"),
        ("fgsm_legacy.json", lambda r: r.update(fgsm_legacy_acc=0.0), "fgsm_legacy_acc"),
        ("provenance/train.json", lambda r: r.update(schema="other"), "is not of the schema"),
        ("provenance/fgsm.json", lambda r: r["inputs"].update(model_sha256="0"), "names another network"),
        ("provenance/fgsm.json", lambda r: r["outputs"].pop("fgsm.png"), "does not name fgsm.png"),
    ],
)
def test_an_edited_entry_is_named(root, name, change, sentence):
    edit(root / "a" / name, change)
    problems = verify_folder(root / "a")
    assert any(sentence in problem for problem in problems), problems


def test_count_and_rate_edited_together_are_caught_by_the_provenance(root):
    def change(record: dict) -> None:
        record["test_correct"] += 1
        record["test_acc"] = record["test_correct"] / record["n_test"]

    edit(root / "a" / "train.json", change)
    (problem,) = verify_folder(root / "a")
    assert problem.startswith("train.json is not the file that provenance/train.json names")


@pytest.mark.parametrize(("epsilon", "at"), [(0.0, 0), (0.01, 1), (0.3, -1)])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_outcomes_of_images_are_held_against_the_counts_of_the_curve(root, attack, epsilon, at):
    arrays = results.load_outcomes(root / "a", attack)
    path = root / "a" / next(iter(results.ATTACK_FILES[attack].values()))
    record = json.loads((root / "a" / f"{attack}.json").read_bytes())
    counted = record["curve"][at]["adversarial_correct_given_clean"]
    assert record["curve"][at]["epsilon"] == epsilon
    # One image more withstands this budget, and the others are left alone.
    smallest = arrays["smallest_epsilon"]
    smallest[np.flatnonzero(smallest <= epsilon)[: counted + 1 - int((smallest > epsilon).sum())]] = np.inf
    path.write_bytes(results.pack_arrays(arrays))
    sentence = f"has {counted + 1} images that withstand epsilon {epsilon:g}, {attack}.json counts {counted}"
    assert any(sentence in problem for problem in verify_folder(root / "a"))


def test_a_record_of_before_outcomes_were_kept_has_no_problems(root):
    """Neither it nor its provenance names the file."""
    folder = root / "a"
    (folder / "pgd_outcomes.npz").unlink()
    edit(folder / "pgd.json", lambda record: record.pop("outcomes_sha256"))
    sha256 = hashlib.sha256((folder / "pgd.json").read_bytes()).hexdigest()
    edit(folder / "provenance/pgd.json", lambda record: record.update(outputs={"pgd.json": sha256}))
    assert verify_folder(folder) == []
    with pytest.raises(ResultError, match=r"pgd_outcomes\.npz"):
        results.load_outcomes(folder, "pgd")
    assert cli.main(["attack", str(folder), "--attack", "pgd", "--steps", "2"]) == 0
    assert set(results.load_outcomes(folder, "pgd")) == {"clean_correct", "smallest_epsilon"}
    assert verify_folder(folder) == []


def test_results_of_another_job_are_caught_although_they_fit_each_other(root):
    shutil.copy(root / "a" / "config.json", root / "b" / "config.json")
    problems = verify_folder(root / "b")
    assert "train.json is of another configuration than config.json" in problems


def test_files_without_their_record_and_needed_parts_are_missed(root):
    (root / "a" / "fgsm.json").unlink()
    shutil.rmtree(root / "a" / "provenance")
    problems = verify_folder(root / "a", needed=("noise",))
    assert "fgsm_examples.npz is there, but the record it belongs to is missing" in problems
    assert "noise.json does not exist" in problems
    assert "provenance/train.json does not exist" in problems


def test_folder_of_folders_is_said_to_be_that(root):
    assert verify_folder(root) == [f"{root} has no results of its own, its folders have: name those, {root}/*"]


def test_command_says_each_problem_and_exits_with_1(root, capsys):
    assert cli.main(["verify", str(root / "a"), str(root / "b")]) == 0
    assert capsys.readouterr().out == "2 folders verified, no problems\n"
    flip_bit(root / "a" / results.MODEL, -1)
    assert cli.main(["verify", str(root / "a"), str(root / "nowhere")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{root / 'a'}: model.safetensors is not the file that train.json names")
    assert f"{root / 'nowhere'}: {root / 'nowhere'} is not a folder" in lines
    assert cli.main(["verify", "--json", str(root / "a"), str(root / "b")]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "plmnist/verify/1"
    assert answer["problems"][str(root / "b")] == []
    assert cli.main(["verify", str(root / "a"), "--need", "fgms"]) == 2
    assert "Did you mean 'fgsm'" in capsys.readouterr().err
    assert cli.main(["verify"]) == 2


def test_table_and_figures_of_many_folders_are_held_against_their_provenance(tmp_path):
    with recording(tmp_path, "table", code=tmp_path) as making:
        (tmp_path / "figures").mkdir()
        making.outputs = ["table.txt", "figures/a.png"]
        for name in making.outputs:
            (tmp_path / name).write_bytes(b"content")
    assert verify_folder(tmp_path) == []
    (tmp_path / "figures/a.png").write_bytes(b"contenu")
    (tmp_path / "table.txt").unlink()
    missing, damaged = verify_folder(tmp_path)
    assert missing == "table.txt is missing; provenance/table.json names it"
    assert damaged.startswith("figures/a.png is not the file that provenance/table.json names")
    (tmp_path / "provenance/table.json").write_text("{")
    (problem,) = verify_folder(tmp_path)
    assert "provenance/table.json is not valid JSON" in problem
