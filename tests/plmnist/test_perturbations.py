"""One contract for all attacks; an attack is added to `ATTACKS` and is tested here without another line."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from plmnist import attacks
from plmnist.attacks import attack_images, perturbed
from plmnist.perturbations import ATTACKS, PGD, FastGradientSign, Noise, Target
from plmnist.training import train

EPSILONS = [0.0, 0.02, 0.05, 0.1, 0.2]
ROUNDING = 1e-7  # of float32 numbers in [0, 1]
CONTRACT = [FastGradientSign(), PGD(steps=10, step_size=0.25, restarts=2), PGD(steps=4, random_start=False), Noise()]

every_attack = pytest.mark.parametrize("attack", CONTRACT, ids=lambda attack: f"{attack.name} {attack.settings()}")


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def victim(digits, make_config, request):
    epochs = 15 if request.param == "mlp" else 5
    config = make_config(
        network=request.param, num_epochs=epochs, hidden_size=32, batch_size=32, dropout_prob=0.1
    )  # fmt: skip
    return train(config, data=digits).network


def survivors(network, images, attack, epsilons=EPSILONS):
    return [
        counts.adversarial_correct_given_clean for counts in attack_images(network, images, epsilons, attack).counts
    ]


def test_every_attack_has_a_row_in_the_contract():
    assert {attack.name for attack in CONTRACT} == set(ATTACKS)


@every_attack
def test_images_stay_within_budget_and_range(victim, digits, attack):
    pixels = digits.test.pixels()
    altered = perturbed(victim, pixels, digits.test.labels, EPSILONS, attack)
    assert altered.dtype == torch.float32
    assert 0 <= altered.min() <= altered.max() <= 1
    for epsilon, images in zip(EPSILONS, altered, strict=True):
        assert (images - pixels).abs().max() <= epsilon + ROUNDING
        assert epsilon == 0 or not torch.equal(images, pixels)


@every_attack
def test_epsilon_zero_changes_no_bit(victim, digits, attack):
    pixels = digits.test.pixels()
    (altered,) = perturbed(victim, pixels, digits.test.labels, [0.0], attack)
    assert altered.numpy().tobytes() == pixels.numpy().tobytes()
    (counts,) = attack_images(victim, digits.test, [0.0], attack).counts
    assert counts.adversarial_correct == counts.clean_correct == counts.adversarial_correct_given_clean


@every_attack
def test_result_does_not_depend_on_the_batch_size_nor_on_the_order_of_epsilons(victim, digits, monkeypatch, attack):
    expected = attack_images(victim, digits.test, EPSILONS, attack)
    for rows in (1, 35, 10000):
        monkeypatch.setattr(attacks, "BATCH_ROWS", rows)
        found = attack_images(victim, digits.test, EPSILONS[::-1], attack)
        assert found.counts == expected.counts[::-1]
        assert found.n_zero_gradient == expected.n_zero_gradient
        assert torch.equal(found.smallest_epsilon, expected.smallest_epsilon)
        assert torch.equal(found.examples.adversarial, expected.examples.adversarial.flip(0))


@every_attack
def test_more_budget_fools_no_fewer_images(victim, digits, attack):
    result = attack_images(victim, digits.test, EPSILONS, attack)
    fooled = [int((result.smallest_epsilon <= epsilon).sum()) for epsilon in EPSILONS]
    assert fooled == sorted(fooled)
    assert fooled[0] == result.counts[0].n - result.counts[0].clean_correct
    # The smallest budget that fools is no more than any that does.
    for counts, n in zip(result.counts, fooled, strict=True):
        assert counts.n - counts.adversarial_correct <= n


@every_attack
def test_network_and_random_state_are_left_alone(victim, digits, attack, left_alone):
    with left_alone(victim) as network, torch.no_grad():
        first = attack_images(network, digits.test, [0.05], attack)
    # The mode the network was in has no influence.
    assert first.counts == attack_images(victim, digits.test, [0.05], attack).counts


@every_attack
def test_attack_and_images_can_be_used_again(victim, digits, attack):
    pixels = digits.test.pixels()
    once = perturbed(victim, pixels, digits.test.labels, EPSILONS, attack)
    assert torch.equal(pixels, digits.test.pixels())
    assert torch.equal(once, perturbed(victim, pixels, digits.test.labels, EPSILONS, attack))


def test_stronger_attacks_leave_fewer_survivors(victim, digits):
    single = survivors(victim, digits.test, FastGradientSign())
    noise = survivors(victim, digits.test, Noise())
    for pgd in (PGD(), PGD(restarts=3)):
        iterative = survivors(victim, digits.test, pgd)
        assert all(i <= s <= n for i, s, n in zip(iterative, single, noise, strict=True))
    assert noise[2] > single[2] + 20


def test_one_long_step_of_pgd_from_the_image_is_fgsm(victim, digits):
    pixels, labels = digits.test.pixels(), digits.test.labels
    pgd = perturbed(victim, pixels, labels, [0.05], PGD(steps=1, step_size=1.0, random_start=False))
    fgsm = perturbed(victim, pixels, labels, [0.05], FastGradientSign())
    right = victim(pixels).argmax(1) == labels
    assert torch.allclose(pgd[0, right], fgsm[0, right], atol=ROUNDING)
    assert torch.equal(pgd[0, ~right], pixels[~right])


def test_restarts_and_seeds_are_different_points(victim, digits):
    few = survivors(victim, digits.test, PGD(steps=1, step_size=0.5), [0.05])
    many = survivors(victim, digits.test, PGD(steps=1, step_size=0.5, restarts=8), [0.05])
    assert many < few
    pixels, labels = digits.test.pixels(), digits.test.labels
    noises = [perturbed(victim, pixels, labels, [0.1], Noise(seed)) for seed in (0, 1)]
    assert not torch.equal(*noises)


def test_folded_copy_computes_the_same_network(victim, digits):
    pixels = digits.test.pixels()
    twin = copy.deepcopy(victim).double()
    assert torch.allclose(victim.folded()(pixels.double()), twin(pixels.double()), rtol=1e-12, atol=1e-10)
    assert torch.allclose(victim.folded(torch.float32)(pixels), victim(pixels), rtol=1e-5, atol=1e-4)


def test_sign_of_the_folded_copy_is_that_of_the_plain_one(victim, digits):
    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = victim

        def forward(self, images):
            return self.network(images)

    pixels, labels = digits.test.pixels(), digits.test.labels
    assert torch.equal(
        Target(victim).gradient_sign(pixels, labels)[0], Target(Wrapped()).gradient_sign(pixels, labels)[0]
    )


@pytest.mark.parametrize("epsilon", [0.03, 0.06, 0.1])
def test_foolbox_finds_the_same_accuracy_with_pgd(victim, digits, epsilon):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries that foolbox imports use deprecated names
        foolbox = pytest.importorskip("foolbox", reason="foolbox is a test dependency")
        model = foolbox.PyTorchModel(victim.eval(), bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfPGD(abs_stepsize=epsilon / 8, steps=20, random_start=False)
        _, _, is_adv = attack(model, digits.test.pixels(), digits.test.labels, epsilons=[epsilon])
    mine = attack_images(victim, digits.test, [epsilon], PGD(steps=20, step_size=1 / 8, random_start=False))
    right = mine.clean_predictions == digits.test.labels
    # foolbox takes the gradient in float32, which may lead another way where a derivative is near zero.
    assert abs(int((~is_adv[0] & right).sum()) - mine.counts[0].adversarial_correct_given_clean) <= 1
