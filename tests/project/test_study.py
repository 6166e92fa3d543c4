"""The study from an empty folder to its table, on the embedded digits."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from study_copy import StudyCopy, copy_study

from plmnist.verification import verify_folder

SMALL = ("num_epochs=[5, 20]", "num_epochs=[1, 2]")
STATISTICS = [f"{m}_{s}" for m in ("test_acc", "test_loss", "val_acc", "val_loss", "fgsm_acc") for s in ("avg", "std")]
# Without control attacks and report, where a test is not about them.
FIVE_PARTS = ("-o", "part_[1235].*", "part_4_fgsm.*")
PARAMETERS = ["dataset", "num_epochs", "batch_size", "hidden_size", "learning_rate", "dropout_prob", "fgsm_epsilon"]
SCHEDULER_ID = "4711"
LABELLED = (
    "1_initialize_signac",
    "2_download_data",
    "3_train_and_test",
    "4_fgsm_attack",
    "4_control_attacks",
    "4_checks",
)


@pytest.fixture
def study(make_copy):
    copy = make_copy()
    copy.change("init.py", *SMALL)
    return copy


@dataclass(frozen=True)
class Done:
    """A study that was run from the first part to the last, and what it printed; tests that change it take a copy."""

    study: StudyCopy
    made: str
    ran: str


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    study = copy_study(tmp_path_factory.mktemp("done") / "study")
    study.change("init.py", *SMALL)
    made = study.python("init.py")
    ran = study.python("project.py", "run", "--parallel", "2", env={**os.environ, "SLURM_JOB_ID": SCHEDULER_ID})
    return Done(study, made, ran)


@pytest.fixture
def done_copy(done: Done, tmp_path: Path) -> StudyCopy:
    return StudyCopy(shutil.copytree(done.study.path, tmp_path / "study"))


def test_the_whole_study_ends_in_a_table_and_figures(done) -> None:
    study = done.study
    assert "18 new jobs, 0 were there" in done.made
    assert "98 completed" in done.ran or "97 completed" in done.ran  # part 2 has nothing to do for the embedded digits
    rows = study.table()
    assert list(rows[0]) == [*PARAMETERS, "n", *STATISTICS]
    assert [(r["num_epochs"], r["dropout_prob"], r["n"]) for r in rows] == [
        (epochs, dropout, "3") for epochs in "12" for dropout in ("0.0", "0.1", "0.5")
    ]
    with open(study.path / "analysis/output_avg_std_of_seed_txt_filename.csv") as file:
        exact = list(csv.DictReader(file))
    folders = list((study.path / "workspace").iterdir())
    for row in exact:
        values = [
            json.loads((folder / "fgsm.json").read_bytes())["adversarial_correct"] / 359
            for folder in folders
            if (sp := json.loads((folder / "signac_statepoint.json").read_bytes()))
            and (str(sp["num_epochs"]), str(sp["dropout_prob"])) == (row["num_epochs"], row["dropout_prob"])
        ]
        assert float(row["fgsm_acc_avg"]) == pytest.approx(statistics.fmean(values), abs=1e-12)
        assert float(row["fgsm_acc_std"]) == pytest.approx(statistics.stdev(values), abs=1e-12)
    figures = sorted(path.name for path in (study.path / "analysis/figures").glob("*_accuracy_by_*"))
    assert figures == [
        f"digits_accuracy_by_{parameter}.{kind}"
        for parameter in ("dropout_prob", "num_epochs")
        for kind in ("png", "svg")
    ]
    status = json.loads(study.python("project.py", "status", "--json"))
    assert [entry["completed"] for entry in status["operations"]] == [18, 1, 18, 18, 18, 18, 6, 1]
    assert status["labels"] == {f"part_{n}_completed": 18 for n in LABELLED}


@pytest.mark.parametrize(
    ("name", "command"), [("serial", ["run"]), ("a folder with a space", ["run", "--parallel", "3"])]
)
def test_results_do_not_depend_on_how_they_were_run(make_copy, done, name: str, command: list[str]) -> None:
    study = make_copy(name)
    study.change("init.py", *SMALL)
    study.python("init.py", cwd="/")
    study.python("project.py", *command, cwd="/")
    assert study.results() == done.study.results()


def test_new_points_rerun_nothing_that_is_done(study) -> None:
    study.change("init.py", "seed=[1, 2, 3]", "seed=[1, 2]")
    study.python("init.py")
    study.python("project.py", "run", "--parallel", *FIVE_PARTS)
    before = study.results()
    table = study.table()
    # One more seed for one dropout only: combinations with unequal numbers of seeds.
    study.change("init.py", "dropout_prob=[0.0, 0.1, 0.5]", "dropout_prob=[0.5]")
    study.change("init.py", "seed=[1, 2]", "seed=[1, 2, 7]")
    assert "2 new jobs, 4 were there" in study.python("init.py")
    output = study.python("project.py", "run", "--parallel", *FIVE_PARTS)
    assert output.count(": trained") == 2
    after = study.results()
    assert {name: after[name] for name in before if name.startswith("workspace")} == {
        name: content for name, content in before.items() if name.startswith("workspace")
    }
    rows = study.table()
    assert [row["n"] for row in rows] == ["2", "2", "3", "2", "2", "3"]
    assert [row for row in rows if row["n"] == "2"] == [row for row in table if row["dropout_prob"] != "0.5"]


def test_optional_parameters_leave_jobs_without_them_alone(study) -> None:
    study.change("init.py", "dropout_prob=[0.0, 0.1, 0.5]", "dropout_prob=0.1")
    study.change("init.py", "seed=[1, 2, 3]", "seed=[1, 2]")
    study.python("init.py")
    study.python("project.py", "run", *FIVE_PARTS)
    before = study.results()
    study.change("init.py", "seed=[1, 2],\n    ),", 'seed=[1, 2, 3],\n        training=["standard"],\n    ),')
    assert "2 new jobs, 4 were there" in study.python("init.py")
    study.python("project.py", "run", *FIVE_PARTS)
    after = study.results()
    assert {n: c for n, c in after.items() if n in before and n.startswith("workspace")} == {
        n: c for n, c in before.items() if n.startswith("workspace")
    }
    rows = study.table()
    assert list(rows[0]) == [*PARAMETERS, "n", *STATISTICS]
    assert [row["n"] for row in rows] == ["3", "3"]


def test_time_is_asked_for_by_network_training_and_part(study) -> None:
    point = {"dataset": "mnist", "num_epochs": 5, "network": "cnn", "training": "pgd", "training_epsilon": 0.1}
    (study.path / "ask.py").write_text(
        "import json, types, project\n"
        f"points = [{point!r}, dict({point!r}, network='mlp'), {{'dataset': 'mnist', 'num_epochs': 5}}]\n"
        "jobs = [types.SimpleNamespace(sp=point) for point in points]\n"
        "parts = ('training', 'fgsm', 'controls', 'checks')\n"
        "print(json.dumps({part: [project.hours(part)(job) for job in jobs] for part in parts}))\n"
    )
    asked = json.loads(study.python("ask.py"))
    robust_cnn, robust, plain = asked.pop("training")
    assert robust_cnn > robust > plain
    for cnn, mlp, without_a_network in asked.values():
        assert cnn > mlp == without_a_network  # what was laid out before there was another network is a perceptron


def test_another_epsilon_trains_no_network_again(study) -> None:
    study.change("init.py", "dropout_prob=[0.0, 0.1, 0.5]", "dropout_prob=0.1")
    study.python("init.py")
    study.python("project.py", "run", *FIVE_PARTS)
    study.change("init.py", "fgsm_epsilon=0.1", "fgsm_epsilon=[0.1, 0]")
    assert "6 new jobs, 6 were there" in study.python("init.py")
    output = study.python("project.py", "run", *FIVE_PARTS)
    assert ": trained" not in output
    assert [row["fgsm_acc_avg"] for row in study.table() if row["fgsm_epsilon"] == "0.0"] == [
        row["test_acc_avg"] for row in study.table() if row["fgsm_epsilon"] == "0.0"
    ]


def test_one_seed_has_no_standard_deviation(study) -> None:
    study.change("init.py", "seed=[1, 2, 3]", "seed=4")
    study.python("init.py")
    study.python("project.py", "run", *FIVE_PARTS)
    assert {row["test_acc_std"] for row in study.table()} == {"-"}
    assert "nan" not in (study.path / "analysis/output_avg_std_of_seed_txt_filename.csv").read_text()


def test_zero_and_zero_point_zero_are_one_job(study) -> None:
    study.python("init.py")
    study.change("init.py", "dropout_prob=[0.0, 0.1, 0.5]", "dropout_prob=[0, 0.1, 0.5]")
    assert "0 new jobs, 18 were there" in study.python("init.py")


def test_the_digits_have_adversarial_training_beside_the_points_of_the_tutorial(make_copy) -> None:
    plain, full = make_copy("plain"), make_copy("full", adversarial=True)
    plain.python("init.py")
    assert "24 new jobs" in full.python("init.py")
    ids = [{path.name for path in (study.path / "workspace").iterdir()} for study in (plain, full)]
    assert ids[0] < ids[1]
    added = [
        json.loads((full.path / "workspace" / name / "signac_statepoint.json").read_bytes()) for name in ids[1] - ids[0]
    ]
    assert {(p["num_epochs"], p["dropout_prob"], p["training_epsilon"]) for p in added} == {(20, 0.0, 0.1)}
    assert sorted((p["training"], p["seed"]) for p in added) == [(t, s) for t in ("fgsm", "pgd") for s in (1, 2, 3)]


def test_other_data_sets_have_it_when_it_is_asked_for(make_copy) -> None:
    study = make_copy(adversarial=True)
    assert "18 new jobs" in study.python("init.py", "--dataset", "mnist")
    assert "6 new jobs, 18 were there" in study.python("init.py", "--dataset", "mnist", "--adversarial")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("fgsm_epsilon=0.1", "fgsm_epsilon=-0.1", "fgsm_epsilon must be between 0 and 1"),
        ("hidden_size=64,", "hiden_size=64,", "Did you mean"),
        ("learning_rate=1e-3,", "", "learning_rate"),
        ('dataset="digits"', 'dataset="digit"', "digits"),
    ],
)
def test_an_impossible_grid_is_refused_before_anything_is_made(study, old: str, new: str, words: str) -> None:
    study.change("init.py", old, new)
    assert words in study.python("init.py", check=2)
    assert not (study.path / "workspace").exists()


def test_before_init_the_next_step_is_named(study) -> None:
    assert "init.py" in study.python("project.py", "status", check=2)


def test_a_deleted_file_is_made_again(done_copy) -> None:
    study, before = done_copy, done_copy.results()
    job = next((study.path / "workspace").iterdir())
    for name in ("train.json", "fgsm.json"):
        (job / name).unlink()
    # Files without which a record is worth nothing, each in a job of its own.
    others = [folder for folder in (study.path / "workspace").iterdir() if folder != job]
    for folder, name in zip(
        others, ("model.safetensors", "history.csv", "fgsm_examples.npz", "fgsm.png", "pgd_outcomes.npz"), strict=False
    ):
        (folder / name).unlink()
    (study.path / "analysis/output_avg_std_of_seed_txt_filename.txt").write_text("")
    study.python("project.py", "run")
    assert study.results() == before


def test_a_damaged_result_is_left_out_of_the_table_and_named(done_copy) -> None:
    study = done_copy
    bad = sorted((study.path / "workspace").iterdir())[0]
    (bad / "fgsm.json").write_text("{")
    for path in (study.path / "analysis").glob("output_avg_std*"):
        path.unlink()
    output = study.python("project.py", "run", "-o", "part_5.*", check=1)
    assert f"the table leaves out what can't be read: {bad.name}: fgsm.json is not valid JSON" in output
    assert sorted(row["n"] for row in study.table()) == ["2", *["3"] * 5]
    status = json.loads(study.python("project.py", "status", "--json"))
    entry = next(entry for entry in status["operations"] if entry["name"] == "part_5_seed_analysis_command")
    assert (entry["completed"], entry["failed"]) == (5, 1)


def test_a_broken_job_is_named_and_the_others_go_on(study) -> None:
    study.change("init.py", "dropout_prob=[0.0, 0.1, 0.5]", "dropout_prob=0.1")
    study.python("init.py")
    bad, *others = sorted((study.path / "workspace").iterdir())
    (bad / "signac_statepoint.json").write_text("{")
    output = study.python("project.py", "run", "--parallel", *FIVE_PARTS)
    assert bad.name in output
    assert all((folder / "fgsm.json").exists() for folder in others)
    assert sorted(row["n"] for row in study.table()) == ["2", "3"]


def test_killed_anywhere_it_goes_on_and_ends_with_the_same_bytes(study, done, kill_tree) -> None:
    study.python("init.py")
    for moment in (0.4, 1.2, 1.8, 2.2, 2.6, 3.0):
        run = subprocess.Popen(
            [sys.executable, study.path / "project.py", "run", "--parallel", "2"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        kill_tree(run)
    study.python("project.py", "run", "--parallel", "2")
    assert study.results() == done.study.results()
    for folder in (study.path / "analysis", *(study.path / "workspace").iterdir()):
        assert verify_folder(folder) == []
    assert "<h2>How it was run</h2>" in (study.path / "analysis/report.html").read_text()


def test_signac_itself_reads_the_workspace(study) -> None:
    study.python("init.py")
    result = subprocess.run(
        [sys.executable, "-m", "signac", "find", "seed", "1"],
        cwd=study.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(result.stdout.split()) == 6


def test_no_command_of_the_engine_imports_torch(study) -> None:
    study.python("init.py")
    code = (
        "import runpy, sys; sys.argv = ['project.py', 'status']\n"
        "try: runpy.run_path('project.py', run_name='__main__')\n"
        "except SystemExit: print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=study.path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False False"


def test_finished_jobs_are_made_again_byte_for_byte_and_a_flipped_bit_is_found(done_copy) -> None:
    study = done_copy
    # A report of a slower run says longer times, and its index another size.
    report = study.path / "analysis" / "report.html"
    size = report.stat().st_size
    report.write_bytes(report.read_bytes() + b"\n")
    study.change("analysis/output_report.json", f'"report.html": {size}', f'"report.html": {size + 1}')
    text = study.python("project.py", "reproduce", "--parallel", "2")
    assert "REPRODUCED" in text.splitlines()
    assert "identical" in text
    assert "same fingerprint for" in text
    # A machine that is told to compute with other instructions is another one: there the tolerance holds.
    job = min(folder.name for folder in (study.path / "workspace").iterdir())
    other = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    text = study.python("project.py", "reproduce", "-j", job, env=other)
    assert "REPRODUCED" in text.splitlines()
    assert "another fingerprint for" in text
    assert "same fingerprint for" not in text
    path = sorted(study.path.glob("workspace/*/model.safetensors"))[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    text = study.python("project.py", "reproduce", "-j", path.parent.name, check=1)
    assert "model.safetensors         DIFFERENT (made on a machine of the same fingerprint)" in text
    assert "model.safetensors is not the file that train.json names" in text
    assert "NOT REPRODUCED" in text.splitlines()


def test_every_part_that_computes_tells_how_and_where_and_from_what(done) -> None:
    study = done.study
    jobs = sorted((study.path / "workspace").iterdir())
    places = [(job, part) for job in jobs for part in ("train", "fgsm", "pgd", "noise", "checks")]
    for folder, part in [*places, (study.path / "analysis", "seed_analysis"), (study.path / "analysis", "report")]:
        record = json.loads((folder / f"provenance/{part}.json").read_bytes())
        assert (record["part"], record["outcome"]) == (part, "completed")
        assert record["started"] <= record["ended"]
        assert record["wall_s"] > 0
        assert record["cpu_s"] > 0
        assert record["peak_memory_bytes"] > 1e6
        assert record["scheduler"] == {"SLURM_JOB_ID": SCHEDULER_ID}
        assert record["host"] == os.uname().nodename
        assert any("plmnist" in word or "project.py" in word for word in record["command"])
        assert len(record["code"]["source_sha256"]) == len(record["code"]["lock_sha256"]) == 64
        assert record["packages"]["numpy"]
        assert record["machine"]["cpu"]
        assert record["machine"]["threads"] == 1
        assert record["outputs"]
        for name, digest in record["outputs"].items():
            assert sha256_of(folder / name) == digest
        if folder.name == "analysis":
            assert set(record["inputs"]["results_sha256"]) == {job.name for job in jobs}
            assert record["packages"]["pandas"]
            assert len(record["code"]["study_sha256"]) == 64
        else:
            assert record["session"]
            assert record["machine"]["cpu_capability"]
            assert len(record["machine"]["torch_build_sha256"]) == 64
            assert record["inputs"]["data_sha256"]
        if part not in ("train", "seed_analysis", "report"):
            assert record["inputs"]["model_sha256"] == sha256_of(folder / "model.safetensors")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_study_travels_as_one_archive(done_copy, tmp_path) -> None:
    study = done_copy
    assert "18 jobs" in study.python("project.py", "export", str(tmp_path / "study.tar.gz"))
    elsewhere = type(study)(tmp_path / "elsewhere")
    study.python("project.py", "import", str(tmp_path / "study.tar.gz"), str(elsewhere.path))
    here, there = (json.loads(s.python("project.py", "status", "--json")) for s in (study, elsewhere))
    assert there["operations"] == here["operations"]
    assert "Nothing to do" in elsewhere.python("project.py", "run")
    assert elsewhere.results() == study.results()
    crate = json.loads((elsewhere.path / "ro-crate-metadata.json").read_bytes())["@graph"]
    trained = [e for e in crate if e.get("instrument") == {"@id": "#operation/part_3_train_and_test_command"}]
    assert len(trained) == 18
    assert all(any(f["@id"].endswith("/provenance/train.json") for f in e["result"]) for e in trained)
    assert json.loads((elsewhere.path / "croissant/digits.json").read_bytes())["name"] == "digits"
    for part, operation in {"seed_analysis": "part_5_seed_analysis_command", "report": "part_6_report_command"}.items():
        made = [e for e in crate if e.get("instrument") == {"@id": f"#operation/{operation}"} and "result" in e]
        assert made
        assert all({"@id": f"analysis/provenance/{part}.json"} in e["result"] for e in made)
    folders = [*sorted(map(str, (elsewhere.path / "workspace").iterdir())), str(elsewhere.path / "analysis")]
    verify = subprocess.run([sys.executable, "-m", "plmnist", "verify", *folders], capture_output=True, text=True)
    assert verify.stdout == "19 folders verified, no problems\n"
    # Here, jobs that have only begun are no obstacle, but a flipped bit is, unless it is wanted.
    study.change("init.py", "seed=[1, 2, 3]", "seed=[1, 2, 3, 4]")
    study.python("init.py")
    study.python("project.py", "run", "-o", "part_1_initialize_signac_command")
    assert "24 jobs" in study.python("project.py", "export", str(tmp_path / "more.zip"))
    path = sorted(study.path.glob("workspace/*/model.safetensors"))[3]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    text = study.python("project.py", "export", str(tmp_path / "bad.zip"), check=1)
    assert f"{path.parent.name}: model.safetensors is not the file that train.json names" in text
    assert "--force" in text.splitlines()[-1]
    assert not (tmp_path / "bad.zip").exists()
    study.python("project.py", "export", str(tmp_path / "bad.zip"), "--force")
    assert (tmp_path / "bad.zip").exists()
