"""The convolutional network of PyTorch's FGSM tutorial, from pytorch/examples/mnist.

Two 3 x 3 convolutions (32 and 64 channels), a maximum over 2 x 2, dropout, a hidden layer, dropout, logits. A
configuration means the same as for the perceptron: `hidden_size` is the width of the hidden layer, `dropout_prob` the
probability that one of its units is dropped; after the convolutions half of it holds. The published network is
``hidden_size=128, dropout_prob=0.5`` on 28 x 28 pixels. Images of another size have another number of inputs to the
hidden layer, and nothing else changes: 64 x 12 x 12 for 28 x 28 pixels, 64 x 2 x 2 for 8 x 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from plmnist.errors import ConfigurationError
from plmnist.model import NUM_CLASSES, Classifier, Linear
from plmnist.streams import fill_mask, stream

__all__ = ["ConvMasks", "ConvNet"]

_CHANNELS = (32, 64)
_KERNEL = 3
_POOL = 2


class ConvNet(Classifier):
    """Convolutional network; see the description of this module.

    Parameters
    ----------
    num_pixels
        Pixels of one image, which is square and at least 6 x 6.
    hidden_size, dropout_prob, mean, std
        As for :class:`plmnist.model.Network`.

    Raises
    ------
    ConfigurationError
        If the images are not square or too small.

    Notes
    -----
    The parameters are left uninitialised: call :func:`plmnist.model.initialise` or load a state.
    """

    rows_at_once = 64

    def __init__(
        self, num_pixels: int, hidden_size: int, dropout_prob: float = 0.0, *, mean: float = 0.0, std: float = 1.0
    ) -> None:
        super().__init__(mean, std)
        self.dropout_prob = dropout_prob
        self.side = math.isqrt(num_pixels)
        units = pooled_units(num_pixels)
        self.layer1 = _Conv2d(1, _CHANNELS[0], _KERNEL)
        self.layer2 = _Conv2d(*_CHANNELS, _KERNEL)
        self.layer3 = Linear(units, hidden_size)
        self.layer4 = Linear(hidden_size, NUM_CLASSES)

    @property
    def layers(self) -> tuple[_Conv2d, _Conv2d, Linear, Linear]:
        """All layers with parameters, first one first."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    @property
    def num_pixels(self) -> int:
        """Pixels of one image."""
        return self.side**2

    def classify(self, normalised: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits of images that are normalised and flattened already, shape (N, H * W)."""
        images = normalised.view(-1, 1, self.side, self.side)
        # With the channels of a pixel side by side, the second convolution takes two thirds of the time.
        features = torch.relu(self.layer1(images).contiguous(memory_format=torch.channels_last))
        features = torch.relu(self.layer2(features))
        pooled = nn.functional.max_pool2d(features, _POOL).flatten(1)
        hidden = torch.relu(self.layer3(self.drop(pooled, self.dropout_prob / 2, masks, 0)))
        logits: Tensor = self.layer4(self.drop(hidden, self.dropout_prob, masks, 1))
        return logits


class ConvMasks:
    """The dropout masks of one epoch, batch after batch: there are 9,216 numbers for each image of 28 x 28 pixels."""

    def __init__(self, seed: int, epoch: int, *, num_pixels: int, hidden_size: int, dropout_prob: float) -> None:
        self._layers = [
            (stream(seed, f"dropout {i}", epoch=epoch), units, prob)
            for i, (units, prob) in enumerate(
                [(pooled_units(num_pixels), dropout_prob / 2), (hidden_size, dropout_prob)], start=1
            )
        ]
        self._has_dropout = dropout_prob > 0

    def take(self, n: int) -> tuple[Tensor, ...]:
        """Return the masks of the next `n` images, float32, shapes (n, units); none without dropout."""
        if not self._has_dropout:
            return ()
        masks = [np.empty((n, units), np.float32) for _, units, _ in self._layers]
        for mask, (source, _, prob) in zip(masks, self._layers, strict=True):
            fill_mask(source, prob, mask)
        return tuple(map(torch.from_numpy, masks))


class _Conv2d(nn.Conv2d):
    def reset_parameters(self) -> None:
        pass  # as plmnist.model.Linear


def pooled_units(num_pixels: int) -> int:
    """Return how many numbers the convolutions make of an image."""
    side = math.isqrt(num_pixels)
    pooled = (side - 2 * (_KERNEL - 1)) // _POOL
    if side**2 != num_pixels or pooled < 1:
        raise ConfigurationError(
            f"network 'cnn' takes square images of at least 6 x 6 pixels, not of {num_pixels} pixels",
            hint="Use network: mlp.",
        )
    return _CHANNELS[1] * pooled**2
