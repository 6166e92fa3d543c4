"""The network: normalisation, two hidden layers with dropout, logits.

One definition for both training engines and for the attacks. It takes pixels in [0, 1] and returns logits; the
normalisation is its first layer, so that whoever holds a network can't normalise wrongly or twice.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plmnist.streams import stream, uniform

__all__ = ["NUM_CLASSES", "Folded", "Network", "Normalisation", "initialise"]

NUM_CLASSES = 10


class Normalisation(nn.Module):
    """Subtract the mean and divide by the standard deviation of the training pixels."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return normalised pixels, any shape."""
        # One division instead of one per pixel, which takes twice as long.
        return (pixels - self.mean).mul_(self.std.reciprocal())


class _Linear(nn.Linear):
    # nn.Linear would draw weights from torch's global random state, only for them to be thrown away. (torch's own
    # skip_init does the same through meta tensors, whose machinery takes half a second to import.)
    def reset_parameters(self) -> None:
        pass


class Network(nn.Module):
    """Multilayer perceptron with two hidden layers of equal width.

    Parameters
    ----------
    num_pixels
        Pixels of one image, H * W.
    hidden_size
        Width of the hidden layers.
    dropout_prob
        Probability that a hidden unit is dropped in training.
    mean, std
        Normalisation constants, in pixel units.

    Notes
    -----
    The parameters are left uninitialised: call :func:`initialise` or load a state.
    """

    def __init__(
        self, num_pixels: int, hidden_size: int, dropout_prob: float = 0.0, *, mean: float = 0.0, std: float = 1.0
    ) -> None:
        super().__init__()
        self.dropout_prob = dropout_prob
        self.normalisation = Normalisation(mean, std)
        self.layer1 = _Linear(num_pixels, hidden_size)
        self.layer2 = _Linear(hidden_size, hidden_size)
        self.layer3 = _Linear(hidden_size, NUM_CLASSES)

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return logits, shape (N, 10).

        Parameters
        ----------
        images
            Pixels in [0, 1], shape (N, 1, H, W).
        masks
            In training, one dropout mask per hidden layer, shape (N, hidden_size): 0 for a dropped unit and the
            reciprocal of the keep probability otherwise. Without masks they are drawn from torch's random state. In
            evaluation mode nothing is dropped.
        """
        return self.classify(self.normalisation(images).flatten(1), masks)

    def folded(self, dtype: torch.dtype = torch.float64) -> Folded:
        """Return a frozen copy whose first layer normalises, for derivatives by the pixels and for many images."""
        return Folded(self, dtype)

    def classify(self, normalised: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits of images that are normalised and flattened already, shape (N, H * W)."""
        hidden = self._drop(torch.relu(self.layer1(normalised)), masks, 0)
        hidden = self._drop(torch.relu(self.layer2(hidden)), masks, 1)
        logits: Tensor = self.layer3(hidden)
        return logits

    def _drop(self, hidden: Tensor, masks: Sequence[Tensor] | None, layer: int) -> Tensor:
        if not self.training or self.dropout_prob == 0.0:
            return hidden
        if masks is None:
            return nn.functional.dropout(hidden, self.dropout_prob)
        return hidden * masks[layer]


class Folded(nn.Module):
    """A frozen copy of a network in evaluation mode, with the normalisation as part of its first layer.

    ``W (x - mean) / std + b`` is ``(W / std) x + (b - W mean / std)``: the same logits but for the last bits, without
    three passes over the pixels. It is folded in float64 and then rounded.
    """

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).double().eval().requires_grad_(False)
        normalisation, layer = self.network.normalisation, self.network.layer1
        with torch.no_grad():
            layer.weight.div_(normalisation.std)
            layer.bias.sub_(layer.weight.sum(1) * normalisation.mean)
        self.network.to(dtype)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (N, 10), for pixels in [0, 1], shape (N, 1, H, W)."""
        return self.network.classify(images.flatten(1))


def initialise(network: Network, seed: int) -> None:
    """Draw initial weights from the ``init`` stream of a seed.

    The distribution is PyTorch's default for linear layers: weights and biases uniform in +- 1 / sqrt(inputs).
    """
    source = stream(seed, "init")
    with torch.no_grad():
        for layer in (network.layer1, network.layer2, network.layer3):
            bound = layer.in_features**-0.5
            for parameter in (layer.weight, layer.bias):
                parameter.copy_(torch.from_numpy(uniform(source, tuple(parameter.shape), bound)))
