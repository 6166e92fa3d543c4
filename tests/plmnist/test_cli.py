from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plmnist import cli, config, results
from plmnist.config import CURVE, STACKED
from plmnist.perturbations import ATTACKS
from plmnist.training import ENGINES


def place(root: Path, name: str, mapping: dict) -> str:
    folder = root / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(mapping))
    return str(folder)


def test_folders_are_trained_and_attacked(tmp_path, make_mapping, capsys):
    folders = [place(tmp_path, f"seed {seed}", make_mapping(seed=seed)) for seed in (1, 2)]
    assert cli.main(["train", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{folders[0]}: trained in 2 epochs")
    assert lines[-1] == "2 of 2 folders trained"
    assert cli.main(["attack", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "at epsilon 0.05" in lines[0]
    assert lines[-1] == "2 of 2 folders attacked"
    assert cli.main(["train", *folders]) == 0
    assert "already trained" in capsys.readouterr().out


def test_one_configuration_by_options(tmp_path, capsys):
    out = str(tmp_path / "new" / "folder")
    command = ["train", "--output", out, "--num-epochs", "1", "--dropout-prob", "0", "--seed", "7"]
    assert cli.main(command) == 0
    config = json.loads((Path(out) / "config.json").read_text())
    assert (config["num_epochs"], config["dropout_prob"], config["seed"]) == (1, 0.0, 7)
    assert cli.main(["attack", out, "--epsilon", "0", "0.4"]) == 0
    assert [point["epsilon"] for point in results.load_attack(out)["curve"]] == [*CURVE, 0.4]
    assert cli.main(command) == 0
    assert cli.main([*command[:-1], "8"]) == 2
    error = capsys.readouterr().err
    assert "config.json holds another configuration" in error
    assert "--force" in error
    assert cli.main([*command[:-1], "8", "--force"]) == 0


def test_folders_may_follow_the_names_of_several_attacks(tmp_path, make_mapping, capsys):
    folders = [place(tmp_path, name, make_mapping()) for name in ("a", "b")]
    assert cli.main(["train", *folders]) == 0
    assert cli.main(["attack", "--images", "50", "--steps", "2", "--attack", "fgsm", "pgd", "noise", *folders]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 folders attacked"
    for name in ("fgsm", "pgd", "noise"):
        assert results.load_attack(folders[1], name)["subset"] == {"spread": 50, "of": 359}


def test_old_number_stands_beside_the_new_one(tmp_path, make_mapping, capsys):
    folder = place(tmp_path, "a", make_mapping())
    assert cli.main(["train", folder]) == 0
    assert cli.main(["attack", folder]) == 0
    before = (Path(folder) / results.ATTACK_RECORD).read_bytes()
    assert cli.main(["attack", folder, "--legacy-clamp"]) == 0
    assert "not the accuracy under FGSM" in capsys.readouterr().out
    record = results.load_attack(folder, "fgsm_legacy")
    assert record["fgsm_legacy_acc"] == record["adversarial_correct_given_clean"] / record["clean_correct"]
    assert [point["epsilon"] for point in record["curve"]] == list(CURVE)
    assert (Path(folder) / results.ATTACK_RECORD).read_bytes() == before


def test_failures_are_named_on_the_last_line_and_in_the_exit_status(tmp_path, make_mapping, capsys):
    good = place(tmp_path, "good", make_mapping(num_epochs=1))
    bad = place(tmp_path, "bad", make_mapping(dataset="digit"))
    assert cli.main(["train", bad, good]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{bad}: failed: unknown data set 'digit' (Did you mean 'digits'?)"
    assert lines[-1] == f"1 of 2 folders trained; failed: {bad}"


def test_report_follows_each_folder(tmp_path, make_mapping):
    report = tmp_path / "report.jsonl"
    good = place(tmp_path, "good", make_mapping(num_epochs=1))
    bad = place(tmp_path, "bad", {})
    cli.main(["train", good, bad, "--report", str(report)])
    cli.main(["attack", good, "--report", str(report)])
    events = [json.loads(line) for line in report.read_text().splitlines()]
    of_good = [event for event in events if event["folder"] == good]
    assert (
        of_good
        == [
            {"folder": good, "event": "start"},
            {"folder": good, "event": "end", "error": None},
        ]
        * 2
    )
    of_bad = [event for event in events if event["folder"] == bad]
    assert of_bad[0] == {"folder": bad, "event": "start"}
    assert "'dataset', 'num_epochs'" in of_bad[1]["error"]
    assert "\n" not in of_bad[1]["error"]


def test_empty_report_is_none_and_unwritable_one_an_error(tmp_path, make_mapping, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = place(tmp_path, "good", make_mapping(num_epochs=1))
    assert cli.main(["train", good, "--report", ""]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good"]
    assert cli.main(["train", good, "--report", str(tmp_path / "no" / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "no folder given"),
        (["attack"], "no folder given"),
        (["train", "x", "--engine", "tensr"], "Did you mean 'tensor'?"),
        (["train", "--output", "x", "--dataset", "mnits"], "Did you mean 'mnist'"),
        (["train", "--output", "x", "--num-epochs", "many"], "num_epochs must be a whole number, not 'many'"),
        (["train", "--output", "x", "--fgsm-epsilon", "-1"], "fgsm_epsilon must be between 0 and 1"),
        (["train", "y", "--output", "x"], "exclude each other"),
        (["train", "y", "--seed", "3"], "--seed needs --output"),
        (["attack", "x", "--epsilon", "-0.1"], "epsilon must be between 0 and 1"),
        (["attack", "x", "--attack", "pdg"], "Did you mean 'pgd'?"),
        (["attack", "x", "--legacy-clamp", "--attack", "pgd"], "exclude each other"),
        (["attack", "--attack", "fgsm", "pdg", "x"], "Did you mean 'pgd'?"),
        (["attack", "x", "--legacy-clamp", "--images", "3"], "exclude each other"),
        (["attack", "x", "--images", "0"], "--images must be a whole number"),
        (["attack", "x", "--images", "some"], "--images must be a whole number, at least 1, not 'some'"),
        (["attack", "x", "--steps", "3"], "--steps needs --attack pgd"),
        (["attack", "x", "--attack", "pgd", "--restarts", "0"], "--restarts must be a whole number"),
        (["attack", "x", "--attack", "pgd", "--step-size", "nan"], "--step-size must be a number above 0"),
        (["download", "mnst"], "Did you mean 'mnist'"),
    ],
)
def test_wrong_usage_is_explained_without_traceback(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert cli.main(["train", str(tmp_path), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_bug_is_called_a_bug(tmp_path, make_mapping, capsys, monkeypatch):
    def faulty(*arguments, **options):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("plmnist.training.train_lengths", faulty)
    folder = place(tmp_path, "a", make_mapping())
    assert cli.main(["train", folder]) == 1
    out = capsys.readouterr().out
    assert "this is a bug in plmnist: ZeroDivisionError: oops (test_cli.py:" in out
    assert "Traceback" not in out


def test_download_of_the_embedded_set_needs_no_network(tmp_path, capsys):
    assert cli.main(["download", "digits", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("digits.csv.gz verified\n")


def test_download_reports_damage_and_goes_on(tmp_path, capsys, monkeypatch):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"junk")
    monkeypatch.setenv("PLMNIST_DATA_DIR", str(tmp_path))
    assert cli.main(["download", "mnist", "digits", "--data-dir", str(tmp_path / "own")]) == 1
    captured = capsys.readouterr()
    assert "train-images-idx3-ubyte.gz is damaged" in captured.err
    assert "digits" in captured.out


def test_engines_and_attacks_of_the_command_line_are_those_of_the_package():
    assert {*ENGINES, STACKED} == set(cli.train.ENGINES)
    assert list(ATTACKS) == list(config.ATTACKS)


def test_module_is_a_command():
    answer = subprocess.run([sys.executable, "-m", "plmnist", "--help"], capture_output=True, text=True, check=True)
    assert "download" in answer.stdout
    usage = subprocess.run([sys.executable, "-m", "plmnist", "nonsense"], capture_output=True, text=True)
    assert usage.returncode == 2


@pytest.mark.parametrize("engine", ["tensor", "lightning"])
def test_interrupt_ends_cleanly(tmp_path, make_mapping, engine):
    folder = place(tmp_path, "long", make_mapping(num_epochs=10**6))
    short = place(tmp_path, "short", make_mapping(num_epochs=1))
    report = tmp_path / "report"
    child = subprocess.Popen(
        [sys.executable, "-m", "plmnist", "train", folder, short, "--report", str(report), "--engine", engine],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert "short: trained" in child.stdout.readline()
    os.kill(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in Path(folder).iterdir()) == ["config.json"]


def test_an_interrupt_while_modules_are_imported_is_no_traceback(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'plmnist.cli.options':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
    )
    command = [sys.executable, "-m", "plmnist", "verify"]
    answer = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (130, "")


def test_closed_pipe_is_no_traceback(tmp_path, make_mapping):
    folders = [place(tmp_path, f"s{seed}", make_mapping(num_epochs=1, seed=seed)) for seed in (1, 2)]
    command = f"{sys.executable} -m plmnist train {' '.join(folders)} | true"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in answer.stderr
    assert "Exception ignored" not in answer.stderr
