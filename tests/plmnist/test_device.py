"""Which device is chosen, that everything stays on it, and, where there is a CUDA device, what it computes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from plmnist import attacks, checks, cli, evaluation, legacy, results
from plmnist.attacks import AttackResult, attack_images
from plmnist.checks import check_evaluation
from plmnist.config import NETWORKS
from plmnist.data import ImageSet
from plmnist.device import DEVICE_VARIABLE, check_device, choose_device, device_of, repeatable
from plmnist.errors import ConfigurationError
from plmnist.evaluation import evaluate
from plmnist.legacy import attack_legacy
from plmnist.model import initialise
from plmnist.networks import build
from plmnist.perturbations import ATTACKS, PGD, FastGradientSign
from plmnist.training import ENGINES, Trained, TrainingData, train

WITHOUT_CUDA = "no CUDA device here: what only a GPU can show is not tested"
cuda = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason=WITHOUT_CUDA)]
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


def settings(attack: str) -> dict:
    return {"steps": 5, "step_size": 0.5} if attack == "pgd" else {}


def test_the_processor_is_the_default(monkeypatch):
    assert check_device(None) == "cpu"
    monkeypatch.setenv(DEVICE_VARIABLE, "")
    assert check_device(None) == "cpu"
    monkeypatch.setenv(DEVICE_VARIABLE, "auto")
    assert check_device(None) == "auto"
    assert check_device("cpu") == "cpu"


def test_misspelt_device_names_near_match_and_where_it_stands(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"^unknown device 'cudda'$") as caught:
        check_device("cudda")
    assert "'cuda'" in caught.value.hint
    monkeypatch.setenv(DEVICE_VARIABLE, "gpu")
    with pytest.raises(ConfigurationError, match=f"unknown device 'gpu' in {DEVICE_VARIABLE}"):
        check_device(None)


def test_auto_is_cuda_exactly_where_there_is_one():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@needs_no_cuda
@pytest.mark.parametrize("command", ["train", "attack", "check"])
def test_without_cuda_asking_for_it_is_one_clear_error(tmp_path, make_mapping, capsys, command):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(make_mapping(seed=ord(name))))
    folders = [str(tmp_path / name) for name in "ab"]
    if command != "train":
        assert cli.main(["train", *folders]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert cli.main([command, "--device", "cuda", *folders]) == 2
    error = capsys.readouterr().err
    assert error.count("there is no CUDA device") == 1
    assert "Use --device cpu, or auto." in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_environment_names_the_device_of_a_command(tmp_path, make_mapping, monkeypatch, capsys):
    (tmp_path / "config.json").write_text(json.dumps(make_mapping()))
    monkeypatch.setenv(DEVICE_VARIABLE, "tpu")
    assert cli.main(["train", str(tmp_path)]) == 2
    assert f"unknown device 'tpu' in {DEVICE_VARIABLE}" in capsys.readouterr().err


def test_asking_for_the_device_of_finished_work_imports_no_torch(tmp_path, make_mapping):
    (tmp_path / "config.json").write_text(json.dumps(make_mapping(num_epochs=1)))
    assert cli.main(["train", str(tmp_path)]) == 0
    code = (
        "import sys; from plmnist import cli; status = cli.main(['train', '--device', 'auto', sys.argv[1]])\n"
        "print(status, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert result.stdout.splitlines()[-1] == "0 False"


def test_records_of_the_processor_say_nothing_about_devices(tmp_path, make_mapping):
    (tmp_path / "config.json").write_text(json.dumps(make_mapping(num_epochs=1)))
    assert cli.main(["train", str(tmp_path), "--device", "cpu"]) == 0
    assert cli.main(["attack", str(tmp_path), "--device", "cpu"]) == 0
    assert "device" not in results.load_train(tmp_path)
    assert "device" not in results.load_attack(tmp_path)


def test_repeatable_leaves_the_processor_s_settings_alone():
    with repeatable(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()


def test_repeatable_puts_every_setting_back_and_imports_no_compiler():
    code = """
import sys, torch
from plmnist.device import repeatable
def settings():
    backends = torch.backends
    precision = backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision
    return torch.get_deterministic_debug_mode(), backends.cudnn.benchmark, *precision
torch.set_deterministic_debug_mode("warn")
torch.backends.cudnn.benchmark = True
before = settings()
with repeatable(torch.device("cuda", 0)):
    assert settings() == (2, False, "ieee", "ieee"), settings()
assert settings() == before and before[0] == 1, settings()
assert "torch._inductor" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


@pytest.mark.parametrize(
    "measure",
    [
        evaluate,
        lambda network, images: attack_images(network, images, [0.1], FastGradientSign()),
        lambda network, images: attack_legacy(network, images, [0.1]),
        check_evaluation,
    ],
    ids=["evaluate", "attack", "legacy", "check"],
)
def test_a_network_is_called_where_its_device_repeats_only(digits, make_config, monkeypatch, measure):
    network = train(make_config(num_epochs=1), data=digits).network
    depth, outside = 0, 0

    @contextlib.contextmanager
    def counting(device: torch.device):
        nonlocal depth
        depth += 1
        yield
        depth -= 1

    def called(*_: object) -> None:
        nonlocal outside
        outside += depth == 0

    for name in (attacks, checks, evaluation, legacy):
        monkeypatch.setattr(name, "repeatable", counting)
    network.layer3.register_forward_hook(called)
    measure(network, digits.test)
    assert outside == 0


