from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from plmnist import cli, course, results, stack, stack_draws, stacked_engine
from plmnist.batch import attack_folders, train_folders
from plmnist.config import STACKED, Configuration
from plmnist.device import DEVICE_VARIABLE
from plmnist.epochs import draw_epoch
from plmnist.errors import ConfigurationError, TrainingError
from plmnist.provenance import fingerprint, load_provenance
from plmnist.stacked_engine import stack_limit, train_stack
from plmnist.training import Trained, train
from plmnist.verification import verify_folder

MEAN_TOLERANCE = 1e-4
"""Mean difference of a weight that docs/gpu.md states for a few epochs; see there for what was measured."""


def trained_together(trajectories, data, **options) -> tuple[dict[tuple[int, int], Trained], dict[int, Exception]]:
    done: dict[tuple[int, int], Trained] = {}
    failed: dict[int, Exception] = {}

    def on_trained(position: int, trained: Trained) -> None:
        assert (position, trained.config.num_epochs) not in done
        done[position, trained.config.num_epochs] = trained

    def on_failed(position: int, error: Exception) -> None:
        assert position not in failed
        failed[position] = error

    train_stack(trajectories, on_trained, on_failed, data=data, **options)
    return done, failed


def mean_difference(first: Trained, second: Trained) -> float:
    pairs = zip(first.network.parameters(), second.network.parameters(), strict=True)
    return float(torch.cat([(a - b).detach().abs().flatten() for a, b in pairs]).mean())


def assert_near(first: Trained, second: Trained) -> None:
    assert first.config == second.config
    assert mean_difference(first, second) <= MEAN_TOLERANCE
    assert [row.epoch for row in first.history] == [row.epoch for row in second.history]
    pairs = [(first.test, second.test)]
    for one, other in zip(first.history, second.history, strict=True):
        pairs += [(one.train, other.train), (one.val, other.val)]
    for a, b in pairs:
        assert a.n == b.n
        assert abs(a.correct - b.correct) <= 0.01 * a.n
        assert a.loss == pytest.approx(b.loss, abs=1e-3)


SHAPES = [
    # data, batch size, hidden size: batches that do not divide the set, one that is larger than it, single images,
    # widths that do and do not fill bytes of masks.
    ("digits", 64, 16),
    ("digits", 100, 7),
    ("digits", 5000, 33),
    ("digits", 1, 3),
    ("mnist", 128, 64),
]


@pytest.mark.parametrize(("dataset", "batch", "hidden"), SHAPES)
def test_each_network_is_the_one_it_would_be_alone(request, make_config, dataset, batch, hidden):
    data = request.getfixturevalue("digits" if dataset == "digits" else "mnist_slice")
    # Everything that may differ does: seed, dropout, learning rate, length.
    points = [(1, 0.0, 2e-3, 2), (2, 0.5, 1e-3, 1), (3, 0.1, 5e-3, 3), (1, 0.1, 2e-3, 1), (1, 0.5, 2e-3, 3)]
    configs = [
        make_config(
            dataset=dataset,
            batch_size=batch,
            hidden_size=hidden,
            seed=seed,
            dropout_prob=drop,
            learning_rate=rate,
            num_epochs=1 if batch == 1 else epochs,
        )
        for seed, drop, rate, epochs in points
    ]
    done, failed = trained_together([[config] for config in configs], data)
    assert not failed
    for position, config in enumerate(configs):
        assert_near(done[position, config.num_epochs], train(config, data=data))


def test_long_trainings_stay_near_but_for_a_few_that_are_as_good(digits, make_config):
    points = [(seed, drop) for seed in (1, 2, 3) for drop in (0.0, 0.1, 0.5)]
    configs = [make_config(num_epochs=20, seed=seed, dropout_prob=drop) for seed, drop in points]
    done, _ = trained_together([[config] for config in configs], digits)
    differences = []
    for position, config in enumerate(configs):
        stacked, alone = done[position, 20], train(config, data=digits)
        differences.append(mean_difference(stacked, alone))
        assert abs(stacked.test.correct - alone.test.correct) <= 0.02 * alone.test.n
    assert np.median(differences) <= MEAN_TOLERANCE


