from __future__ import annotations

import numpy as np
import pytest
import torch

from plmnist.epochs import draw_epoch
from plmnist.errors import ConfigurationError, TrainingError
from plmnist.evaluation import evaluate
from plmnist.results import TrainFiles
from plmnist.training import TrainingData, train, train_lengths


def same_bits(first, second) -> bool:
    a, b = first.network.state_dict(), second.network.state_dict()
    return a.keys() == b.keys() and all(a[key].numpy().tobytes() == b[key].numpy().tobytes() for key in a)


ENGINE_CASES = [
    # data, epochs, batch size, hidden size, dropout: batches that do not divide the set, one that is larger than it,
    # and widths that do and do not fill vector registers.
    ("digits", 2, 64, 64, 0.0),
    ("digits", 1, 32, 33, 0.1),
    ("digits", 2, 100, 7, 0.5),
    ("digits", 2, 5000, 16, 0.5),
    ("digits", 1, 1, 1, 0.1),
    ("mnist", 1, 128, 64, 0.1),
    ("mnist", 2, 50, 100, 0.5),
    ("mnist", 1, 128, 64, 0.0),
]


@pytest.mark.parametrize(("dataset", "epochs", "batch", "hidden", "drop"), ENGINE_CASES)
def test_engines_give_the_same_bits(request, make_config, dataset, epochs, batch, hidden, drop):
    data = request.getfixturevalue("digits" if dataset == "digits" else "mnist_slice")
    config = make_config(dataset=dataset, num_epochs=epochs, batch_size=batch, hidden_size=hidden, dropout_prob=drop)
    tensor, lightning = (train(config, data=data, engine=engine) for engine in ("tensor", "lightning"))
    assert same_bits(tensor, lightning)
    assert TrainFiles.of(tensor) == TrainFiles.of(lightning)


ADVERSARIAL_CASES = [
    # training, data, batch size, hidden size, dropout
    ("fgsm", "digits", 64, 33, 0.1),
    ("pgd", "digits", 100, 16, 0.0),
    ("fgsm", "digits", 1, 1, 0.1),
    ("fgsm", "mnist", 128, 64, 0.0),
    ("pgd", "mnist", 50, 64, 0.5),
]


@pytest.mark.parametrize(("training", "dataset", "batch", "hidden", "drop"), ADVERSARIAL_CASES)
def test_engines_give_the_same_bits_in_adversarial_training(
    request, make_config, training, dataset, batch, hidden, drop
):
    data = request.getfixturevalue("digits" if dataset == "digits" else "mnist_slice")
    config = make_config(
        dataset=dataset, num_epochs=2 if batch > 1 else 1, batch_size=batch, hidden_size=hidden, dropout_prob=drop,
        training=training, training_epsilon=0.1,
    )  # fmt: skip
    tensor, lightning = (train(config, data=data, engine=engine) for engine in ("tensor", "lightning"))
    assert same_bits(tensor, lightning)
    assert TrainFiles.of(tensor) == TrainFiles.of(lightning)


def test_training_equals_plain_pytorch(digits, make_config):
    """A third implementation, the way a textbook writes it, agrees within rounding."""
    config = make_config(dropout_prob=0.25, num_epochs=2, hidden_size=12)
    ours = train(config, data=digits)
    split = digits.split(config.seed)
    linear = [torch.nn.Linear(64, 12), torch.nn.Linear(12, 12), torch.nn.Linear(12, 10)]
    from plmnist.streams import stream, uniform

    source = stream(config.seed, "init")
    for layer in linear:
        for parameter in (layer.weight, layer.bias):
            parameter.data = torch.from_numpy(uniform(source, tuple(parameter.shape), layer.in_features**-0.5))
    optimiser = torch.optim.Adam([p for layer in linear for p in layer.parameters()], lr=config.learning_rate)
    for epoch in (1, 2):
        draw = draw_epoch(config, split, epoch)
        for start in range(0, len(draw.order), config.batch_size):
            here = slice(start, start + config.batch_size)
            x = digits.train.pixels()[draw.order[here]].flatten(1)
            x = (x - split.mean) / split.std
            for layer, mask in zip(linear[:2], draw.masks, strict=True):
                x = torch.relu(layer(x)) * mask[here]
            loss = torch.nn.functional.cross_entropy(linear[2](x), digits.train.labels[draw.order[here]])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for name, layer in zip(("layer1", "layer2", "layer3"), linear, strict=True):
        assert torch.allclose(getattr(ours.network, name).weight, layer.weight, atol=1e-5)


def test_training_twice_gives_the_same_bits_whatever_torch_s_random_state(digits, make_config):
    torch.manual_seed(1)
    first = train(make_config(), data=digits)
    torch.manual_seed(2)
    torch.rand(10)
    assert TrainFiles.of(train(make_config(), data=digits)) == TrainFiles.of(first)


def test_result_does_not_depend_on_what_was_trained_before(make_config, digits):
    fresh = train(make_config(seed=3))
    for seed in (2, 3):
        used = train(make_config(seed=seed), data=digits)
    assert TrainFiles.of(used) == TrainFiles.of(fresh)


