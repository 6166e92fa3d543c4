"""The default engine: a training loop over tensors that stay in memory.

Forward and backward pass are written out and use the very operations that autograd would, in the same order, so the
weights equal those of the Lightning engine bit for bit. What is saved is everything around the arithmetic: no graph, no
allocation in a step (results go to fixed buffers), no optimiser object, metrics once per epoch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plmnist.adversary import RandomStarts, adversary_of
from plmnist.config import Configuration
from plmnist.data import ImageSet
from plmnist.device import device_of
from plmnist.epochs import EpochRow, draw_epoch
from plmnist.evaluation import EVALUATION_ROWS, Metrics, log_probabilities, measure
from plmnist.model import NUM_CLASSES, Network
from plmnist.optimiser import adam_step
from plmnist.training_data import TrainingData

__all__ = ["fit"]


class _Buffers:
    """Where a step on `n` images puts its results. Views that a step needs are made once.

    Each is an allocation of its own, aligned like autograd's results: on some processors the last bits of a product
    depend on that.
    """

    def __init__(self, n: int, num_pixels: int, hidden_size: int, device: torch.device) -> None:
        self.images = torch.empty(n, num_pixels, device=device)
        self.hidden1, self.d_hidden1, self.hidden2, self.d_hidden2 = (
            torch.empty(n, hidden_size, device=device) for _ in range(4)
        )
        self.d_hidden1_t, self.d_hidden2_t = self.d_hidden1.t(), self.d_hidden2.t()
        self.logits = torch.empty(n, NUM_CLASSES, device=device)
        self.logits_t = self.logits.t()
        # Classes first, as in plmnist.evaluation.log_probabilities.
        self.logits_by_class = torch.empty(NUM_CLASSES, n, device=device)
        self.d_logits_t = torch.empty(NUM_CLASSES, n, device=device)
        self.d_logits = self.d_logits_t.t()


@torch.no_grad()
def fit(network: Network, config: Configuration, data: TrainingData, after_epoch: Callable[[EpochRow], None]) -> None:
    """Train `network` in place; see :class:`plmnist.training.Engine`."""
    split = data.split(config.seed)
    device = device_of(network)
    images, labels = data.normalised(split).to(device), data.train.labels.to(device)
    val_rows = split.val_rows.to(device)
    val_images, val_labels = images[val_rows], labels[val_rows]
    n = len(split.train_rows)
    batch_size = min(config.batch_size, n)
    buffers = _Buffers(batch_size, data.num_pixels, config.hidden_size, device)
    last = _Buffers(n % batch_size, data.num_pixels, config.hidden_size, device)
    # Blocks of (classes, images of the batch), one after the other.
    log_probs, d_log_probs = torch.empty(2, n * NUM_CLASSES, device=device)
    log_prob_blocks, d_log_prob_blocks = _blocks(log_probs, batch_size), _blocks(d_log_probs, batch_size)
    step = _make_step(network, config, images, data.train)
    draw = None
    for epoch in range(1, config.num_epochs + 1):
        draw = draw_epoch(config, split, epoch, reuse=draw)
        order = draw.order.to(device)
        targets = labels[order]
        _derive_log_probs(targets, batch_size, out=d_log_probs)
        batches = [
            torch.split(order, batch_size),
            log_prob_blocks,
            d_log_prob_blocks,
            *(torch.split(mask.to(device), batch_size) for mask in draw.masks),
        ]
        starts = RandomStarts(config.seed, epoch)
        # Saves some bookkeeping in each operation; not for what others will use, which autograd has to accept.
        with torch.inference_mode():
            for rows, *rest in zip(*batches, strict=True):
                step(buffers if len(rows) == batch_size else last, starts, rows, *rest)
        train = measure(torch.cat(log_prob_blocks, 1), targets)
        after_epoch(EpochRow(epoch, train, _evaluate(network, val_images, val_labels)))


def _blocks(flat: Tensor, batch_size: int) -> list[Tensor]:
    """Return for each batch its part of a flat tensor, as shape (classes, images)."""
    return [piece.view(NUM_CLASSES, -1) for piece in torch.split(flat, batch_size * NUM_CLASSES)]


def _derive_log_probs(targets: Tensor, batch_size: int, *, out: Tensor) -> None:
    """Write the derivative of each batch's mean loss: -1 / (images in the batch) at the true class, 0 elsewhere."""
    out.zero_()
    n = len(targets)
    position = torch.arange(n, device=targets.device) % batch_size
    start = torch.arange(n, device=targets.device) - position
    size = (n - start).clamp_max(batch_size)
    out.scatter_(0, start * NUM_CLASSES + targets * size + position, -1.0 / size.float())


