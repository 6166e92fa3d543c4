from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plmnist import results, training
from plmnist.batch import attack_folders, check_folders, train_folders
from plmnist.config import CURVE, Configuration
from plmnist.data import load_test
from plmnist.errors import PlmnistError
from plmnist.sample import Sample

NAME = "point.json"


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.done_: dict[str, str] = {}
        self.errors: dict[str, Exception] = {}

    def started(self, folder: str) -> None:
        self.events.append(("start", Path(folder).name))

    def done(self, folder: str, summary: str) -> None:
        self.events.append(("end", Path(folder).name))
        self.done_[Path(folder).name] = summary

    def failed(self, folder: str, error: Exception) -> None:
        self.events.append(("end", Path(folder).name))
        self.errors[Path(folder).name] = error


@pytest.fixture
def trained_lengths(monkeypatch):
    """Record which trainings really happen, as lists of epochs."""
    calls = []
    real = training.train_lengths

    def counting(configs, *arguments, **options):
        configs = list(configs)
        calls.append(sorted({config.num_epochs for config in configs}))
        return real(configs, *arguments, **options)

    monkeypatch.setattr(training, "train_lengths", counting)
    return calls


def place(root: Path, name: str, mapping: dict) -> str:
    folder = root / name
    folder.mkdir()
    (folder / NAME).write_text(json.dumps(mapping))
    return str(folder)


def run_train(folders: list[str], **options) -> Recorder:
    recorder = Recorder()
    train_folders(folders, recorder, config_name=NAME, **options)
    return recorder


def run_attack(folders: list[str], **options) -> Recorder:
    recorder = Recorder()
    attack_folders(folders, recorder, config_name=NAME, **options)
    return recorder


def outputs(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).iterdir() if path.is_file() and path.name != NAME)
    return {path.name: path.read_bytes() for path in files}


def alone(tmp_path: Path, mapping: dict) -> dict[str, bytes]:
    """Train and attack a configuration in a folder without neighbours."""
    root = tmp_path / f"alone_{len(list(tmp_path.iterdir()))}"
    root.mkdir()
    folder = place(root, "x", mapping)
    assert not run_train([folder]).errors
    assert not run_attack([folder]).errors
    return outputs(folder)


def grid(make_mapping) -> dict[str, dict]:
    return {
        f"e{epochs}-eps{epsilon}-s{seed}": make_mapping(num_epochs=epochs, fgsm_epsilon=epsilon, seed=seed)
        for epochs in (1, 3)
        for epsilon in (0.0, 0.1)
        for seed in (1, 2)
    }


def test_shared_trainings_equal_lonely_ones_in_any_order(tmp_path, make_mapping, trained_lengths):
    points = grid(make_mapping)
    expected = {name: alone(tmp_path, mapping) for name, mapping in points.items()}
    trained_lengths.clear()
    for turn, order in enumerate((sorted(points), sorted(points, reverse=True))):
        root = tmp_path / f"together_{turn}"
        root.mkdir()
        folders = [place(root, name, points[name]) for name in order]
        assert not run_train(folders).errors
        assert not run_attack(folders[3:]).errors
        assert not run_attack(folders).errors
        assert {Path(folder).name: outputs(folder) for folder in folders} == expected
    # Eight points, two seeds: two trainings of three epochs, measured after one.
    assert trained_lengths == [[1, 3], [1, 3]] * 2


def test_each_folder_starts_once_before_it_ends(tmp_path, make_mapping):
    folders = [place(tmp_path, name, mapping) for name, mapping in grid(make_mapping).items()]
    events = run_train(folders).events
    for folder in folders:
        name = Path(folder).name
        assert events.count(("start", name)) == events.count(("end", name)) == 1
        assert events.index(("start", name)) < events.index(("end", name))


def test_finished_folders_are_left_alone(tmp_path, make_mapping, trained_lengths):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_attack([folder])
    before = {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()}
    trained_lengths.clear()
    assert run_train([folder]).done_["a"].startswith("already trained")
    assert run_attack([folder]).done_["a"].startswith("already attacked")
    assert {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()} == before
    assert trained_lengths == []
    files = outputs(folder)
    assert run_train([folder], force=True).done_["a"].startswith("trained")
    assert run_attack([folder], force=True).done_["a"].startswith("attacked")
    assert trained_lengths == [[2]]
    assert outputs(folder) == files


def test_another_epsilon_a_week_later_copies_the_network(tmp_path, make_mapping, trained_lengths):
    run_train([place(tmp_path, "monday", make_mapping(fgsm_epsilon=0.1))])
    trained_lengths.clear()
    later = place(tmp_path, "next_monday", make_mapping(fgsm_epsilon=0.2))
    assert run_train([later]).done_["next_monday"].startswith("copied")
    assert trained_lengths == []
    assert not run_attack([later]).errors
    assert outputs(later) == alone(tmp_path, make_mapping(fgsm_epsilon=0.2))


