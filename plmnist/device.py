"""Where the arithmetic happens: on the processor or on a CUDA device, chosen by name, and set up so that it repeats.

Data follow the network: whoever measures or attacks one moves the images to its device. Random numbers are drawn on the
processor from their streams and moved, so every device sees the same ones. A matrix product on another device adds in
another order, so its results are not bit for bit those of the processor: records then say where they were made.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from plmnist.errors import ConfigurationError, near_matches

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["DEVICES", "DEVICE_VARIABLE", "check_device", "choose_device", "device_name", "device_of", "repeatable"]

DEVICES = ("auto", "cpu", "cuda")
"""Names of devices; ``auto`` is ``cuda`` where there is one and ``cpu`` elsewhere."""

DEVICE_VARIABLE = "PLMNIST_DEVICE"
"""Environment variable with the device to use where none is named."""


def check_device(name: str | None) -> str:
    """Return a device's name if there is such a name, or raise; None asks the environment, and means ``cpu`` otherwise.

    The default is the processor, because whether a GPU happens to be visible should not decide about the bytes of a
    result. torch is not imported.

    Raises
    ------
    ConfigurationError
        If the name is none of :data:`DEVICES`.
    """
    chosen, source = name, ""
    if chosen is None:
        chosen, source = os.environ.get(DEVICE_VARIABLE) or "cpu", f" in {DEVICE_VARIABLE}"
    if chosen not in DEVICES:
        raise ConfigurationError(f"unknown device {chosen!r}{source}", hint=near_matches(chosen, DEVICES))
    return chosen


def choose_device(name: str | None) -> torch.device:
    """Return the device that a name stands for on this machine; see :func:`check_device`.

    Raises
    ------
    ConfigurationError
        If there is no such name, or no CUDA device although one is asked for.
    """
    import torch

    name = check_device(name)
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        build = f"this PyTorch ({torch.__version__}) " + (
            "is built without CUDA" if torch.version.cuda is None else "finds none"
        )
        raise ConfigurationError(f"there is no CUDA device: {build}", hint="Use --device cpu, or auto.")
    return torch.device("cuda", torch.cuda.current_device())


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's parameters; the processor for one that has none."""
    import torch

    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def device_name(device: torch.device) -> str:
    """Return what a record calls a device: ``cpu``, or the product name of the GPU."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Have a CUDA device give the same bits each time, in full single precision; on the processor nothing is changed.

    Deterministic algorithms only, a fixed workspace for cuBLAS, and no TF32, whose products have 10 bits of mantissa
    (PyTorch 2.13, "Reproducibility" and "CUDA semantics").
    """
    if device.type != "cuda":
        yield
        return
    import torch

    # Read once, when the process first multiplies on the device; so every product belongs in here.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
    )
    _set_precision("error", False, "ieee", "ieee")
    try:
        yield
    finally:
        _set_precision(*before)


def _set_precision(nondeterministic: int | str, benchmark: bool, products: str, convolutions: str) -> None:
    import torch

    # torch.use_deterministic_algorithms does the same and imports a compiler first, which takes a second.
    torch.set_deterministic_debug_mode(nondeterministic)
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cuda.matmul.fp32_precision = products
    torch.backends.cudnn.conv.fp32_precision = convolutions  # type: ignore[attr-defined]
