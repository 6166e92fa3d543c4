"""The networks by name.

Another one is a :class:`plmnist.model.Classifier` and an entry here and in :data:`plmnist.config.NETWORKS`.
"""

from __future__ import annotations

from plmnist.convnet import ConvNet
from plmnist.model import Classifier, Network

__all__ = ["TYPES", "build"]

TYPES: dict[str, type[Network] | type[ConvNet]] = {"mlp": Network, "cnn": ConvNet}


def build(
    name: str, num_pixels: int, hidden_size: int, dropout_prob: float, *, mean: float = 0.0, std: float = 1.0
) -> Classifier:
    """Return an uninitialised network; see the classes in :data:`TYPES` for what the numbers mean."""
    return TYPES[name](num_pixels, hidden_size, dropout_prob, mean=mean, std=std)
