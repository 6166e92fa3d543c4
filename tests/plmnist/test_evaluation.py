from __future__ import annotations

import math

import pytest
import torch

from plmnist.data import ImageSet
from plmnist.evaluation import cross_entropy, evaluate, log_probabilities, logits_of, measure, one_thread
from plmnist.model import Network, initialise


def some_logits() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 5 * torch.randn(200, 10, generator=generator), torch.randint(0, 10, (200,), generator=generator)


def test_log_probabilities_equal_those_of_torch():
    logits, _ = some_logits()
    assert torch.allclose(log_probabilities(logits).t(), torch.log_softmax(logits, 1), atol=1e-6)


def test_cross_entropy_and_its_gradient_equal_those_of_torch():
    logits, labels = some_logits()
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss, reference = cross_entropy(ours, labels), torch.nn.functional.cross_entropy(theirs, labels)
    assert torch.allclose(loss, reference)
    loss.backward()
    reference.backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


def test_metrics_of_a_known_case():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    metrics = measure(log_probabilities(logits), torch.tensor([0, 1, 1]))
    expected = (math.log(1 + math.exp(-2)) + math.log(2) + math.log(1 + math.exp(-1))) / 3
    # Equal logits are answered with the first class, so the second image is wrong.
    assert (metrics.n, metrics.correct) == (3, 2)
    assert metrics.loss == pytest.approx(expected, rel=1e-6)
    assert metrics.acc == 2 / 3


def test_evaluation_leaves_the_network_as_it_was():
    network = Network(64, 8, 0.5)
    initialise(network, 1)
    network.train()
    network.layer2.eval()
    images = ImageSet(torch.randint(0, 17, (30, 1, 8, 8), dtype=torch.uint8), torch.randint(0, 10, (30,)), 16)
    state = torch.get_rng_state()
    first = evaluate(network, images)
    assert evaluate(network, images) == first
    assert [module.training for module in network.modules()] == [True, True, True, False, True]
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_logits_come_in_the_order_of_the_images():
    network = Network(64, 8)
    initialise(network, 1)
    images = ImageSet(torch.randint(0, 17, (1203, 1, 8, 8), dtype=torch.uint8), torch.zeros(1203).long(), 16)
    with torch.no_grad():
        assert torch.allclose(logits_of(network, images), network.eval()(images.pixels()), atol=1e-6)


def test_one_thread_is_for_a_while():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
