"""Networks of equal shape as one: parameters stacked, every product of a step a batched one.

A step touches no memory of the host: order and dropout masks of an epoch are drawn on the CPU, masks at one bit an
element, and moved ahead of it (:mod:`plmnist.stack_draws`); a counter on the device says which batch it is. So on a GPU
a whole step is one CUDA graph, started by one call.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plmnist.config import STACKED, Configuration, can_be_stacked
from plmnist.course import Course, Trained
from plmnist.errors import ConfigurationError
from plmnist.evaluation import EVALUATION_ROWS, Metrics
from plmnist.model import NUM_CLASSES
from plmnist.optimiser import adam_step
from plmnist.streams import mask_scale
from plmnist.training_data import Split, TrainingData

__all__ = ["Images", "Layout", "Member", "Stack", "State"]

_ALIGNMENT = 64
"""Parameters start at multiples of this many numbers, so that products can read whole vectors."""


class Member:
    """A network of a stack: its trajectory, its split, and its place in the order in which they were given."""

    def __init__(
        self,
        position: int,
        configs: Sequence[Configuration],
        on_trained: Callable[[int, Trained], None],
        *,
        data: TrainingData,
        device: torch.device,
    ) -> None:
        config = configs[0]
        if not can_be_stacked(config):
            raise ConfigurationError(
                f"the stacked engine can't train network {config.network!r} with training {config.training!r}",
                hint="It trains mlp with standard training. Use --engine tensor.",
            )
        self.position = position
        self.course = Course(
            configs, lambda trained: on_trained(position, trained), data=data, engine=STACKED, device=device
        )
        self.config = self.course.config
        self.split: Split = self.course.data.split(self.config.seed)


class Images:
    """The data set on the device: pixels in [0, 1], one row for each image."""

    def __init__(self, data: TrainingData, device: torch.device) -> None:
        self.train, self.test = (part.pixels().flatten(1).to(device) for part in (data.train, data.test))
        self.train_labels, self.test_labels = data.train.labels.to(device), data.test.labels.to(device)


class Layout:
    """Where the parameters of a network lie in its row of a stack."""

    def __init__(self, network: nn.Module) -> None:
        self._places: list[tuple[slice, torch.Size]] = []
        start = 0
        for parameter in network.parameters():
            self._places.append((slice(start, start + parameter.numel()), parameter.shape))
            start += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        self.width = start

    def pack(self, network: nn.Module) -> Tensor:
        """Return the row of a network, shape (width,)."""
        row = torch.zeros(self.width, device="cpu")
        for (place, _), parameter in zip(self._places, network.parameters(), strict=True):
            row[place] = parameter.flatten()
        return row

    def unpack(self, row: Tensor, network: nn.Module) -> None:
        """Copy a row into a network."""
        for (place, shape), parameter in zip(self._places, network.parameters(), strict=True):
            parameter.copy_(row[place].view(shape))

    def views(self, rows: Tensor) -> list[Tensor]:
        """Return for each parameter a view of all rows, shape (K, *shape)."""
        return [rows[:, place].view(len(rows), *shape) for place, shape in self._places]


@dataclass
class State:
    """Weights and what Adam knows about them, one row for each network, and the number of steps done."""

    weights: Tensor
    means: Tensor
    squares: Tensor
    count: Tensor

    @classmethod
    def initial(cls, weights: Tensor) -> State:
        zeros = torch.zeros_like(weights)
        return cls(weights, zeros, zeros.clone(), torch.zeros((), device=weights.device))

    def rows(self, rows: list[int]) -> State:
        index = torch.tensor(rows, device=self.weights.device)
        return State(self.weights[index], self.means[index], self.squares[index], self.count)

    def copy_(self, other: State) -> None:
        for mine, its in zip(vars(self).values(), vars(other).values(), strict=True):
            mine.copy_(its)


class Stack:
    """Networks that are trained together, and the memory in which that happens.

    Parameters
    ----------
    members
        The networks, K of them, ordered by learning rate.
    images, layout
        What they are trained on, and how they are stored.
    state
        Where they start; it is copied.
    """

    def __init__(self, members: Sequence[Member], images: Images, layout: Layout, state: State) -> None:
        self.members, self.images, self.layout = members, images, layout
        self._device = device = state.weights.device
        config, split = members[0].config, members[0].split
        k, n = len(members), len(split.train_rows)
        self.state = State.initial(torch.zeros_like(state.weights))
        self._parameters = layout.views(self.state.weights)
        self._gradients = torch.zeros_like(state.weights)
        self.order = torch.zeros(k, n, dtype=torch.int32, device=device)
        self.masks = None
        if any(member.config.dropout_prob > 0 for member in members):
            self.masks = torch.zeros(2, k, n, -(-config.hidden_size // 8), dtype=torch.uint8, device=device)
        self.val_rows = torch.stack([member.split.val_rows for member in members]).to(device, torch.int32)
        moments = torch.tensor([[m.split.mean, m.split.std] for m in members], dtype=torch.float32, device="cpu")
        # As in TrainingData.normalised, on the CPU: the same pixels to the bit.
        self._mean, self._factor = (
            column[:, None, None].to(device) for column in (moments[:, 0], moments[:, 1].reciprocal())
        )
        scales = torch.tensor([float(mask_scale(m.config.dropout_prob)) for m in members], device="cpu")
        self._scale = scales[:, None, None].to(device)
        self._bits = 2 ** torch.arange(8, dtype=torch.uint8, device=device)
        self._classes = torch.arange(NUM_CLASSES, device=device)[None, :, None]
        self._cursor = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros(k, dtype=torch.float64, device=device)
        self._correct = torch.zeros(k, dtype=torch.int64, device=device)
        batch_size = min(config.batch_size, n)
        rounds = [(n // batch_size, batch_size), (1, n % batch_size)]
        self._steps = [(times, _repeatable(self._make_step(size), device)) for times, size in rounds if size]
        # Only now: making a step that can be repeated has run it.
        self.state.copy_(state)

    def close(self) -> None:
        """Let go of the steps, whose memory would otherwise live as long as the stack that they refer to."""
        self._steps.clear()

    def train_epoch(self) -> list[Metrics]:
        """Train for an epoch in the order, and with the masks, that are loaded; return the metrics on the way."""
        self._cursor.zero_()
        self._loss.zero_()
        self._correct.zero_()
        for times, step in self._steps:
            for _ in range(times):
                step()
        return self._metrics(self.order.shape[1])

    def measure(self, pixels: Tensor, labels: Tensor, rows: Tensor | None = None) -> list[Metrics]:
        """Return the metrics of each network, on rows of the images of its own, shape (K, n), or on all of them."""
        k = len(self.members)
        w1, b1, w2, b2, w3, b3 = self._parameters
        n = len(labels) if rows is None else rows.shape[1]
        self._loss.zero_()
        self._correct.zero_()
        for start in range(0, n, EVALUATION_ROWS):
            here = slice(start, min(start + EVALUATION_ROWS, n))
            if rows is None:
                x, targets = pixels[here] - self._mean, labels[here].expand(k, -1)
            else:
                chosen = rows[:, here].flatten()
                x = pixels.index_select(0, chosen).view(k, -1, pixels.shape[1]).sub_(self._mean)
                targets = labels.index_select(0, chosen).view(k, -1)
            hidden = torch.baddbmm(b1[:, None], x.mul_(self._factor), w1.mT).relu_()
            hidden = torch.baddbmm(b2[:, None], hidden, w2.mT).relu_()
            self._count(torch.log_softmax(torch.baddbmm(b3[:, :, None], w3, hidden.mT), 1), targets)
        return self._metrics(n)

    def _count(self, log_probs: Tensor, targets: Tensor) -> None:
        """Add to loss and correct answers what a batch shows; (K, classes, images) and (K, images)."""
        self._loss.sub_(log_probs.gather(1, targets[:, None]).double().sum((1, 2)))
        self._correct.add_((log_probs.argmax(1) == targets).sum(1))

    def _metrics(self, n: int) -> list[Metrics]:
        pairs = zip(self._correct.tolist(), self._loss.tolist(), strict=True)
        return [Metrics(n=n, correct=correct, loss=loss / n) for correct, loss in pairs]

    def _make_step(self, n: int) -> Callable[[], None]:
        """Return a function that does one optimiser step on the next `n` images of each network's order."""
        k, device = len(self.members), self._device
        num_pixels, hidden_size = self.images.train.shape[1], self.members[0].config.hidden_size
        w1, b1, w2, b2, w3, b3 = self._parameters
        g_w1, g_b1, g_w2, g_b2, g_w3, g_b3 = self.layout.views(self._gradients)
        offsets = torch.arange(n, device=device)
        position = torch.empty(n, dtype=torch.int64, device=device)
        x = torch.empty(k, n, num_pixels, device=device)
        h1, h2, d_h1, d_h2 = (torch.empty(k, n, hidden_size, device=device) for _ in range(4))
        # Classes first, as in plmnist.evaluation.log_probabilities.
        logits, log_probs, d_logits = (torch.empty(k, NUM_CLASSES, n, device=device) for _ in range(3))

        def step() -> None:
            torch.add(offsets, self._cursor, out=position)
            rows = self.order.index_select(1, position).flatten()
            torch.index_select(self.images.train, 0, rows, out=x.view(k * n, num_pixels))
            x.sub_(self._mean).mul_(self._factor)
            targets = self.images.train_labels.index_select(0, rows).view(k, n)
            mask1, mask2 = self._unpacked(position)

            torch.baddbmm(b1[:, None], x, w1.mT, out=h1).relu_()
            if mask1 is not None:
                h1.mul_(mask1)
            torch.baddbmm(b2[:, None], h1, w2.mT, out=h2).relu_()
            if mask2 is not None:
                h2.mul_(mask2)
            torch.baddbmm(b3[:, :, None], w3, h2.mT, out=logits)
            torch._log_softmax(logits, 1, False, out=log_probs)
            self._count(log_probs, targets)

            d_log_probs = (targets[:, None] == self._classes) * (-1.0 / n)
            torch._log_softmax_backward_data(d_log_probs, log_probs, 1, torch.float32, out=d_logits)
            torch.bmm(d_logits, h2, out=g_w3)
            torch.sum(d_logits, 2, out=g_b3)
            torch.bmm(d_logits.mT, w3, out=d_h2)
            if mask2 is not None:
                d_h2.mul_(mask2)
            d_h2.mul_(h2 > 0)
            torch.bmm(d_h2.mT, h1, out=g_w2)
            torch.sum(d_h2, 1, out=g_b2)
            torch.bmm(d_h2, w2, out=d_h1)
            if mask1 is not None:
                d_h1.mul_(mask1)
            d_h1.mul_(h1 > 0)
            torch.bmm(d_h1.mT, x, out=g_w1)
            torch.sum(d_h1, 1, out=g_b1)

            self._adam()
            self._cursor.add_(n)

        return step

    def _unpacked(self, position: Tensor) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return the masks for places in the order, float32, shape (K, n, hidden_size)."""
        if self.masks is None:
            return None, None
        packed = self.masks.index_select(2, position)
        kept = (packed[..., None] & self._bits).ne_(0).flatten(3)[..., : self.members[0].config.hidden_size]
        mask1, mask2 = kept * self._scale
        return mask1, mask2

    def _adam(self) -> None:
        state = self.state
        state.count.add_(1)
        start = 0
        for rate, group in itertools.groupby(self.members, key=lambda member: member.config.learning_rate):
            rows = slice(start, start + sum(1 for _ in group))
            start = rows.stop
            adam_step(
                [state.weights[rows]],
                [self._gradients[rows]],
                [state.means[rows]],
                [state.squares[rows]],
                [],
                [state.count],
                lr=rate,
            )


def _repeatable(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return a function that does a step; on a GPU it replays a recording, which is made here by running the step."""
    if device.type != "cuda":
        return step
    # Run once aside, as the recording of a graph demands, so that libraries have set themselves up.
    here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        step()
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Threads that draw for the next epoch lock memory meanwhile, which would spoil a recording of all threads.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step()

    def replay(recorded: Callable[[], None] = step) -> None:  # the recording uses the memory that the step holds
        graph.replay()

    return replay