# A tensor that is made without naming a device lands on torch's default device. Here that is "meta", whose tensors hold
# nothing and mix with no others, so one that is made beside the network instead of on its device ends the computation.


@pytest.mark.parametrize("training", ["standard", "fgsm", "pgd"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_makes_every_tensor_on_the_device_of_its_network(mnist_slice, make_config, name, training):
    # Enough for a whole batch and a part of one.
    data = TrainingData(first(mnist_slice.train, 80), first(mnist_slice.test, 10))
    epsilon = 0.0 if training == "standard" else 0.1
    config = make_config(
        dataset="mnist", num_epochs=1, network=name, training=training, training_epsilon=epsilon, dropout_prob=0.5
    )
    split = data.split(config.seed)
    rows, networks = [], []
    for _ in range(2):
        networks.append(build(name, 784, config.hidden_size, 0.5, mean=split.mean, std=split.std))
        initialise(networks[-1], config.seed)
    ENGINES["tensor"](networks[0], config, data, rows.append)
    with torch.device("meta"):
        assert torch.empty(1).is_meta
        ENGINES["tensor"](networks[1], config, data, rows.append)
    assert rows[0] == rows[1]
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(one, other)


def first(images: ImageSet, n: int) -> ImageSet:
    return ImageSet(images.images[:n], images.labels[:n], images.full_scale)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_make_every_tensor_on_the_device_of_the_network(digits, make_config, attack):
    network = train(make_config(), data=digits).network
    chosen = ATTACKS[attack](**settings(attack))
    expected = attack_images(network, digits.test, [0.0, 0.1], chosen)
    with torch.device("meta"):
        found = attack_images(network, digits.test, [0.0, 0.1], chosen)
        smallest = found.smallest_epsilon
    assert found.counts == expected.counts
    assert torch.equal(smallest, expected.smallest_epsilon)


def test_measuring_makes_every_tensor_on_the_device_of_the_network(digits, make_config):
    network = train(make_config(), data=digits).network
    expected = (
        evaluate(network, digits.test),
        attack_legacy(network, digits.test, [0.1]),
        check_evaluation(network, digits.test, pgd=PGD(steps=3, step_size=0.5)),
    )
    with torch.device("meta"):
        found = (
            evaluate(network, digits.test),
            attack_legacy(network, digits.test, [0.1]),
            check_evaluation(network, digits.test, pgd=PGD(steps=3, step_size=0.5)),
        )
    assert found == expected


class TestOnCuda:
    """What a GPU computes: near the processor, the same each time, said in the records."""

    pytestmark = cuda

    @pytest.mark.parametrize("engine", ["tensor", "lightning"])
    def test_training_is_near_the_processor_s(self, digits, make_config, engine):
        config = make_config(dropout_prob=0.25, hidden_size=64)
        there = train(config, data=digits, engine=engine, device="cuda")
        here = train(config, data=digits)
        assert there.device == torch.cuda.get_device_name()
        assert device_of(there.network).type == "cpu"
        assert_near(there, here)

    @pytest.mark.parametrize(("engine", "network"), [("tensor", "mlp"), ("lightning", "mlp"), ("tensor", "cnn")])
    def test_training_twice_gives_the_same_bytes(self, digits, make_config, engine, network):
        config = make_config(dropout_prob=0.25, hidden_size=64, network=network)
        first, second = (train(config, data=digits, engine=engine, device="cuda") for _ in range(2))
        assert results.TrainFiles.of(first) == results.TrainFiles.of(second)

    @pytest.mark.parametrize("attack", ATTACKS)
    def test_attack_fools_the_same_images_but_for_a_few(self, digits, make_config, attack):
        network = train(make_config(num_epochs=10), data=digits).network
        chosen = ATTACKS[attack](**settings(attack))

        def run(device: str) -> AttackResult:
            return attack_images(network.to(device), digits.test, [0.0, 0.05, 0.2], chosen)

        here, there, again = run("cpu"), run("cuda"), run("cuda")
        assert (there.predictions != here.predictions).sum() <= 3
        assert torch.equal(there.predictions, again.predictions)
        assert there.device == torch.cuda.get_device_name()

    def test_settings_are_as_before_afterwards(self):
        before = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
        with repeatable(torch.device("cuda", 0)):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert not torch.are_deterministic_algorithms_enabled()
        assert (torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision) == before

    def test_folders_say_where_their_results_were_made(self, tmp_path, make_mapping):
        (tmp_path / "config.json").write_text(json.dumps(make_mapping()))
        for command in ("train", "attack", "check"):
            status = cli.main([command, "--device", "cuda", str(tmp_path)])
            assert status == 0 or command == "check"
        name = torch.cuda.get_device_name()
        assert results.load_train(tmp_path)["device"] == results.load_attack(tmp_path)["device"] == name


def assert_near(first: Trained, second: Trained) -> None:
    """Two short trainings that differ in the order in which products are summed, by no more than docs/gpu.md says."""
    pairs = zip(first.network.parameters(), second.network.parameters(), strict=True)
    assert torch.cat([(a - b).detach().abs().flatten() for a, b in pairs]).mean() <= 1e-4
    for a, b in ((first.val, second.val), (first.test, second.test)):
        assert a.loss == pytest.approx(b.loss, abs=1e-3)
        assert abs(a.correct - b.correct) <= 0.01 * a.n
