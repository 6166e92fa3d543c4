from __future__ import annotations

import pytest
import torch

from plmnist.attacks import attack_fgsm
from plmnist.legacy import attack_legacy, legacy_images
from plmnist.training import train


@pytest.fixture(scope="module")
def network(mnist_slice, make_config):
    config = make_config(dataset="mnist", num_epochs=3, batch_size=64, hidden_size=32, dropout_prob=0.0)
    return train(config, data=mnist_slice).network


def one_image_at_a_time(network, images, epsilon: float) -> tuple[int, int]:
    """The original's loop (fgsm.py of the tutorial), on normalised images and log-probabilities."""
    correct, total = 0, len(images)
    normalised = (images.pixels() - network.normalisation.mean) / network.normalisation.std
    for image, label in zip(normalised, images.labels, strict=True):
        data = image[None].flatten(1).clone().requires_grad_()
        output = torch.log_softmax(network.classify(data), 1)
        if output.argmax() != label:
            total -= 1
            continue
        torch.nn.functional.nll_loss(output, label[None]).backward()
        perturbed = torch.clamp(data + epsilon * data.grad.sign(), 0, 1)
        correct += int(torch.log_softmax(network.classify(perturbed), 1).argmax() == label)
    network.zero_grad()
    return correct, total


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.3])
def test_counts_are_those_of_the_original_s_loop(network, mnist_slice, epsilon):
    (counts,) = attack_legacy(network, mnist_slice.test, [epsilon])
    assert (counts.adversarial_correct_given_clean, counts.clean_correct) == one_image_at_a_time(
        network, mnist_slice.test, epsilon
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_background_and_ink_are_moved_whatever_epsilon_is(network, mnist_slice, epsilon):
    pixels = mnist_slice.test.pixels()
    _, after = legacy_images(network, pixels, mnist_slice.test.labels, epsilon)
    mean, std = network.normalisation.mean, network.normalisation.std
    moved = (after * std + mean).reshape(pixels.shape) - pixels
    background, ink = moved[pixels == 0], moved[pixels == 1]
    assert torch.allclose(background, mean.expand_as(background), atol=1e-6)
    assert torch.allclose(ink, (mean + std - 1).expand_as(ink), atol=1e-6)


def test_the_old_number_hardly_depends_on_epsilon_where_the_attack_succeeds(network, mnist_slice):
    old = [counts.acc for counts in attack_legacy(network, mnist_slice.test, [0.0, 0.05, 0.3])]
    new = [counts.adversarial_acc for counts in attack_fgsm(network, mnist_slice.test, [0.0, 0.05, 0.3]).counts]
    assert max(old) - min(old) < 0.5 * (max(new) - min(new))
