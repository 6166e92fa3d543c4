from __future__ import annotations

import numpy as np
import torch

from plmnist.model import Network, initialise


def make(seed: int = 1, *, drop: float = 0.0) -> Network:
    network = Network(16, 8, drop, mean=0.25, std=0.5)
    initialise(network, seed)
    return network


def test_forward_is_the_textbook_formula():
    network = make().eval()
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    x = (images.numpy().reshape(5, 16).astype(np.float64) - 0.25) / 0.5
    for layer in (network.layer1, network.layer2):
        x = np.maximum(x @ layer.weight.detach().numpy().T.astype(np.float64) + layer.bias.detach().numpy(), 0)
    expected = x @ network.layer3.weight.detach().numpy().T.astype(np.float64) + network.layer3.bias.detach().numpy()
    assert np.allclose(network(images).detach().numpy(), expected, atol=1e-6)


def test_output_is_logits_not_probabilities():
    logits = make()(torch.rand(3, 1, 4, 4))
    assert logits.shape == (3, 10)
    assert not torch.allclose(logits.exp().sum(1), torch.ones(3))


def test_initial_weights_have_the_distribution_of_pytorch():
    network = Network(784, 512)
    initialise(network, 3)
    torch.manual_seed(0)
    for ours, inputs in ((network.layer1, 784), (network.layer2, 512)):
        theirs = torch.nn.Linear(inputs, 512)
        for mine, reference in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
            assert mine.abs().max() <= inputs**-0.5
            assert torch.isclose(mine.std(), reference.std(), rtol=0.1)
            assert abs(mine.mean()) < 5 * reference.std() / mine.numel() ** 0.5


def test_initial_weights_depend_on_the_seed_only():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = make(1), make(1), make(2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.layer1.weight, again.layer1.weight)
    assert not torch.equal(first.layer1.weight, other.layer1.weight)


def test_masks_act_in_training_only():
    network = make(drop=0.5)
    images, masks = torch.rand(4, 1, 4, 4), [torch.zeros(4, 8), torch.zeros(4, 8)]
    network.train()
    assert torch.equal(network(images, masks), network.layer3.bias.expand(4, 10))
    network.eval()
    assert not torch.equal(network(images, masks), network.layer3.bias.expand(4, 10))


def test_without_masks_training_draws_from_torch():
    network = make(drop=0.5).train()
    images = torch.rand(4, 1, 4, 4)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
