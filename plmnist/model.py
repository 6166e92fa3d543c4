"""What a network is, and the one of the tutorial: two hidden layers with dropout.

One definition for both training engines and for the attacks. It takes pixels in [0, 1] and returns logits; the
normalisation is its first layer, so that whoever holds a network can't normalise wrongly or twice.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plmnist.streams import stream, uniform

__all__ = ["NUM_CLASSES", "Classifier", "Folded", "Linear", "Network", "Normalisation", "initialise"]

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


class Linear(nn.Linear):
    """A linear layer whose parameters are left uninitialised.

    nn.Linear would draw them from torch's global random state, only for them to be thrown away. (torch's own skip_init
    does the same through meta tensors, whose machinery takes half a second to import.)
    """

    def reset_parameters(self) -> None:
        pass


class Classifier(nn.Module):
    """What every network of the study is: normalisation first, logits last, random choices given from outside.

    Parameters
    ----------
    mean, std
        Normalisation constants, in pixel units.
    """

    rows_at_once = 1536
    """Images per pass when many are classified or differentiated: few enough for the results to stay in the cache."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.normalisation = Normalisation(mean, std)

    def forward(self, images: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return logits, shape (N, 10).

        Parameters
        ----------
        images
            Pixels in [0, 1], shape (N, 1, H, W).
        masks
            In training, one dropout mask per layer with dropout, shape (N, units): 0 for a dropped unit and the
            reciprocal of the keep probability otherwise. Without masks they are drawn from torch's random state. In
            evaluation mode nothing is dropped.
        """
        return self.classify(self.normalisation(images).flatten(1), masks)

    def folded(self, dtype: torch.dtype = torch.float64) -> Folded:
        """Return a frozen copy whose first layer normalises, for derivatives by the pixels and for many images."""
        return Folded(self, dtype)

    def classify(self, normalised: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits of images that are normalised and flattened already, shape (N, H * W)."""
        raise NotImplementedError

    @property
    def layers(self) -> tuple[nn.Linear | nn.Conv2d, ...]:
        """All layers with parameters, first one first; the first adds no border to the image."""
        raise NotImplementedError

    @property
    def num_pixels(self) -> int:
        """Pixels of one image."""
        raise NotImplementedError

    def drop(self, units: Tensor, prob: float, masks: Sequence[Tensor] | None, which: int) -> Tensor:
        """Return units after dropout with one of the masks or, in training without masks, with torch's random state."""
        if not self.training or prob == 0.0:
            return units
        return nn.functional.dropout(units, prob) if masks is None else units * masks[which]


class Network(Classifier):
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
        super().__init__(mean, std)
        self.dropout_prob = dropout_prob
        self.layer1 = Linear(num_pixels, hidden_size)
        self.layer2 = Linear(hidden_size, hidden_size)
        self.layer3 = Linear(hidden_size, NUM_CLASSES)

    @property
    def layers(self) -> tuple[Linear, Linear, Linear]:
        """All layers with parameters, first one first."""
        return self.layer1, self.layer2, self.layer3

    @property
    def num_pixels(self) -> int:
        """Pixels of one image."""
        return self.layer1.in_features

    def classify(self, normalised: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits of images that are normalised and flattened already, shape (N, H * W)."""
        hidden = self.drop(torch.relu(self.layer1(normalised)), self.dropout_prob, masks, 0)
        hidden = self.drop(torch.relu(self.layer2(hidden)), self.dropout_prob, masks, 1)
        logits: Tensor = self.layer3(hidden)
        return logits


class Folded(nn.Module):
    """A frozen copy of a network in evaluation mode, with the normalisation as part of its first layer.

    ``W (x - mean) / std + b`` is ``(W / std) x + (b - W mean / std)``: the same logits but for the last bits, without
    three passes over the pixels. It is folded in float64 and then rounded.
    """

    def __init__(self, network: Classifier, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).double().eval().requires_grad_(False)
        normalisation, layer = self.network.normalisation, self.network.layers[0]
        assert layer.bias is not None
        with torch.no_grad():
            layer.weight.div_(normalisation.std)
            layer.bias.sub_(layer.weight.flatten(1).sum(1) * normalisation.mean)
        # Convolutions take less time with the channels of a pixel side by side; nothing else has channels.
        self.network.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (N, 10), for pixels in [0, 1], shape (N, 1, H, W)."""
        return self.network.classify(images.flatten(1))


def initialise(network: Classifier, seed: int) -> None:
    """Draw initial weights from the ``init`` stream of a seed.

    The distribution is PyTorch's default for linear and convolutional layers: weights and biases uniform in
    +- 1 / sqrt(inputs of one unit).
    """
    source = stream(seed, "init")
    with torch.no_grad():
        for layer in network.layers:
            assert layer.bias is not None
            bound = layer.weight[0].numel() ** -0.5
            for parameter in (layer.weight, layer.bias):
                parameter.copy_(torch.from_numpy(uniform(source, tuple(parameter.shape), bound)))