def _make_step(network: Network, config: Configuration, images: Tensor, train: ImageSet) -> Callable[..., None]:
    """Return a function that does one optimiser step on normalised images or, in adversarial training, altered ones.

    The names are local to the step, because looking them up in modules takes a noticeable part of its time.
    """
    layers = (network.layer1, network.layer2, network.layer3)
    w1, w2, w3 = (layer.weight.detach() for layer in layers)
    b1, b2, b3 = (layer.bias.detach() for layer in layers)
    w1_t, w2_t, w3_t = w1.t(), w2.t(), w3.t()
    parameters = [w1, b1, w2, b2, w3, b3]
    gradients = [torch.empty_like(p) for p in parameters]
    g_w1, g_b1, g_w2, g_b2, g_w3, g_b3 = gradients
    means = [torch.zeros_like(p) for p in parameters]
    squares = [torch.zeros_like(p) for p in parameters]
    count = torch.zeros((), device=w1.device)
    counts = [count] * len(parameters)
    one = torch.ones((), device=w1.device)

    addmm, mm, relu_, column_sum = torch.addmm, torch.mm, torch.relu_, torch.sum
    log_softmax, d_log_softmax = torch._log_softmax, torch._log_softmax_backward_data
    d_relu = torch.ops.aten.threshold_backward.grad_input
    adam, index_select, float32 = adam_step, torch.index_select, torch.float32

    def forward(at: _Buffers, log_probs: Tensor, mask1: Tensor | None, mask2: Tensor | None) -> None:
        h1, h2, logits = at.hidden1, at.hidden2, at.logits
        addmm(b1, at.images, w1_t, out=h1)
        relu_(h1)
        if mask1 is not None:
            h1.mul_(mask1)
        addmm(b2, h1, w2_t, out=h2)
        relu_(h2)
        if mask2 is not None:
            h2.mul_(mask2)
        addmm(b3, h2, w3_t, out=logits)
        log_softmax(at.logits_by_class.copy_(at.logits_t), 0, False, out=log_probs)

    def backward(
        at: _Buffers, log_probs: Tensor, d_log_probs: Tensor, mask1: Tensor | None, mask2: Tensor | None
    ) -> None:
        d_h1, d_h2 = at.d_hidden1, at.d_hidden2
        d_log_softmax(d_log_probs, log_probs, 0, float32, out=at.d_logits_t)
        mm(at.d_logits, w3, out=d_h2)
        if mask2 is not None:
            d_h2.mul_(mask2)
        # A dropped unit has h = 0 and a derivative of 0 already, so h can stand in for the output of the relu.
        d_relu(d_h2, at.hidden2, 0, grad_input=d_h2)
        mm(d_h2, w2, out=d_h1)
        if mask1 is not None:
            d_h1.mul_(mask1)
        d_relu(d_h1, at.hidden1, 0, grad_input=d_h1)

    adversary = adversary_of(config)
    if adversary is not None:
        grey, scale = train.images.flatten(1).to(w1.device), train.full_scale
        mean, factor = network.normalisation.mean, network.normalisation.std.reciprocal()

    def alter(
        at: _Buffers,
        starts: RandomStarts,
        rows: Tensor,
        log_probs: Tensor,
        d_log_probs: Tensor,
        mask1: Tensor | None,
        mask2: Tensor | None,
    ) -> None:
        """Put what the training's attack makes of the images, normalised, where the step expects them."""
        assert adversary is not None

        def gradient(moved: Tensor) -> Tensor:
            torch.sub(moved, mean, out=at.images).mul_(factor)
            forward(at, log_probs, mask1, mask2)
            backward(at, log_probs, d_log_probs, mask1, mask2)
            # By the normalised pixels; its sign is that of the derivative by the pixels.
            return mm(at.d_hidden1, w1)

        pixels = index_select(grey, 0, rows).float().div_(scale)
        moved = adversary.attack(pixels, starts.take(pixels), gradient)
        torch.sub(moved, mean, out=at.images).mul_(factor)

    def step(
        at: _Buffers,
        starts: RandomStarts,
        rows: Tensor,
        log_probs: Tensor,
        d_log_probs: Tensor,
        mask1: Tensor | None = None,
        mask2: Tensor | None = None,
    ) -> None:
        if adversary is None:
            index_select(images, 0, rows, out=at.images)
        else:
            alter(at, starts, rows, log_probs, d_log_probs, mask1, mask2)
        forward(at, log_probs, mask1, mask2)
        backward(at, log_probs, d_log_probs, mask1, mask2)
        mm(at.d_logits_t, at.hidden2, out=g_w3)
        column_sum(at.d_logits, 0, out=g_b3)
        mm(at.d_hidden2_t, at.hidden1, out=g_w2)
        column_sum(at.d_hidden2, 0, out=g_b2)
        mm(at.d_hidden1_t, at.images, out=g_w1)
        column_sum(at.d_hidden1, 0, out=g_b1)

        count.add_(one)
        adam(
            parameters,
            gradients,
            means,
            squares,
            [],
            counts,
            lr=config.learning_rate,
        )

    return step


def _evaluate(network: Network, normalised: Tensor, labels: Tensor) -> Metrics:
    network.eval()
    logits = torch.cat([network.classify(piece) for piece in torch.split(normalised, EVALUATION_ROWS)])
    network.train()
    return measure(log_probabilities(logits), labels)
