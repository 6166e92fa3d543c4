from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from plmnist.adversary import Adversary, RandomStarts, adversary_of
from plmnist.attacks import attack_images
from plmnist.epochs import draw_epoch
from plmnist.evaluation import cross_entropy
from plmnist.perturbations import PGD, Target
from plmnist.results import TRAIN_RECORD, TrainFiles, complete_training, save_training
from plmnist.sample import Sample
from plmnist.training import train


def withstanding(network, images, epsilon: float) -> tuple[float, float]:
    """Return the accuracy on a set of images, and that under PGD."""
    pgd = PGD(steps=20, step_size=2.5 / 20)
    (counts,) = attack_images(network, images, [epsilon], pgd).counts
    return counts.clean_acc, counts.adversarial_acc


@pytest.mark.parametrize("training", ["fgsm", "pgd"])
def test_network_trained_against_an_attack_withstands_it_on_digits(digits, make_config, training):
    base = {"num_epochs": 30, "hidden_size": 64, "batch_size": 32, "dropout_prob": 0.0}
    standard = train(make_config(**base), data=digits)
    robust = train(make_config(**base, training=training, training_epsilon=0.1), data=digits)
    (clean, weak), (price, strong) = (withstanding(r.network, digits.test, 0.1) for r in (standard, robust))
    assert strong > weak + 0.15
    assert price > clean - 0.05


@pytest.mark.parametrize("training", ["fgsm", "pgd"])
def test_network_trained_against_an_attack_withstands_it_on_real_mnist(mnist, make_config, training):
    base = {"dataset": "mnist", "num_epochs": 2, "hidden_size": 64, "batch_size": 128, "dropout_prob": 0.0}
    standard = train(make_config(**base, learning_rate=1e-3), data=mnist)
    robust = train(make_config(**base, learning_rate=1e-3, training=training, training_epsilon=0.1), data=mnist)
    some = mnist.test.at(Sample.spread(500, len(mnist.test)))
    (clean, weak), (price, strong) = (withstanding(r.network, some, 0.1) for r in (standard, robust))
    assert weak < 0.2
    assert strong > 0.6
    assert price > clean - 0.05


def test_altered_images_stay_within_budget_and_range_and_raise_the_loss(digits, make_config):
    network = train(make_config(num_epochs=10), data=digits).network
    pixels, labels = digits.test.pixels(), digits.test.labels

    def gradient(moved):
        moved = moved.detach().requires_grad_()
        return torch.autograd.grad(cross_entropy(network(moved), labels), moved)[0]

    before = pixels.clone()
    losses = []
    for steps in (0, 1, 7):
        adversary = Adversary(0.1, steps, 1.25 if steps == 1 else 2.5 / 7, clip_start=steps != 1)
        altered = adversary.attack(pixels, RandomStarts(1, 1).take(pixels), gradient)
        assert 0 <= altered.min() <= altered.max() <= 1
        assert (altered - pixels).abs().max() <= 0.1 + 1e-7
        losses.append(cross_entropy(network(altered), labels).item())
    assert losses == sorted(losses)
    assert losses[1] > losses[0] + 0.1
    assert torch.equal(pixels, before)


def test_one_step_is_the_fast_attack_of_wong_rice_and_kolter(digits, make_config):
    """Their algorithm 3 in its own terms: delta = clip(delta + 1.25 eps sign(grad at x + delta), -eps, eps)."""
    network = train(make_config(num_epochs=5), data=digits).network
    adversary = adversary_of(make_config(training="fgsm", training_epsilon=0.08))
    assert adversary == Adversary(0.08, 1, 1.25, clip_start=False)
    pixels, labels = digits.test.pixels().double(), digits.test.labels
    starts = RandomStarts(3, 2).take(pixels).double()
    target = Target(network)

    def direction(moved):
        return target.gradient_sign(moved, labels)[0]

    delta = 0.08 * starts
    assert (pixels + delta).min() < -0.07  # the gradient is taken there, as they do
    delta = (delta + 1.25 * 0.08 * direction(pixels + delta)).clamp(-0.08, 0.08)
    expected = pixels + delta.maximum(-pixels).minimum(1 - pixels)
    assert torch.allclose(adversary.attack(pixels, starts, direction), expected, atol=1e-12)


def test_starts_are_uniform_and_depend_on_seed_and_epoch_alone():
    like = torch.empty(200, 1, 28, 28)
    values = RandomStarts(1, 1).take(like)
    assert -1 < values.min() < -0.999
    assert 0.999 < values.max() < 1
    assert abs(values.mean()) < 0.005
    assert abs(values.std() - 3**-0.5) < 0.005
    pieces = RandomStarts(1, 1)
    assert torch.equal(torch.cat([pieces.take(like[:n]) for n in (1, 99, 100)]), values)
    for seed, epoch in ((2, 1), (1, 2)):
        assert not torch.equal(RandomStarts(seed, epoch).take(like), values)


def test_adversarial_training_leaves_the_other_streams_alone(digits, make_config):
    plain, robust = make_config(), make_config(training="fgsm", training_epsilon=0.1)
    split = digits.split(1)
    first, second = draw_epoch(plain, split, 2), draw_epoch(robust, split, 2)
    assert torch.equal(first.order, second.order)
    assert all(np.array_equal(a, b) for a, b in zip(first.masks, second.masks, strict=True))


def test_record_says_how_the_training_attacked(digits, make_config):
    def record(**changes):
        return json.loads(TrainFiles.of(train(make_config(num_epochs=1, **changes), data=digits)).record)

    assert "adversary" not in record()
    of_pgd = record(training="pgd", training_epsilon=0.1)
    assert of_pgd["adversary"] == {"epsilon": 0.1, "steps": 7, "step_size": 2.5 / 7}
    of_fgsm = record(training="fgsm", training_epsilon=0.1)
    assert of_fgsm["adversary"] == {"epsilon": 0.1, "steps": 1, "step_size": 1.25, "clip_start": False}
    assert (of_pgd["config"]["training"], of_pgd["config"]["training_epsilon"]) == ("pgd", 0.1)


def test_training_with_another_adversary_is_not_taken_for_done(digits, make_config, tmp_path):
    config = make_config(num_epochs=1, training="fgsm", training_epsilon=0.1)
    save_training(tmp_path, TrainFiles.of(train(config, data=digits)))
    assert complete_training(tmp_path, config) is not None
    record = json.loads((tmp_path / TRAIN_RECORD).read_bytes())
    del record["adversary"]["clip_start"]
    (tmp_path / TRAIN_RECORD).write_text(json.dumps(record))
    assert complete_training(tmp_path, config) is None


def test_tiny_budget_is_nearly_standard_training(digits, make_config):
    plain = train(make_config(), data=digits)
    robust = train(make_config(training="fgsm", training_epsilon=1e-6), data=digits)
    for a, b in zip(plain.network.parameters(), robust.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)
