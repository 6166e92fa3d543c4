from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plmnist import attacks
from plmnist.attacks import attack_fgsm, fgsm, gradient_sign
from plmnist.data import ImageSet
from plmnist.errors import ConfigurationError, PlmnistError
from plmnist.training import train

EPSILONS = [0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
ROUNDING = 1e-7  # of float32 numbers in [0, 1]


@pytest.fixture(scope="module")
def victim(digits, make_config):
    config = make_config(num_epochs=15, hidden_size=32, batch_size=32, dropout_prob=0.1)
    return train(config, data=digits).network


@pytest.fixture(scope="module")
def mnist_victim(mnist, make_config):
    config = make_config(
        dataset="mnist", num_epochs=1, batch_size=128, hidden_size=64, learning_rate=1e-3, dropout_prob=0.0
    )
    return train(config, data=mnist).network


class Linear(torch.nn.Module):
    """Softmax regression on 5 x 5 images."""

    def __init__(self, seed: int = 0, scale: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(scale * torch.randn(10, 25, generator=generator))
        self.bias = torch.nn.Parameter(offset * torch.randn(10, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight.t() + self.bias


class Inflated(torch.nn.Module):
    def __init__(self, network: torch.nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images) * self.factor


def linear_images(n: int = 400) -> ImageSet:
    """Images of grey values 64 to 191, so that an epsilon up to a quarter never meets the clipping."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(64, 192, (n, 1, 5, 5), generator=generator, dtype=torch.uint8)
    return ImageSet(images, torch.randint(0, 10, (n,), generator=generator), 255)


def test_two_class_linear_network_matches_the_closed_form():
    """The margin falls by exactly epsilon times the L1 norm of the difference of the weights."""
    network = Linear(scale=0.3, offset=0.1)
    with torch.no_grad():
        network.bias[2:] = -1e4  # leaves two classes
    images = linear_images()
    images.labels.remainder_(2)
    x, y = images.pixels().flatten(1).double(), images.labels
    difference = (network.weight[1] - network.weight[0]).double()
    margin = (2 * y - 1) * (x @ difference + (network.bias[1] - network.bias[0]).double())
    epsilons = np.linspace(0, 0.25, 26).tolist()
    expected = [int((margin > epsilon * difference.abs().sum()).sum()) for epsilon in epsilons]
    result = attack_fgsm(network, images, epsilons)
    assert [counts.adversarial_correct for counts in result.counts] == expected
    assert expected[0] > expected[-1]


def test_linear_network_s_gradient_is_the_softmax_formula():
    network, images = Linear(), linear_images()
    x = images.pixels().flatten(1).double()
    weight = network.weight.detach().double()
    probabilities = torch.softmax(x @ weight.t(), 1)
    gradient = (probabilities - torch.nn.functional.one_hot(images.labels, 10)) @ weight
    sign = gradient_sign(network, images.pixels(), images.labels).flatten(1)
    assert torch.equal(sign, gradient.sign().float())


@pytest.mark.parametrize("inflate", [1.0, 1e3, 1e6])
def test_sign_does_not_drown_in_confident_logits(victim, digits, inflate):
    pixels, labels = digits.test.pixels(), digits.test.labels
    inflated = Inflated(victim, inflate)
    if inflate > 1:
        # That the naive float32 gradient does drown is what makes this a test.
        x = pixels.clone().requires_grad_()
        torch.nn.functional.cross_entropy(inflated(x), labels, reduction="sum").backward()
        assert (x.grad.flatten(1).count_nonzero(1) == 0).float().mean() > 0.5
    result = attack_fgsm(inflated, digits.test, [0.05])
    assert result.n_zero_gradient == 0
    plain = attack_fgsm(victim, digits.test, [0.05]).counts[0]
    # Scaling logits makes the nearest rival all that counts, so the sign may differ a little from the plain one.
    assert result.counts[0].adversarial_correct <= plain.adversarial_correct + 0.03 * plain.n


def test_epsilon_zero_changes_no_bit(victim, digits):
    pixels = digits.test.pixels()
    (adversarial,) = fgsm(victim, pixels, digits.test.labels, [0.0])
    assert adversarial.numpy().tobytes() == pixels.numpy().tobytes()
    counts = attack_fgsm(victim, digits.test, [0.0]).counts[0]
    assert counts.adversarial_correct == counts.clean_correct == counts.adversarial_correct_given_clean


@pytest.mark.parametrize("epsilon", [0.001, 0.05, 0.3, 1.0])
def test_images_stay_within_budget_and_range(victim, digits, epsilon):
    pixels = digits.test.pixels()
    (adversarial,) = fgsm(victim, pixels, digits.test.labels, [epsilon])
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert (adversarial - pixels).abs().max() <= epsilon + ROUNDING
    assert adversarial.dtype == torch.float32


def test_free_pixels_move_by_the_whole_budget(victim, digits):
    pixels, labels = digits.test.pixels(), digits.test.labels
    sign = gradient_sign(victim, pixels, labels)
    moved = fgsm(victim, pixels, labels, [0.05])[0] - pixels
    inside = (pixels > 0.05) & (pixels < 0.95) & (sign != 0)
    assert inside.any()
    assert torch.allclose(moved[inside], 0.05 * sign[inside], atol=ROUNDING)


def test_accuracy_falls_with_epsilon_to_nothing(victim, digits):
    counts = attack_fgsm(victim, digits.test, EPSILONS).counts
    correct = [entry.adversarial_correct for entry in counts]
    assert correct == sorted(correct, reverse=True)
    assert correct[-1] < 0.1 * len(digits.test)


def test_attack_beats_random_signs(victim, digits):
    pixels, labels = digits.test.pixels(), digits.test.labels
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 2, pixels.shape, generator=generator) * 2.0 - 1
    with torch.no_grad():
        noisy = int((victim((pixels + 0.05 * noise).clamp(0, 1)).argmax(1) == labels).sum())
    assert attack_fgsm(victim, digits.test, [0.05]).counts[0].adversarial_correct < noisy - 20


def test_all_epsilons_at_once_equal_one_at_a_time(victim, digits):
    together = attack_fgsm(victim, digits.test, EPSILONS).counts
    assert together == tuple(attack_fgsm(victim, digits.test, [epsilon]).counts[0] for epsilon in EPSILONS)


@pytest.mark.parametrize("rows", [1, 7, 100, 10000])
def test_result_does_not_depend_on_the_batch_size(victim, digits, monkeypatch, rows):
    expected = attack_fgsm(victim, digits.test, EPSILONS)
    monkeypatch.setattr(attacks, "BATCH_ROWS", rows)
    found = attack_fgsm(victim, digits.test, EPSILONS)
    assert found.counts == expected.counts
    assert torch.equal(found.examples.adversarial, expected.examples.adversarial)


def test_counts_and_rates_fit_together(victim, digits):
    for counts in attack_fgsm(victim, digits.test, EPSILONS).counts:
        assert counts.n == 359
        assert counts.adversarial_correct_given_clean <= min(counts.clean_correct, counts.adversarial_correct)
        assert counts.adversarial_acc == counts.adversarial_correct / 359
        assert counts.adversarial_acc_given_clean == counts.adversarial_correct_given_clean / counts.clean_correct


def test_network_without_a_correct_answer_has_no_conditional_rate():
    images = linear_images(20)
    network = Linear()
    with torch.no_grad():
        network.bias[:] = torch.arange(10) * 1e4
    images.labels[:] = 0
    counts = attack_fgsm(network, images, [0.1]).counts[0]
    assert counts.clean_correct == 0
    assert counts.adversarial_acc_given_clean is None


def test_constant_network_has_zero_gradients_and_says_so():
    images = linear_images(20)
    result = attack_fgsm(Linear(scale=0.0, offset=1.0), images, [0.3])
    assert result.n_zero_gradient == 20
    assert torch.equal(result.examples.adversarial[0], result.examples.original)


def test_network_and_random_state_are_left_alone(victim, digits, left_alone):
    with left_alone(victim) as network, torch.no_grad():
        first = attack_fgsm(network, digits.test, [0.05])
        fgsm(network, digits.test.pixels(), digits.test.labels, [0.05])
    # The mode the network was in has no influence.
    assert first.counts == attack_fgsm(victim, digits.test, [0.05]).counts


def test_examples_are_the_first_test_image_of_each_class(victim, digits):
    result = attack_fgsm(victim, digits.test, [0.0, 0.1])
    examples = result.examples
    assert examples.label.tolist() == list(range(10))
    labels = digits.test.labels.tolist()
    assert examples.index.tolist() == [labels.index(digit) for digit in range(10)]
    assert torch.equal(examples.original, digits.test.pixels()[examples.index])
    with torch.no_grad():
        assert torch.equal(examples.clean_prediction, victim(examples.original).argmax(1))
        assert torch.equal(examples.adversarial_prediction[1], victim(examples.adversarial[1]).argmax(1))


@pytest.mark.parametrize("epsilons", [[-0.1], [0.1, 1.5], [float("nan")], []])
def test_impossible_epsilons_are_refused(victim, digits, epsilons):
    with pytest.raises(ConfigurationError, match="epsilon"):
        attack_fgsm(victim, digits.test, epsilons)


def test_network_with_broken_weights_is_refused(victim, digits):
    network = copy.deepcopy(victim)
    with torch.no_grad():
        network.layer1.weight[0, 0] = float("nan")
    with pytest.raises(PlmnistError, match="not finite"):
        attack_fgsm(network, digits.test, [0.1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), epsilon=st.floats(0, 1), scale=st.floats(1e-3, 1e3))
def test_any_linear_network_is_attacked_within_the_budget_and_never_helped(seed, epsilon, scale):
    network = Linear(seed=seed, scale=scale)
    images = linear_images(30)
    pixels = images.pixels()
    (adversarial,) = fgsm(network, pixels, images.labels, [epsilon])
    assert (adversarial - pixels).abs().max() <= epsilon + ROUNDING
    assert 0 <= adversarial.min() <= adversarial.max() <= 1
    # The loss of a linear network is convex in the pixels, so a step uphill never lowers it.
    with torch.no_grad():
        logits = [network(x).double() for x in (pixels, adversarial)]
    before, after = (torch.nn.functional.cross_entropy(z, images.labels, reduction="none") for z in logits)
    assert bool((after >= before - 1e-4 * (1 + scale)).all())


def foolbox_adversarials(network, images: ImageSet, epsilons):
    with warnings.catch_warnings():
        # Libraries that foolbox imports use names that Python and NumPy have deprecated.
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox", reason="foolbox is a test dependency")
        model = foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
        _, clipped, is_adv = attack(model, images.pixels(), images.labels, epsilons=epsilons)
    return clipped, is_adv


def test_foolbox_agrees_to_the_image_on_digits(victim, digits):
    clipped, is_adv = foolbox_adversarials(victim, digits.test, EPSILONS)
    ours = fgsm(victim, digits.test.pixels(), digits.test.labels, EPSILONS)
    for theirs, mine, epsilon in zip(clipped, ours, EPSILONS, strict=True):
        # foolbox takes the gradient in float32; pixels whose derivative is lost in rounding may differ.
        differs = (theirs - mine).abs() > ROUNDING
        assert differs.float().mean() < 1e-3, epsilon
    counts = attack_fgsm(victim, digits.test, EPSILONS).counts
    assert [359 - int(flags.sum()) for flags in is_adv] == [entry.adversarial_correct for entry in counts]


def test_foolbox_agrees_to_the_image_on_real_mnist(mnist_victim, mnist):
    part = ImageSet(mnist.test.images[:2000], mnist.test.labels[:2000], 255)
    epsilons = [0.0, 0.05, 0.1, 0.2]
    _, is_adv = foolbox_adversarials(mnist_victim, part, epsilons)
    counts = attack_fgsm(mnist_victim, part, epsilons).counts
    assert [2000 - int(flags.sum()) for flags in is_adv] == [entry.adversarial_correct for entry in counts]
