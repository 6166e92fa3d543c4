"""The parameters of the study in words, for tables, figures and the report.

CHANGE HERE: ``LABELS`` says what a parameter is called where a person reads it, and in which order they come.
"""

from collections.abc import Mapping
from typing import Any

from plmnist.config import Configuration

# All parameters but the seed; a row of the table is a combination of them.
PARAMETERS = [name for name in Configuration.__annotations__ if name != "seed"]

LABELS = {
    "training": "training",
    "network": "network",
    "num_epochs": "epochs",
    "batch_size": "batch size",
    "hidden_size": "hidden units per layer",
    "learning_rate": "learning rate",
    "dropout_prob": "dropout probability",
    "fgsm_epsilon": "epsilon of the attack (pixel units)",
}

STANDARD = "standard"
ATTACKS = {"none": "no attack", "fgsm": "FGSM", "pgd": "PGD", "noise": "uniform noise", "worst": "all attacks together"}


def with_training_in_words(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in which kind and budget of the training are one value, such as ``"PGD, epsilon 0.1"``."""
    merged = dict(parameters)
    budget = merged.pop("training_epsilon", 0.0)
    kind = merged["training"]
    merged["training"] = STANDARD if kind == STANDARD else f"{ATTACKS[kind]}, epsilon {budget:g}"
    return merged


def in_words(parameter: str, value: Any) -> str:
    """Return a parameter and its value as one phrase, such as ``"dropout probability 0.1"``."""
    if parameter == "training":
        return "standard training" if value == STANDARD else f"training with {value}"
    label = LABELS[parameter].removesuffix(" (pixel units)")
    return f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}"


def sort_key(value: Any) -> tuple[bool, Any]:
    """Sort standard training first, and other values as they are."""
    return (value != STANDARD, value)