def test_number_of_threads_has_no_influence_and_is_restored(digits, make_config):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = train(make_config(), data=digits)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        assert same_bits(two, train(make_config(), data=digits))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("training", ["standard", "fgsm", "pgd"])
@pytest.mark.parametrize("engine", ["tensor", "lightning"])
def test_shorter_training_is_the_beginning_of_the_longer_one(digits, make_config, engine, training):
    budget = 0.0 if training == "standard" else 0.1
    configs = [
        make_config(num_epochs=n, dropout_prob=0.5, training=training, training_epsilon=budget) for n in (4, 1, 3)
    ]
    together = []
    train_lengths(configs, together.append, data=digits, engine=engine)
    assert [trained.config.num_epochs for trained in together] == [1, 3, 4]
    for trained in together:
        alone = train(trained.config, data=digits, engine=engine)
        assert TrainFiles.of(trained) == TrainFiles.of(alone)


def test_trainings_that_differ_otherwise_are_refused_together(digits, make_config):
    with pytest.raises(ValueError, match="more than their number of epochs"):
        train_lengths([make_config(), make_config(num_epochs=3, seed=2)], print, data=digits)


def test_metrics_are_those_of_the_saved_weights(digits, make_config):
    trained = train(make_config(num_epochs=3), data=digits)
    assert evaluate(trained.network, digits.test) == trained.test
    assert trained.val == trained.history[-1].val
    split = digits.split(1)
    held_out = type(digits.train)(
        digits.train.images[split.val_rows], digits.train.labels[split.val_rows], digits.train.full_scale
    )
    assert evaluate(trained.network, held_out) == trained.val


@pytest.mark.parametrize("engine", ["tensor", "lightning"])
def test_trained_network_can_be_differentiated_and_trained_on(digits, make_config, engine):
    network = train(make_config(), data=digits, engine=engine).network
    assert not network.training
    network(digits.test.pixels()).sum().backward()
    assert network.layer1.weight.grad is not None


def test_split_depends_on_the_seed_only(digits):
    split, again, other = digits.split(1), TrainingData(digits.train, digits.test).split(1), digits.split(2)
    assert torch.equal(split.train_rows, again.train_rows)
    assert not torch.equal(split.val_rows, other.val_rows)
    rows = torch.cat([split.train_rows, split.val_rows]).sort().values
    assert torch.equal(rows, torch.arange(1438))
    assert len(split.val_rows) == 1438 // 12


def test_normalisation_comes_from_the_training_split(digits):
    split = digits.split(4)
    pixels = digits.train.images[split.train_rows].double().numpy() / 16
    assert split.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert split.std == pytest.approx(pixels.std(), rel=1e-9)


def test_normalising_once_gives_the_bits_of_the_network(digits, make_config):
    network = train(make_config(), data=digits).network
    expected = network.normalisation(digits.train.pixels()).flatten(1)
    assert torch.equal(digits.normalised(digits.split(1)), expected)


def test_order_and_masks_change_with_the_epoch(digits, make_config):
    config, split = make_config(dropout_prob=0.5), digits.split(1)
    first, second = draw_epoch(config, split, 1), draw_epoch(config, split, 2)
    assert not torch.equal(first.order, second.order)
    assert torch.equal(first.order.sort().values, split.train_rows)
    assert not torch.equal(first.masks[0], second.masks[0])
    assert not torch.equal(first.masks[0], first.masks[1])
    reused = draw_epoch(config, split, 2, reuse=first)
    assert torch.equal(reused.masks[1], second.masks[1])


def test_learning_works(digits, make_config):
    trained = train(make_config(num_epochs=30, hidden_size=64, batch_size=32), data=digits)
    assert trained.test.acc > 0.88
    assert trained.history[0].train.loss > trained.history[-1].train.loss


@pytest.mark.parametrize("engine", ["tensor", "lightning"])
def test_divergence_is_an_error_that_spares_shorter_trainings(digits, make_config, engine, monkeypatch):
    with pytest.raises(TrainingError, match="diverged in epoch 1") as caught:
        train(make_config(learning_rate=1e30), data=digits, engine=engine)
    assert "smaller learning_rate than 1e+30" in caught.value.hint


def test_divergence_later_on_spares_shorter_trainings(digits, make_config, monkeypatch):
    from plmnist import course

    def fail_in_second(row, network, config, check=course._check_finite):
        if row.epoch == 2:
            network.layer1.bias.data[0] = np.nan
        check(row, network, config)

    monkeypatch.setattr(course, "_check_finite", fail_in_second)
    reported = []
    with pytest.raises(TrainingError, match="diverged in epoch 2"):
        train_lengths([make_config(num_epochs=n) for n in (1, 2)], reported.append, data=digits)
    assert [trained.config.num_epochs for trained in reported] == [1]


def test_unknown_engine_names_near_match(make_config):
    with pytest.raises(ConfigurationError, match="unknown engine 'lightening'") as caught:
        train(make_config(), engine="lightening")
    assert "'lightning'" in caught.value.hint


def test_one_epoch_of_real_mnist_reaches_the_known_accuracy(mnist, make_config):
    config = make_config(dataset="mnist", num_epochs=1, batch_size=128, hidden_size=64, learning_rate=2e-4)
    trained = train(config, data=mnist)
    assert (trained.n_train, trained.val.n, trained.test.n) == (55000, 5000, 10000)
    assert trained.test.acc == pytest.approx(0.907, abs=0.008)