def test_a_wrong_mask_or_order_would_leave_the_tolerance(digits, make_config, monkeypatch):
    config = make_config(dropout_prob=0.5)
    reference = train(config, data=digits)
    real = stack_draws.pack_mask
    monkeypatch.setattr(stack_draws, "pack_mask", lambda *arguments: real(*arguments)[::-1].copy())
    with pytest.raises(AssertionError):
        assert_near(trained_together([[config]], digits)[0][0, 2], reference)
    monkeypatch.setattr(stack_draws, "pack_mask", real)
    assert_near(trained_together([[config]], digits)[0][0, 2], reference)
    other = stack_draws.draw_order
    monkeypatch.setattr(stack_draws, "draw_order", lambda seed, split, epoch: other(seed, split, epoch).flip(0))
    with pytest.raises(AssertionError):
        assert_near(trained_together([[config]], digits)[0][0, 2], reference)


def test_lengths_of_one_training_share_it(digits, make_config):
    configs = [make_config(num_epochs=n, dropout_prob=0.5) for n in (4, 1, 3)]
    done, failed = trained_together([configs, [make_config(seed=9, num_epochs=2)]], digits)
    assert not failed
    assert list(done) == [(0, 1), (1, 2), (0, 3), (0, 4)]
    for config in configs:
        assert_near(done[0, config.num_epochs], train(config, data=digits))


