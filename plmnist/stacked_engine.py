"""Many networks of equal shape in one training: parameters stacked, every product a batched one.

On a GPU a network this small keeps the device busy for a few per cent of the time that it takes to start its kernels.
A stack of hundreds fills it. Each network has the streams, the batches, the learning rate, the dropout and the state of
Adam that it would have alone; it sees no other. It leaves the stack when its epochs are done or when it diverges.

Results are near those of the other engines, not equal bit for bit: a batched product may add in another order than a
single one, and training makes the last bits grow. ``docs/gpu.md`` says how near, as measured; records name the engine.
On the CPU this engine is no faster than training one network after the other.

The arithmetic is that of :mod:`plmnist.stack`, the random choices are drawn by :mod:`plmnist.stack_draws`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

from plmnist.config import Configuration
from plmnist.course import Trained
from plmnist.device import choose_device, repeatable
from plmnist.epochs import EpochRow
from plmnist.evaluation import EVALUATION_ROWS, Metrics, one_thread
from plmnist.model import NUM_CLASSES
from plmnist.stack import Images, Layout, Member, Stack, State
from plmnist.stack_draws import Draws, split_ahead
from plmnist.training_data import TrainingData

__all__ = ["stack_limit", "train_stack"]

_MEMORY_SHARE = 0.6
"""Of the free memory of a device, what a stack may take; the rest is for products' workspaces and evaluation."""

_CPU_MEMORY_BYTES = 2 << 30


def train_stack(
    trajectories: Sequence[Sequence[Configuration]],
    on_trained: Callable[[int, Trained], None],
    on_failed: Callable[[int, Exception], None],
    *,
    data: TrainingData,
    device: str = "cpu",
) -> None:
    """Train networks of equal shape together.

    Parameters
    ----------
    trajectories
        Each as for :func:`plmnist.training.train_lengths`; all have the same data set, batch size and hidden size.
        There should be no more of them than :func:`stack_limit` says.
    on_trained
        Called with the position of a trajectory and a result as soon as it exists.
    on_failed
        Called with the position of a trajectory and the reason why it gives no further results. Others go on.
    data
        The data set that all of them name.
    device
        As for :func:`plmnist.training.train`.
    """
    place = choose_device(device)
    with one_thread(), repeatable(place), torch.no_grad():
        if place.type == "cuda":
            split_ahead(data, {configs[0].seed for configs in trajectories})
        members = []
        for position, configs in enumerate(trajectories):
            try:
                member = Member(position, configs, on_trained, data=data, device=place)
            except Exception as error:
                on_failed(position, error)
            else:
                members.append(member)
        if members:
            _train(members, on_failed, place)


def stack_limit(config: Configuration, data: TrainingData, device: str = "cpu") -> int:
    """Return how many networks of a shape to train at once: as many as fit a share of the device's free memory."""
    place = choose_device(device)
    # What an earlier stack has left in torch's cache is free, and would not be counted as such.
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(place)[0] if place.type == "cuda" else _CPU_MEMORY_BYTES
    pixels, hidden = data.num_pixels, config.hidden_size
    n_train = len(data.split(config.seed).train_rows)
    shared = 4 * pixels * (len(data.train) + len(data.test))
    parameters = (pixels + hidden + NUM_CLASSES + 2) * hidden + NUM_CLASSES
    activations = pixels + 6 * hidden + 4 * NUM_CLASSES
    rows = min(config.batch_size, n_train) * 2 + EVALUATION_ROWS
    bytes_each = 4 * (4 * parameters + rows * activations + n_train) + 2 * n_train * -(-hidden // 8)
    return max(1, int((_MEMORY_SHARE * free - shared) / bytes_each))


def _train(members: list[Member], on_failed: Callable[[int, Exception], None], device: torch.device) -> None:
    # Networks with the same learning rate are neighbours, because Adam takes one for each call.
    members = sorted(members, key=lambda member: member.config.learning_rate)
    first = members[0]
    images = Images(first.course.data, device)
    layout = Layout(first.course.network)
    weights = torch.stack([layout.pack(member.course.network) for member in members])
    state = State.initial(weights.to(device))
    with Draws(device) as draws:
        stack = None
        for epoch in itertools.count(1):
            if stack is None:
                stack = Stack(members, images, layout, state)
            draws.load(stack, epoch)
            draws.prepare(epoch + 1, [member for member in members if member.config.num_epochs > epoch])
            train = stack.train_epoch()
            left = _report(stack, epoch, train, on_failed)
            if not left:
                return
            if len(left) < len(members):
                state = stack.state.rows(left)
                members = [members[row] for row in left]
                stack.close()
                stack = None  # before the next one is made, so that its memory is free


def _report(stack: Stack, epoch: int, train: list[Metrics], on_failed: Callable[[int, Exception], None]) -> list[int]:
    """Measure the networks and tell what has become of them; return the rows of those that go on."""
    members = stack.members
    val = stack.measure(stack.images.train, stack.images.train_labels, stack.val_rows)
    tests: Sequence[Metrics | None] = [None] * len(members)
    if any(member.course.is_due(epoch) for member in members):
        tests = stack.measure(stack.images.test, stack.images.test_labels)
    weights = stack.state.weights.cpu()
    left = []
    for row, (member, *metrics, test) in enumerate(zip(members, train, val, tests, strict=True)):
        stack.layout.unpack(weights[row], member.course.network)
        try:
            member.course.after_epoch(EpochRow(epoch, *metrics), test)
        except Exception as error:
            on_failed(member.position, error)
        else:
            if member.config.num_epochs > epoch:
                left.append(row)
    return left