def test_damaged_neighbour_is_not_copied(tmp_path, make_mapping, trained_lengths):
    first = place(tmp_path, "first", make_mapping())
    run_train([first])
    model = Path(first) / results.MODEL
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    trained_lengths.clear()
    second = place(tmp_path, "second", make_mapping(fgsm_epsilon=0.3))
    assert run_train([second]).done_["second"].startswith("trained")
    assert trained_lengths == [[2]]
    # The damaged one is not complete, so it is mended, now by a copy.
    assert run_train([first]).done_["first"].startswith("copied")
    assert model.read_bytes() == (Path(second) / results.MODEL).read_bytes()


def test_configuration_of_a_finished_folder_has_changed(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_attack([folder])
    (Path(folder) / NAME).write_text(json.dumps(make_mapping(seed=2)))
    error = run_attack([folder]).errors["a"]
    assert "was trained with another configuration" in str(error)
    run_train([folder])
    run_attack([folder])
    assert outputs(folder) == alone(tmp_path, make_mapping(seed=2))


def test_one_folder_s_failure_stops_no_other(tmp_path, make_mapping):
    broken = place(tmp_path, "broken", {})
    (Path(broken) / NAME).write_text('{"dataset": ')
    empty = tmp_path / "empty"
    empty.mkdir()
    misspelt = make_mapping()
    misspelt["sede"] = misspelt.pop("seed")
    diverging = place(tmp_path, "diverging", make_mapping(learning_rate=1e30, seed=0))
    folders = [
        broken,
        place(tmp_path, "negative", make_mapping(fgsm_epsilon=-0.1)),
        str(empty),
        place(tmp_path, "misspelt", misspelt),
        diverging,
        str(tmp_path / "nowhere"),
        place(tmp_path, "no_data", make_mapping(dataset="kmnist")),
        place(tmp_path, "good", make_mapping()),
    ]
    recorder = run_train(folders, data_dir=tmp_path / "no_such_data")
    assert list(recorder.done_) == ["good"]
    expected = {
        "broken": "is not valid JSON",
        "negative": "fgsm_epsilon must be between 0 and 1",
        "empty": "point.json does not exist",
        "misspelt": "unknown configuration key 'sede'",
        "diverging": "diverged in epoch 1",
        "nowhere": "is not a folder",
        "no_data": "train-images-idx3-ubyte.gz of data set kmnist is in none of",
    }
    assert recorder.errors.keys() == expected.keys()
    for name, words in expected.items():
        assert isinstance(recorder.errors[name], PlmnistError)
        assert words in str(recorder.errors[name])
    assert outputs(diverging) == {}

    attacked = run_attack(folders)
    assert list(attacked.done_) == ["good"]
    assert "train.json does not exist" in str(attacked.errors["diverging"])
    assert attacked.errors.keys() == expected.keys()


def test_folder_that_cannot_be_written_spares_the_one_that_shares_its_training(tmp_path, make_mapping, monkeypatch):
    folders = [place(tmp_path, name, make_mapping(fgsm_epsilon=e)) for name, e in (("full", 0.1), ("fine", 0.2))]
    real = results.write_in_order

    def write(folder: Path, contents: dict[str, bytes]) -> None:
        if folder.name == "full":
            raise OSError(28, "No space left on device", str(folder))
        real(folder, contents)

    monkeypatch.setattr("plmnist.provenance.write_in_order", write)
    recorder = run_train(folders)
    assert list(recorder.done_) == ["fine"]
    assert "No space left" in str(recorder.errors["full"])


def test_unexpected_error_fails_its_group_only(tmp_path, make_mapping, monkeypatch):
    real = training.train_lengths

    def faulty(configs, *arguments, **options):
        if configs[0].seed == 1:
            raise RuntimeError("cosmic ray")
        return real(configs, *arguments, **options)

    monkeypatch.setattr(training, "train_lengths", faulty)
    folders = [place(tmp_path, f"s{seed}", make_mapping(seed=seed)) for seed in (1, 2)]
    recorder = run_train(folders)
    assert list(recorder.errors) == ["s1"]
    assert list(recorder.done_) == ["s2"]


def test_interruption_is_not_taken_for_a_failure(tmp_path, make_mapping, monkeypatch):
    def interrupted(configs, on_trained, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_lengths", interrupted)
    folder = place(tmp_path, "a", make_mapping())
    with pytest.raises(KeyboardInterrupt):
        run_train([folder])
    assert outputs(folder) == {}


def test_further_epsilons_extend_the_curve_only(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping(fgsm_epsilon=0.1))
    run_train([folder])
    run_attack([folder])
    short, before = results.load_attack(folder), outputs(folder)
    recorder = run_attack([folder], epsilons=[0.0, 0.07])
    assert recorder.done_["a"].startswith("attacked")
    long = results.load_attack(folder)
    assert [point["epsilon"] for point in short["curve"]] == list(CURVE)
    assert [point["epsilon"] for point in long["curve"]] == sorted([*CURVE, 0.07])
    changed = (
        "curve",
        "examples_sha256",
    )  # the file of examples says for each image which epsilon of the curve fools it
    assert {key: value for key, value in long.items() if key not in changed} == {
        key: value for key, value in short.items() if key not in changed
    }
    assert outputs(folder)[results.FIGURE] == before[results.FIGURE]
    assert run_attack([folder], epsilons=[0.07]).done_["a"].startswith("already attacked")


def test_examples_file_belongs_to_the_configuration_s_epsilon(tmp_path, make_mapping):

    folders = [place(tmp_path, f"eps{e}", make_mapping(fgsm_epsilon=e)) for e in (0.0, 0.3)]
    run_train(folders)
    run_attack(folders)
    for folder, epsilon in zip(folders, (0.0, 0.3), strict=True):
        with np.load(Path(folder) / results.EXAMPLES) as examples:
            assert float(examples["epsilon"]) == epsilon
            moved = np.abs(examples["adversarial"] - examples["original"]).max()
            assert moved == pytest.approx(epsilon, abs=1e-6)
            assert examples["label"].tolist() == list(range(10))
        record = results.load_attack(folder)
        assert (
            record["config"] == Configuration.from_mapping(json.loads((Path(folder) / NAME).read_text())).to_mapping()
        )


def test_every_image_has_its_smallest_epsilon(tmp_path, make_mapping):

    folder = place(tmp_path, "a", make_mapping(fgsm_epsilon=0.07))
    run_train([folder])
    run_attack([folder])
    record = results.load_attack(folder)
    with np.load(Path(folder) / results.EXAMPLES) as packed:
        smallest, clean_correct = packed["smallest_epsilon"], packed["clean_correct"]
    assert set(smallest) <= {*CURVE, 0.07, np.inf}
    assert clean_correct.sum() == record["clean_correct"]
    assert ((smallest == 0) == ~clean_correct).all()
    for point in record["curve"]:
        # An image that a small step fools may be classified correctly after a longer one.
        survivors = (smallest > point["epsilon"]).sum()
        assert survivors <= point["adversarial_correct_given_clean"]


@pytest.mark.parametrize("attack", ["pgd", "noise"])
def test_other_attacks_have_records_of_their_own_that_know_nothing_of_other_folders(tmp_path, make_mapping, attack):
    alone, *others = (place(tmp_path, f"e{e}", make_mapping(fgsm_epsilon=e)) for e in (0.05, 0.03, 0.07))
    settings = {"steps": 4, "step_size": 0.5} if attack == "pgd" else {}
    wanted = {"attacks": [attack], "settings": {attack: settings}}
    run_train([alone, *others])
    run_attack([alone], **wanted)
    path = Path(alone) / results.ATTACK_RECORDS[attack]
    expected = path.read_bytes()
    assert run_attack([alone], **wanted).done_[Path(alone).name].startswith("already attacked")
    run_attack([alone, *others], **wanted, force=True)
    assert path.read_bytes() == expected
    record = results.load_attack(alone, attack)
    assert record["settings"].items() >= settings.items()
    assert record[f"{attack}_acc"] == record["adversarial_correct"] / record["n_test"]
    assert not (Path(alone) / results.ATTACK_RECORD).exists()


def test_new_network_takes_the_records_of_all_attacks_away(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_attack([folder], attacks=["noise"])
    (Path(folder) / NAME).write_text(json.dumps(make_mapping(seed=2)))
    run_train([folder])
    assert not (Path(folder) / results.ATTACK_RECORDS["noise"]).exists()


def test_several_attacks_load_the_network_once_and_leave_what_each_would_alone(tmp_path, make_mapping, monkeypatch):
    mappings = [make_mapping(fgsm_epsilon=0.05), make_mapping(fgsm_epsilon=0.1), make_mapping(seed=2)]
    one_by_one, together = (
        [place(tmp_path, f"{way}{i}", mapping) for i, mapping in enumerate(mappings)] for way in ("alone", "all")
    )
    run_train([*one_by_one, *together])
    wanted = {"settings": {"pgd": {"steps": 3, "step_size": 0.5}}, "n_images": 200}
    for folder in one_by_one:
        for attack in ("noise", "pgd", "fgsm"):
            run_attack([folder], attacks=[attack], **wanted)
    loaded = []
    load = results.load_network
    monkeypatch.setattr(results, "load_network", lambda folder: loaded.append(folder) or load(folder))
    recorder = run_attack(together, attacks=["fgsm", "pgd", "noise"], **wanted)
    assert not recorder.errors
    assert len(loaded) == 2
    assert len(recorder.events) == 6
    assert [outputs(folder) for folder in together] == [outputs(folder) for folder in one_by_one]
    for name in ("fgsm: ", "pgd: ", "noise: ", "(200 test images spread evenly over all 359)"):
        assert name in recorder.done_["all0"]


def test_only_what_is_missing_of_several_attacks_is_done(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_attack([folder], attacks=["noise"])
    before = (Path(folder) / "noise.json").stat().st_mtime_ns
    done = run_attack([folder], attacks=["fgsm", "noise"]).done_["a"]
    assert done.startswith("attacked, fgsm: ")
    assert "noise" not in done
    assert (Path(folder) / "noise.json").stat().st_mtime_ns == before
    done = run_attack([folder], attacks=["fgsm", "noise"]).done_["a"]
    assert done.startswith("already attacked, fgsm: ")
    assert "; noise: " in done


def test_part_of_the_images_is_recorded_and_is_no_attack_on_others(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])

    def is_new(**options) -> bool:
        return run_attack([folder], attacks=["noise"], **options).done_["a"].startswith("attacked")

    assert is_new(n_images=100)
    record = results.load_attack(folder, "noise")
    assert (record["n_test"], record["subset"]) == (100, {"spread": 100, "of": 359})
    assert not is_new(n_images=100)
    assert is_new(n_images=50)
    assert is_new()
    assert "subset" not in results.load_attack(folder, "noise")
    # As many as there are, or more, are all.
    assert not is_new(n_images=359)
    assert not is_new(n_images=1000)
    assert is_new(n_images=358)


def test_part_of_the_images_gives_their_share_of_the_whole(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_attack([folder])
    with np.load(Path(folder) / results.EXAMPLES) as packed:
        smallest = packed["smallest_epsilon"]
    run_attack([folder], n_images=100)
    with np.load(Path(folder) / results.EXAMPLES) as packed:
        assert np.array_equal(packed["smallest_epsilon"], smallest[[359 * i // 100 for i in range(100)]])
        index, label, original = packed["index"], packed["label"], packed["original"]
    test = load_test("digits")
    assert np.array_equal(label, test.labels[index].numpy())
    assert np.array_equal(original, test.pixels()[index].numpy())


def test_a_record_of_the_first_images_is_read_as_that_and_is_no_attack_on_others(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_attack([folder], attacks=["noise"], n_images=100)
    path = Path(folder) / "noise.json"
    path.write_text(path.read_text().replace('"spread": 100', '"first": 100'))
    sample = Sample.of_record(results.load_attack(folder, "noise"))
    assert (str(sample), list(sample.rows())) == ("the first 100 of 359 test images", list(range(100)))
    assert run_attack([folder], attacks=["noise"], n_images=100).done_["a"].startswith("attacked")
    assert results.load_attack(folder, "noise")["subset"] == {"spread": 100, "of": 359}


def run_check(folders: list[str], **options) -> Recorder:
    recorder = Recorder()
    check_folders(folders, recorder, **options)
    return recorder


def test_findings_are_written_beside_the_network_they_are_about(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping(num_epochs=15))
    missing = str(tmp_path / "none")
    run_train([folder])
    recorder = run_check([folder, missing])
    assert recorder.done_["a"].startswith("checked, ")
    assert "none is not a folder" in str(recorder.errors["none"])
    found = results.load_checks(folder)
    assert found["model_sha256"] == results.load_train(folder)["model_sha256"]
    assert len(found["checks"]) == 9
    before = (Path(folder) / results.CHECKS).read_bytes()
    assert run_check([folder]).done_["a"].startswith("already checked, ")
    assert run_check([folder], force=True).done_["a"].startswith("checked, ")
    assert (Path(folder) / results.CHECKS).read_bytes() == before


def test_findings_name_the_engine_only_if_its_bytes_are_its_own(tmp_path, make_mapping):
    for seed, engine in enumerate(("tensor", "stacked")):
        folder = Path(place(tmp_path, engine, make_mapping(seed=seed)))
        run_train([str(folder)], engine=engine)
        run_check([str(folder)])
        engines = {record.get("engine") for record in (results.load_train(folder), results.load_checks(folder))}
        assert engines == {"stacked" if engine == "stacked" else None}


def test_new_network_takes_the_findings_away(tmp_path, make_mapping):
    folder = place(tmp_path, "a", make_mapping())
    run_train([folder])
    run_check([folder])
    (Path(folder) / NAME).write_text(json.dumps(make_mapping(seed=2)))
    run_train([folder])
    assert not (Path(folder) / results.CHECKS).exists()
    assert run_check([folder]).done_["a"].startswith("checked, ")
    # Changed behind our back: the findings are not about this network.
    model = Path(folder) / results.MODEL
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    assert "is not the network" in str(run_check([folder]).errors["a"])
