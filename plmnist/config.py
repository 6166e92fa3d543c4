"""One point of the study: which network to train, on what, and how to attack it.

Owns the names, types and ranges of the parameters. It imports neither NumPy nor torch, so that the script that lays out
a grid of parameters can use it at no cost.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from plmnist.errors import ConfigurationError, near_matches
from plmnist.registry import DATASETS

__all__ = [
    "ATTACKS",
    "CURVE",
    "ENGINES",
    "NETWORKS",
    "OPTIONAL",
    "REQUIRED",
    "STACKED",
    "TRAININGS",
    "Configuration",
    "can_be_stacked",
]

NETWORKS = ("mlp", "cnn")
TRAININGS = ("standard", "fgsm", "pgd")

STACKED = "stacked"
ENGINES = ("tensor", "lightning", STACKED)
"""Names of the engines that train. All but `STACKED` give the same bytes; see :mod:`plmnist.stacked_engine`."""

ATTACKS = ("fgsm", "pgd", "noise")
"""Names of the attacks, whose classes are in :data:`plmnist.perturbations.ATTACKS`: what the command line knows, what
has files of its own, and what belongs to the tables."""

CURVE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""Budgets, in pixel units, at which every network is attacked besides its own epsilon. Networks of ordinary training
are at or below chance at the largest, which is also that of the published robust networks on MNIST."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Parameters of one training and one attack.

    Values are checked and brought to their canonical type when the object is made, so that ``0`` and ``0.0`` name the
    same configuration.

    Attributes
    ----------
    dataset
        Name of a data set in :data:`plmnist.registry.DATASETS`.
    num_epochs
        Passes over the training images, at least 1.
    batch_size
        Images per optimiser step, at least 1; the last batch of an epoch may be smaller.
    hidden_size
        Width of both hidden layers, at least 1.
    learning_rate
        Step size of Adam, above 0.
    dropout_prob
        Probability that a hidden unit is dropped in a training step, in [0, 1).
    fgsm_epsilon
        L-infinity budget of the attack in pixel units (pixels lie in [0, 1]), in [0, 1].
    seed
        Root of all random streams, at least 0.
    network
        ``mlp``, two hidden layers, or ``cnn``, the convolutional network of PyTorch's FGSM tutorial.
    training
        ``standard`` trains on the images, ``fgsm`` and ``pgd`` on what that attack makes of them in each step.
    training_epsilon
        L-infinity budget of the training's attack in pixel units, in [0, 1]: above 0 exactly if there is one.

    Raises
    ------
    ConfigurationError
        If a value has the wrong type or lies outside its range.

    Notes
    -----
    The attributes with a default are optional wherever a configuration is read, and left out wherever it is written
    with the default: what was written before they existed keeps its meaning and its bytes.
    """

    dataset: str
    num_epochs: int
    batch_size: int
    hidden_size: int
    learning_rate: float
    dropout_prob: float
    fgsm_epsilon: float
    seed: int
    network: str = "mlp"
    training: str = "standard"
    training_epsilon: float = 0.0

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if (self.training == "standard") != (self.training_epsilon == 0):
            if self.training == "standard":
                raise ConfigurationError(
                    f"training_epsilon is {self.training_epsilon:g}, but standard training attacks nothing",
                    hint=f"Say training: {' or '.join(TRAININGS[1:])}; or leave training_epsilon out. A grid that "
                    "varies both is the sum of two grids.",
                )
            raise ConfigurationError(
                f"training {self.training!r} needs a training_epsilon above 0",
                hint="It is the budget of the attack in training, in pixel units: 0.1, say.",
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Configuration:
        """Make a configuration from a mapping that has its keys, perhaps without optional ones, and no others.

        Raises
        ------
        ConfigurationError
            If a key is missing or unknown (the message names near matches), or a value is not usable.
        """
        if not isinstance(mapping, Mapping):
            raise ConfigurationError(
                f"a configuration is a mapping of names to values, not {_describe(mapping)}",
                hint=f"Needed keys: {', '.join(REQUIRED)}.",
            )
        missing = [name for name in REQUIRED if name not in mapping]
        for key in mapping:
            if key not in _CHECKS:
                absent = [*missing, *(name for name in OPTIONAL if name not in mapping)]
                hint = near_matches(str(key), absent or _CHECKS)
                raise ConfigurationError(f"unknown configuration key {key!r}", hint=hint)
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise ConfigurationError(
                f"configuration key{plural} {', '.join(repr(name) for name in missing)} missing",
                hint=f"Needed keys: {', '.join(REQUIRED)}.",
            )
        return cls(**mapping)

    def to_mapping(self) -> dict[str, str | int | float]:
        """Return a dictionary of canonical values, in the order of the attributes, optional ones without defaults."""
        return {name: value for name, value in vars(self).items() if OPTIONAL.get(name) != value}

    def training_mapping(self) -> dict[str, str | int | float]:
        """Return the part that determines the trained network: everything but the attack's epsilon."""
        mapping = self.to_mapping()
        del mapping["fgsm_epsilon"]
        return mapping

    @property
    def training_key(self) -> str:
        """Text that is equal for two configurations exactly if they train the same network."""
        return json.dumps(self.training_mapping(), sort_keys=True)

    @property
    def trajectory_key(self) -> str:
        """Text that is equal for two configurations whose trainings differ in their length only.

        Random streams are keyed by seed and epoch and the learning rate is constant, so the shorter training is the
        beginning of the longer one, bit for bit.
        """
        mapping = self.training_mapping()
        del mapping["num_epochs"]
        return json.dumps(mapping, sort_keys=True)


def can_be_stacked(config: Configuration) -> bool:
    """Say whether the stacked engine can train a configuration: the perceptron, with standard training."""
    return (config.network, config.training) == ("mlp", "standard")


def _describe(value: object) -> str:
    text = repr(value)
    shown = text if len(text) <= 60 else f"{text[:59]}…"
    return f"{shown} ({type(value).__name__})"


def _integer(minimum: int, maximum: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value != int(value):
            raise ConfigurationError(f"{name} must be a whole number, not {_describe(value)}")
        if not minimum <= value <= maximum:
            limit = f"at least {minimum}" if value < minimum else f"at most {maximum}"
            raise ConfigurationError(f"{name} must be {limit}, not {value!r}")
        return int(value)

    return check


def _real(range_text: str, contains: Callable[[float], bool]) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not is_number:
            raise ConfigurationError(f"{name} must be a number, not {_describe(value)}")
        number = float(value)
        if not math.isfinite(number) or not contains(number):
            raise ConfigurationError(f"{name} must be {range_text}, not {value!r}")
        return number + 0.0  # -0.0 becomes 0.0

    return check


def _name(kind: str, known: Iterable[str]) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} must be the name of a {kind}, not {_describe(value)}")
        if value not in known:
            raise ConfigurationError(f"unknown {kind} {value!r}", hint=near_matches(value, known))
        return str(value)

    return check


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "dataset": _name("data set", DATASETS),
    "num_epochs": _integer(1, 10**6),
    "batch_size": _integer(1, 10**9),
    "hidden_size": _integer(1, 10**6),
    "learning_rate": _real("above 0", lambda x: x > 0),
    "dropout_prob": _real("at least 0 and below 1", lambda x: 0 <= x < 1),
    "fgsm_epsilon": _real("between 0 and 1, in pixel units", lambda x: 0 <= x <= 1),
    "seed": _integer(0, 2**64 - 1),
    "network": _name("network", NETWORKS),
    "training": _name("training", TRAININGS),
    "training_epsilon": _real("between 0 and 1, in pixel units", lambda x: 0 <= x <= 1),
}

REQUIRED = tuple(field.name for field in fields(Configuration) if field.default is MISSING)
"""Names of the parameters that every configuration has."""

OPTIONAL: dict[str, str | float] = {f.name: f.default for f in fields(Configuration) if f.default is not MISSING}
"""The other parameters and what holds where they are left out."""

assert tuple(_CHECKS) == tuple(field.name for field in fields(Configuration))
