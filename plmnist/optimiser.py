"""Adam as every engine of this package takes it: PyTorch's fused step with PyTorch's own defaults."""

from __future__ import annotations

import functools

import torch

__all__ = ["adam_step"]

adam_step = functools.partial(
    torch._fused_adam_,
    beta1=0.9,
    beta2=0.999,
    weight_decay=0.0,
    eps=1e-8,
    amsgrad=False,
    maximize=False,
)
"""Call it with parameters, gradients, both moments, ``[]``, step counts, and ``lr``; it changes them in place."""
