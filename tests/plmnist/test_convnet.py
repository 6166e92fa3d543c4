from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from plmnist import cli, results
from plmnist.attacks import attack_fgsm
from plmnist.convnet import ConvMasks, ConvNet
from plmnist.data import ImageSet
from plmnist.errors import ConfigurationError
from plmnist.model import initialise
from plmnist.results import TrainFiles
from plmnist.sample import Sample
from plmnist.training import TrainingData, train, train_lengths


def make(num_pixels: int = 784, hidden_size: int = 128, drop: float = 0.5, seed: int = 1) -> ConvNet:
    network = ConvNet(num_pixels, hidden_size, drop, mean=0.25, std=0.5)
    initialise(network, seed)
    return network


def part(images: ImageSet, n: int) -> ImageSet:
    return images.at(Sample.spread(n, len(images)))


def published(network: ConvNet) -> nn.Sequential:
    """Return the network as pytorch/examples/mnist writes it, with the weights of ours; it takes normalised images."""
    theirs = nn.Sequential(
        nn.Conv2d(1, 32, 3, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(1), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip
    layers = [layer for layer in theirs if hasattr(layer, "weight")]
    for mine, layer in zip(network.layers, layers, strict=True):
        layer.load_state_dict(mine.state_dict())
    return theirs.eval()


def test_it_is_the_network_of_the_tutorial():
    network = make().eval()
    images = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(network(images), published(network)((images - 0.25) / 0.5), atol=1e-5)
    assert sum(p.numel() for p in network.parameters()) == 1199882


def test_folded_copy_computes_the_same_network():
    network = make().eval()
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    exact = published(network).double()((images.double() - 0.25) / 0.5)
    assert torch.allclose(network.folded()(images.double()), exact, rtol=1e-10, atol=1e-12)
    assert torch.allclose(network.folded(torch.float32)(images), network(images), atol=1e-5)


def test_initial_weights_have_the_distribution_of_pytorch_and_come_from_the_seed():
    torch.manual_seed(0)
    first, again, other = make(), make(), make(seed=2)
    for ours, theirs in zip(first.layers, (nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)), strict=False):
        bound = ours.weight[0].numel() ** -0.5
        assert ours.weight.abs().max() <= bound
        assert torch.isclose(ours.weight.std(), theirs.weight.std(), rtol=0.15)
        assert ours.bias.abs().max() <= bound
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.layer2.weight, other.layer2.weight)


def test_masks_come_batch_by_batch_from_streams_of_their_own():
    options = {"num_pixels": 64, "hidden_size": 32, "dropout_prob": 0.5}
    whole = ConvMasks(1, 1, **options).take(1000)
    pieces = ConvMasks(1, 1, **options)
    parts = [pieces.take(n) for n in (1, 500, 499)]
    for i, mask in enumerate(whole):
        assert torch.equal(torch.cat([part[i] for part in parts]), mask)
    assert [mask.shape for mask in whole] == [(1000, 256), (1000, 32)]
    assert [float((mask == 0).float().mean()) for mask in whole] == pytest.approx([0.25, 0.5], abs=0.01)
    assert [float(mask.mean()) for mask in whole] == pytest.approx([1, 1], abs=0.01)
    assert not torch.equal(ConvMasks(1, 2, **options).take(1000)[0], whole[0])
    assert ConvMasks(1, 1, **{**options, "dropout_prob": 0.0}).take(5) == ()


def test_masks_act_in_training_only():
    network, images = make(64, 16), torch.rand(4, 1, 8, 8)
    nothing = [torch.zeros(4, 256), torch.zeros(4, 16)]
    network.train()
    assert torch.equal(network(images, nothing), network.layer4.bias.expand(4, 10))
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images, nothing), network(images))


@pytest.mark.parametrize("num_pixels", [25, 48])
def test_images_that_are_too_small_or_not_square_are_refused(num_pixels):
    with pytest.raises(ConfigurationError, match=f"at least 6 x 6 pixels, not of {num_pixels} pixels"):
        ConvNet(num_pixels, 16)


CASES = [
    # data, batch size, hidden size, dropout, training
    ("digits", 64, 16, 0.5, "standard"),
    ("digits", 100, 33, 0.0, "fgsm"),
    ("digits", 64, 16, 0.1, "pgd"),
    ("mnist", 64, 128, 0.5, "standard"),
]


def settings(dataset: str, batch: int, hidden: int, drop: float, training: str) -> dict:
    budget = 0.0 if training == "standard" else 0.1
    return {
        "dataset": dataset, "num_epochs": 2 if dataset == "digits" else 1, "batch_size": batch, "hidden_size": hidden,
        "dropout_prob": drop, "training": training, "training_epsilon": budget, "network": "cnn",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_engines_give_the_same_bits_and_so_does_a_second_training(request, make_config, case):
    data = request.getfixturevalue("digits" if case[0] == "digits" else "mnist_slice")
    data = TrainingData(part(data.train, 700), part(data.test, 100))
    config = make_config(**settings(*case))
    torch.manual_seed(1)
    first = TrainFiles.of(train(config, data=data))
    torch.manual_seed(2)
    assert TrainFiles.of(train(config, data=data)) == first
    assert TrainFiles.of(train(config, data=data, engine="lightning")) == first


@pytest.mark.parametrize("engine", ["tensor", "lightning"])
def test_shorter_training_is_the_beginning_of_the_longer_one(digits, make_config, engine):
    data = TrainingData(part(digits.train, 300), digits.test)
    changes = settings("digits", 64, 16, 0.5, "fgsm")
    configs = [make_config(**{**changes, "num_epochs": n}) for n in (3, 1)]
    together = []
    train_lengths(configs, together.append, data=data, engine=engine)
    for trained in together:
        assert TrainFiles.of(trained) == TrainFiles.of(train(trained.config, data=data, engine=engine))


def test_it_learns_digits_better_than_the_perceptron_and_is_attacked(digits, make_config):
    base = {"num_epochs": 12, "batch_size": 32, "hidden_size": 64, "dropout_prob": 0.5}
    convolutional = train(make_config(**base, network="cnn"), data=digits)
    assert convolutional.test.acc > train(make_config(**base), data=digits).test.acc
    counts = attack_fgsm(convolutional.network, digits.test, [0.0, 0.1, 0.3]).counts
    accuracies = [c.adversarial_acc for c in counts]
    assert accuracies[0] == convolutional.test.acc
    assert accuracies[0] > accuracies[1] + 0.1
    assert accuracies[1] > accuracies[2]


def test_commands_train_attack_check_and_verify_it(tmp_path, capsys):
    folder = str(tmp_path / "a")
    options = ["--network", "cnn", "--hidden-size", "32", "--num-epochs", "4", "--batch-size", "64"]
    assert cli.main(["train", "--output", folder, *options]) == 0
    assert cli.main(["attack", folder, "--attack", "fgsm", "pgd", "noise", "--images", "60", "--steps", "3"]) == 0
    assert cli.main(["attack", folder, "--legacy-clamp"]) == 0
    cli.main(["check", folder])
    assert len(results.load_checks(folder)["checks"]) == 9
    assert cli.main(["verify", folder]) == 0, capsys.readouterr().out
    network = results.load_network(folder)
    assert type(network) is ConvNet
    assert not network.training
    assert json.loads((tmp_path / "a" / "train.json").read_bytes())["config"]["network"] == "cnn"
