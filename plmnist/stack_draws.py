"""The random choices of a stack's networks, the same that each would have alone, drawn ahead of the training."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from plmnist.config import Configuration
from plmnist.epochs import draw_order
from plmnist.stack import Member, Stack
from plmnist.streams import pack_mask, stream
from plmnist.training_data import Split, TrainingData

__all__ = ["Draws", "split_ahead"]


def split_ahead(data: TrainingData, seeds: set[int]) -> None:
    """Draw the splits of many seeds by several threads: 2 ms of a core each."""
    data.split(min(seeds))  # what all splits share is computed once
    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(data.split, seeds))


class Draws:
    """The random choices of epochs, drawn ahead by other threads where a GPU does the rest.

    What networks have in common is drawn once: the order if they share a seed, the masks if they share the dropout too.
    """

    def __init__(self, device: torch.device) -> None:
        self._pool = ThreadPoolExecutor(_cores()) if device.type == "cuda" else None
        self._orders: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self._masks: dict[tuple[int, int, float], Callable[[], Tensor]] = {}

    def __enter__(self) -> Draws:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def prepare(self, epoch: int, members: Iterable[Member]) -> None:
        """Begin to draw what an epoch of these networks needs."""
        for member in members:
            config, split = member.config, member.split
            key = (epoch, config.seed)
            if key not in self._orders:
                self._orders[key] = self._later(_drawn_order, config, split, epoch)
            if config.dropout_prob > 0 and (*key, config.dropout_prob) not in self._masks:
                self._masks[*key, config.dropout_prob] = self._later(_drawn_masks, config, split, epoch)

    def load(self, stack: Stack, epoch: int) -> None:
        """Move the choices of an epoch to the device and forget them."""
        self.prepare(epoch, stack.members)
        for row, config in enumerate(member.config for member in stack.members):
            stack.order[row].copy_(self._orders[epoch, config.seed](), non_blocking=True)
            if stack.masks is not None and config.dropout_prob > 0:
                masks = self._masks[epoch, config.seed, config.dropout_prob]()
                stack.masks[:, row].copy_(masks, non_blocking=True)
            elif stack.masks is not None:
                stack.masks[:, row].fill_(0xFF)
        self._orders.clear()
        self._masks.clear()

    def _later(self, draw: Callable[..., Tensor], *arguments: object) -> Callable[[], Tensor]:
        if self._pool is None:
            return functools.cache(functools.partial(draw, *arguments))
        # From locked memory a copy to the device is fast and waits for nothing.
        return self._pool.submit(lambda: draw(*arguments).pin_memory()).result


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _drawn_order(config: Configuration, split: Split, epoch: int) -> Tensor:
    return draw_order(config.seed, split, epoch).int()


def _drawn_masks(config: Configuration, split: Split, epoch: int) -> Tensor:
    """Return the masks of :func:`plmnist.epochs.draw_epoch` as bits, uint8, shape (2, n_train, hidden_size / 8)."""
    source, shape = stream(config.seed, "dropout", epoch=epoch), (len(split.train_rows), config.hidden_size)
    return torch.from_numpy(np.stack([pack_mask(source, config.dropout_prob, shape) for _ in range(2)]))