def test_packed_masks_are_those_of_the_other_engines(digits, make_config):
    for hidden in (5, 8, 64):
        config = make_config(dropout_prob=0.3, hidden_size=hidden)
        split = digits.split(config.seed)
        packed = stack_draws._drawn_masks(config, split, 2).numpy()
        assert packed.shape == (2, len(split.train_rows), -(-hidden // 8))
        for bits, mask in zip(packed, draw_epoch(config, split, 2).masks, strict=True):
            kept = np.unpackbits(bits, axis=1, bitorder="little", count=hidden)
            assert np.array_equal(kept.astype(bool), mask.numpy() > 0)


def test_diverging_network_leaves_and_spares_the_others(digits, make_config):
    configs = [make_config(seed=1), make_config(seed=2, learning_rate=1e30), make_config(seed=3, num_epochs=3)]
    done, failed = trained_together([[config] for config in configs], digits)
    assert list(failed) == [1]
    assert isinstance(failed[1], TrainingError)
    assert "diverged in epoch 1" in str(failed[1])
    assert "smaller learning_rate than 1e+30" in failed[1].hint
    for position in (0, 2):
        config = configs[position]
        assert_near(done[position, config.num_epochs], train(config, data=digits))


def test_divergence_of_the_last_one_ends_the_training(digits, make_config):
    done, failed = trained_together([[make_config(learning_rate=1e30)]], digits)
    assert (done, list(failed)) == ({}, [0])


def test_what_a_callback_raises_fails_its_network_only(digits, make_config):
    done, failed = [], {}

    def on_trained(position: int, trained: Trained) -> None:
        if position == 0:
            raise OSError(28, "No space left on device")
        done.append(position)

    train_stack([[make_config(seed=1)], [make_config(seed=2)]], on_trained, failed.__setitem__, data=digits)
    assert (done, list(failed)) == ([1], [0])


def test_training_twice_gives_the_same_bytes_whatever_torch_s_random_state(digits, make_config):
    trajectories = [[make_config(seed=seed, dropout_prob=0.5)] for seed in (1, 2, 3)]
    torch.manual_seed(1)
    first, _ = trained_together(trajectories, digits)
    torch.manual_seed(2)
    second, _ = trained_together(trajectories, digits)
    for key, trained in first.items():
        assert results.TrainFiles.of(trained) == results.TrainFiles.of(second[key])


def test_every_tensor_is_made_on_the_device_of_the_stack(digits, make_config, monkeypatch):
    # As in test_device.py: what is made without naming a device is "meta" and mixes with nothing.
    trajectories = [[make_config(seed=1, dropout_prob=0.5)], [make_config(seed=2, learning_rate=1e-3, num_epochs=1)]]
    expected, _ = trained_together(trajectories, digits)

    class Course(course.Course):
        def __init__(self, *arguments, **options):
            with torch.device("cpu"):  # networks are made on the CPU
                super().__init__(*arguments, **options)

        def after_epoch(self, *arguments):
            with torch.device("cpu"):
                super().after_epoch(*arguments)

    monkeypatch.setattr(stack, "Course", Course)
    with torch.device("meta"):
        found, failed = trained_together(trajectories, digits)
    assert not failed
    assert found.keys() == expected.keys()
    for key, trained in expected.items():
        assert results.TrainFiles.of(trained) == results.TrainFiles.of(found[key])


def test_what_it_can_t_train_is_refused_and_spares_the_others(digits, make_config):
    attacked = make_config(training="fgsm", training_epsilon=0.1)
    done, failed = trained_together([[attacked], [make_config(num_epochs=1)]], digits)
    assert list(done) == [(1, 1)]
    assert isinstance(failed[0], ConfigurationError)
    assert "--engine tensor" in failed[0].hint


def test_one_network_can_be_trained_by_name(digits, make_config):
    trained = train(make_config(), data=digits, engine=STACKED)
    assert trained.engine == STACKED
    assert_near(trained, train(make_config(), data=digits))
    with pytest.raises(TrainingError, match="diverged in epoch 1"):
        train(make_config(learning_rate=1e30), data=digits, engine=STACKED)


def test_fewer_networks_fit_if_they_are_larger(digits, make_config):
    limits = [stack_limit(make_config(hidden_size=hidden), digits) for hidden in (16, 64, 4096)]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[2] >= 1
    assert stack_limit(make_config(hidden_size=10**6), digits) == 1


def test_what_torch_keeps_of_an_earlier_stack_is_free_for_the_next(digits, make_config, monkeypatch):
    kept: list[int] = []
    for name, answer in {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "empty_cache": kept.clear,
        "mem_get_info": lambda device: ((80 - sum(kept)) << 30, 80 << 30),
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    first = stack_limit(make_config(), digits, "cuda")
    kept.append(60)
    assert stack_limit(make_config(), digits, "cuda") == first


class Listener:
    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, folder: str) -> None:
        self.events.append(("started", Path(folder).name))

    def done(self, folder: str, summary: str) -> None:
        self.events.append(("done", Path(folder).name))

    def failed(self, folder: str, error: Exception) -> None:
        self.events.append((f"failed: {error}", Path(folder).name))


def place(root: Path, points: dict[str, dict]) -> list[str]:
    for name, mapping in points.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text(json.dumps(mapping))
    return [str(root / name) for name in points]


def grid(make_mapping) -> dict[str, dict]:
    return {
        f"e{epochs}-eps{epsilon}-s{seed}-h{hidden}": make_mapping(
            num_epochs=epochs, fgsm_epsilon=epsilon, seed=seed, hidden_size=hidden
        )
        for epochs in (1, 2)
        for epsilon in (0.0, 0.1)
        for seed in (1, 2)
        for hidden in (8, 16)
    }


def test_folders_of_one_shape_share_a_stack_and_each_is_reported_when_its_network_is_done(
    tmp_path, make_mapping, monkeypatch
):
    stacks = []
    real = stacked_engine.train_stack

    def counting(trajectories, *arguments, **options):
        stacks.append(sorted((t[0].hidden_size, t[0].seed, sorted({c.num_epochs for c in t})) for t in trajectories))
        return real(trajectories, *arguments, **options)

    monkeypatch.setattr(stacked_engine, "train_stack", counting)
    listener = Listener()
    folders = place(tmp_path, grid(make_mapping))
    train_folders(folders, listener, config_name="config.json", engine=STACKED)
    assert stacks == [[(8, 1, [1, 2]), (8, 2, [1, 2])], [(16, 1, [1, 2]), (16, 2, [1, 2])]]
    done = [name for event, name in listener.events if event == "done"]
    assert sorted(done) == sorted(Path(folder).name for folder in folders)
    for name in done:
        assert listener.events.index(("started", name)) < listener.events.index(("done", name))


def test_results_are_written_while_the_training_goes_on(tmp_path, make_mapping, monkeypatch):
    real = stack.Stack.train_epoch
    short_one_is_done = threading.Event()
    waited = []

    class Waiting(Listener):
        def done(self, folder: str, summary: str) -> None:
            super().done(folder, summary)
            if Path(folder).name == "short":
                short_one_is_done.set()

    def patient(its_stack):
        if len(its_stack.members) == 1:  # the second epoch, which the long one trains alone
            waited.append(short_one_is_done.wait(60))
        return real(its_stack)

    monkeypatch.setattr(stack.Stack, "train_epoch", patient)
    points = {"short": make_mapping(seed=1, num_epochs=1), "long": make_mapping(seed=2, num_epochs=2)}
    train_folders(place(tmp_path, points), Waiting(), config_name="config.json", engine=STACKED)
    assert waited == [True]


def test_what_a_listener_raises_is_not_lost_in_the_thread_that_told_it(tmp_path, make_mapping):
    class Broken(Listener):
        def done(self, folder: str, summary: str) -> None:
            raise BrokenPipeError("nobody listens")

    folders = place(tmp_path, {f"s{seed}": make_mapping(seed=seed) for seed in (1, 2)})
    with pytest.raises(BrokenPipeError, match="nobody listens"):
        train_folders(folders, Broken(), config_name="config.json", engine=STACKED)


def test_network_that_can_not_be_packed_fails_alone(tmp_path, make_mapping, monkeypatch):
    real = results.TrainFiles.of

    def faulty(trained: Trained) -> results.TrainFiles:
        if trained.config.seed == 1:
            raise RuntimeError("cosmic ray")
        return real(trained)

    monkeypatch.setattr(results.TrainFiles, "of", faulty)
    listener = Listener()
    points = {f"s{seed}": make_mapping(seed=seed) for seed in (1, 2)}
    train_folders(place(tmp_path, points), listener, config_name="config.json", engine=STACKED)
    ends = {name: event for event, name in listener.events if event != "started"}
    assert ends == {"s1": "failed: cosmic ray", "s2": "done"}


def test_more_results_than_may_wait_are_all_written(tmp_path, make_mapping, monkeypatch):
    monkeypatch.setattr("plmnist.batch.writers.THREADS", 1)
    folders = place(tmp_path, {f"s{seed}": make_mapping(seed=seed, hidden_size=2) for seed in range(9)})
    train_folders(folders, Listener(), config_name="config.json", engine=STACKED)
    assert [folder for folder in folders if verify_folder(folder)] == []


def test_folders_trained_in_a_stack_say_so_and_are_attacked(tmp_path, make_mapping):
    folders = place(tmp_path, {f"s{seed}": make_mapping(seed=seed) for seed in (1, 2)})
    listener = Listener()
    train_folders(folders, listener, config_name="config.json", engine=STACKED)
    assert {results.load_train(folder)["engine"] for folder in folders} == {STACKED}
    attack_folders(folders, listener, config_name="config.json")
    # Finished is finished: the other engines do not train it again, and a neighbour that needs it gets a copy.
    [copy] = place(tmp_path, {"copy": make_mapping(fgsm_epsilon=0.2)})
    train_folders([*folders, copy], listener, config_name="config.json")
    assert results.load_train(copy) == results.load_train(folders[0])
    assert not [event for event, _ in listener.events if event.startswith("failed")]


def test_equal_bytes_are_expected_of_no_network_of_a_stack(tmp_path, make_mapping):
    prints = {}
    for turn in "ab":
        for engine in ("tensor", STACKED):
            folders = place(tmp_path / turn / engine, {"s1": make_mapping()})
            train_folders(folders, Listener(), config_name="config.json", engine=engine)
            attack_folders(folders, Listener(), config_name="config.json")
            prints[turn, engine] = [fingerprint(folders[0], part) for part in ("train", "fgsm")]
    assert None not in prints["a", STACKED]
    assert prints["a", "tensor"] == prints["b", "tensor"]
    assert not set(prints["a", STACKED]) & set(prints["b", STACKED])


def test_stack_size_has_no_influence_beyond_the_tolerance(tmp_path, make_mapping, digits):
    points = {f"s{seed}": make_mapping(seed=seed) for seed in (1, 2, 3)}
    for size in (1, 2, 3):
        folders = place(tmp_path / str(size), points)
        train_folders(folders, Listener(), config_name="config.json", engine=STACKED, stack_size=size)
        for folder, mapping in zip(folders, points.values(), strict=True):
            reference = train(Configuration.from_mapping(mapping), data=digits)
            record, network = results.load_train(folder), results.load_network(folder)
            assert abs(record["test_correct"] - reference.test.correct) <= 0.01 * record["n_test"]
            assert mean_difference(replace(reference, network=network), reference) <= MEAN_TOLERANCE


def test_failures_stay_apart(tmp_path, make_mapping):
    points = {
        "good": make_mapping(),
        "diverging": make_mapping(learning_rate=1e30),
        "attacked": make_mapping(training="fgsm", training_epsilon=0.1),
        "no_data": make_mapping(dataset="kmnist"),
    }
    listener = Listener()
    train_folders(
        place(tmp_path, points), listener, config_name="config.json", engine=STACKED, data_dir=tmp_path / "none"
    )
    ends = {name: event for event, name in listener.events if event != "started"}
    assert ends["good"] == "done"
    assert "diverged in epoch 1" in ends["diverging"]
    assert ends["attacked"] == "done"
    assert "kmnist is in none of" in ends["no_data"]
    assert [event for event, _ in listener.events].count("started") == 4


def test_what_can_t_be_stacked_is_trained_alone_with_the_bytes_of_always(tmp_path, make_mapping, digits):
    mapping = make_mapping(training="fgsm", training_epsilon=0.1)
    folders = place(tmp_path, {"attacked": mapping, "good": make_mapping()})
    train_folders(folders, Listener(), config_name="config.json", engine=STACKED)
    expected = results.TrainFiles.of(train(Configuration.from_mapping(mapping), data=digits))
    assert (Path(folders[0]) / results.TRAIN_RECORD).read_bytes() == expected.record
    assert (Path(folders[0]) / results.MODEL).read_bytes() == expected.model
    assert results.load_train(folders[1])["engine"] == STACKED
    # The provenance names what trained each, not what was asked for.
    assert [load_provenance(folder, "train")["settings"]["engine"] for folder in folders] == ["tensor", STACKED]


def test_unexpected_error_fails_what_is_not_done_yet(tmp_path, make_mapping, monkeypatch):
    real = stack.Stack.train_epoch
    epochs = iter(range(10))

    def faulty(its_stack):
        if next(epochs) == 1:
            raise RuntimeError("cosmic ray")
        return real(its_stack)

    monkeypatch.setattr(stack.Stack, "train_epoch", faulty)
    listener = Listener()
    points = {"short": make_mapping(num_epochs=1), "long": make_mapping(num_epochs=2)}
    train_folders(place(tmp_path, points), listener, config_name="config.json", engine=STACKED)
    ends = {name: event for event, name in listener.events if event != "started"}
    assert ends == {"short": "done", "long": "failed: cosmic ray"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stack-size", "4"], "--stack-size needs --engine stacked"),
        (["--engine", "stacked", "--stack-size", "0"], "--stack-size must be a whole number, at least 1, not 0"),
        (["--engine", "stacked", "--stack-size", "many"], "--stack-size must be a whole number"),
        (["--engine", "staked"], "'stacked'"),
    ],
)
def test_wrong_options_are_named(tmp_path, make_mapping, capsys, options, words):
    folders = place(tmp_path, {"a": make_mapping()})
    assert cli.main(["train", *options, *folders]) == 2
    assert words in capsys.readouterr().err


def test_command_trains_a_stack(tmp_path, make_mapping, capsys, monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    folders = place(tmp_path, {f"s{seed}": make_mapping(seed=seed) for seed in (1, 2)})
    assert cli.main(["train", "--engine", "stacked", "--stack-size", "1", *folders]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 2 folders trained"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: the recorded step is not tested")
class TestOnCuda:
    """What only a GPU shows: the recorded step, locked memory, drawing ahead."""

    def test_each_network_is_near_the_one_trained_alone_on_the_processor(self, digits, make_config):
        configs = [
            make_config(hidden_size=64, seed=seed, dropout_prob=drop, learning_rate=rate, num_epochs=epochs)
            for seed, drop, rate, epochs in [(1, 0.0, 2e-3, 2), (2, 0.5, 1e-3, 1), (3, 0.1, 5e-3, 3), (4, 0.1, 2e-3, 3)]
        ]
        done, failed = trained_together([[config] for config in configs], digits, device="cuda")
        assert not failed
        near = 0
        for position, config in enumerate(configs):
            there, here = done[position, config.num_epochs], train(config, data=digits)
            assert there.device == torch.cuda.get_device_name()
            assert abs(there.test.correct - here.test.correct) <= 0.02 * here.test.n
            near += mean_difference(there, here) <= MEAN_TOLERANCE
        assert near >= 3  # one may have parted from its twin, as docs/gpu.md says

    def test_training_twice_gives_the_same_bytes(self, digits, make_config):
        trajectories = [[make_config(seed=seed, dropout_prob=0.5, num_epochs=seed)] for seed in (1, 2, 3)]
        first, _ = trained_together(trajectories, digits, device="cuda")
        second, _ = trained_together(trajectories, digits, device="cuda")
        for key, trained in first.items():
            assert results.TrainFiles.of(trained) == results.TrainFiles.of(second[key])

    def test_recorded_step_equals_the_step_itself(self, digits, make_config, monkeypatch):
        trajectories = [[make_config(seed=seed, dropout_prob=0.5)] for seed in (1, 2, 3)]
        recorded, _ = trained_together(trajectories, digits, device="cuda")
        monkeypatch.setattr(stack, "_repeatable", lambda step, device: step)
        plain, _ = trained_together(trajectories, digits, device="cuda")
        for key, trained in recorded.items():
            assert results.TrainFiles.of(trained) == results.TrainFiles.of(plain[key])
