from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from plmnist.config import OPTIONAL, REQUIRED, Configuration
from plmnist.errors import ConfigurationError


def test_integers_and_floats_are_normalised_to_one_form(make_mapping):
    mapping = make_mapping(
        dropout_prob=0, fgsm_epsilon=0, num_epochs=2.0, seed=np.int64(1), learning_rate=np.float64(0.5)
    )
    config = Configuration.from_mapping(mapping)
    assert config == Configuration.from_mapping(make_mapping(dropout_prob=0.0, fgsm_epsilon=0.0, learning_rate=0.5))
    assert [type(value) for value in config.to_mapping().values()] == [str, int, int, int, float, float, float, int]
    assert repr(config.to_mapping()["dropout_prob"]) == "0.0"


def test_negative_zero_is_zero(make_mapping):
    assert repr(Configuration.from_mapping(make_mapping(dropout_prob=-0.0)).dropout_prob) == "0.0"


def test_mapping_round_trips(make_config):
    config = make_config()
    assert Configuration.from_mapping(config.to_mapping()) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "mnits"}, "unknown data set 'mnits'"),
        ({"dataset": 3}, "dataset must be the name"),
        ({"num_epochs": 0}, "num_epochs must be at least 1"),
        ({"num_epochs": 1.5}, "num_epochs must be a whole number"),
        ({"num_epochs": "5"}, "num_epochs must be a whole number, not '5' (str)"),
        ({"num_epochs": True}, "num_epochs must be a whole number"),
        ({"num_epochs": float("inf")}, "num_epochs must be a whole number"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"hidden_size": -1}, "hidden_size must be at least 1"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a number"),
        ({"dropout_prob": 1}, "dropout_prob must be at least 0 and below 1"),
        ({"dropout_prob": -0.1}, "dropout_prob must be at least 0"),
        ({"fgsm_epsilon": -0.05}, "fgsm_epsilon must be between 0 and 1"),
        ({"fgsm_epsilon": 8}, "fgsm_epsilon must be between 0 and 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**64}, "seed must be at most"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"network": "conv"}, "unknown network 'conv'"),
        ({"training": None}, "training must be the name of a training, not None"),
        ({"training": "fgms", "training_epsilon": 0.1}, "unknown training 'fgms'"),
        ({"training": "fgsm"}, "training 'fgsm' needs a training_epsilon above 0"),
        ({"training": "pgd", "training_epsilon": 0}, "training 'pgd' needs a training_epsilon above 0"),
        ({"training": "pgd", "training_epsilon": 1.1}, "training_epsilon must be between 0 and 1"),
        ({"training_epsilon": 0.1}, "training_epsilon is 0.1, but standard training attacks nothing"),
    ],
)
def test_impossible_value_is_named(make_mapping, changes, words):
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_mapping(make_mapping(**changes))
    assert words in str(caught.value)


def test_unknown_data_set_names_near_match(make_mapping):
    with pytest.raises(ConfigurationError) as caught:
        Configuration.from_mapping(make_mapping(dataset="fashion-mnist"))
    assert "fashion_mnist" in caught.value.hint


def test_misspelt_key_is_named_with_the_missing_one(make_mapping):
    mapping = make_mapping()
    mapping["dropuot_prob"] = mapping.pop("dropout_prob")
    with pytest.raises(ConfigurationError, match="unknown configuration key 'dropuot_prob'") as caught:
        Configuration.from_mapping(mapping)
    assert caught.value.hint == "Did you mean 'dropout_prob'?"


def test_misspelt_optional_key_is_named(make_mapping):
    with pytest.raises(ConfigurationError, match="unknown configuration key 'trainig'") as caught:
        Configuration.from_mapping(make_mapping(trainig="fgsm"))
    assert "'training'" in caught.value.hint


def test_default_of_an_optional_key_and_no_key_are_one_configuration(make_mapping):
    bare = Configuration.from_mapping(make_mapping())
    explicit = Configuration.from_mapping(make_mapping(**OPTIONAL))
    assert explicit == bare
    assert explicit.to_mapping() == bare.to_mapping() == make_mapping()
    assert explicit.training_key == bare.training_key


def test_optional_keys_follow_the_required_ones(make_mapping):
    mapping = make_mapping(network="cnn", training="pgd", training_epsilon=1)
    config = Configuration.from_mapping(dict(reversed(mapping.items())))
    assert list(config.to_mapping()) == [*REQUIRED, "network", "training", "training_epsilon"]
    assert repr(config.to_mapping()["training_epsilon"]) == "1.0"
    assert list(config.training_mapping()) == [name for name in config.to_mapping() if name != "fgsm_epsilon"]
    assert Configuration.from_mapping(config.to_mapping()) == config


def test_missing_keys_are_all_named(make_mapping):
    mapping = make_mapping()
    del mapping["seed"], mapping["batch_size"]
    with pytest.raises(ConfigurationError, match="keys 'batch_size', 'seed' missing"):
        Configuration.from_mapping(mapping)


def test_something_else_than_a_mapping_is_refused(make_mapping):
    with pytest.raises(ConfigurationError, match="not \\[1, 2\\] \\(list\\)"):
        Configuration.from_mapping([1, 2])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as raised:
        Configuration.from_mapping([make_mapping()] * 100)  # type: ignore[arg-type]
    assert len(str(raised.value).splitlines()[0]) < 150  # a grid that was put into a list is not printed whole


def test_keys_group_what_is_trained_together(make_config):
    base = make_config()
    assert base.training_key == make_config(fgsm_epsilon=0.3).training_key
    assert base.training_key != make_config(num_epochs=3).training_key
    assert base.trajectory_key == make_config(num_epochs=3, fgsm_epsilon=0.3).trajectory_key
    others: list[dict[str, object]] = [
        {"seed": 2},
        {"dropout_prob": 0.2},
        {"learning_rate": 1e-3},
        {"hidden_size": 8},
        {"batch_size": 8},
        {"network": "cnn"},
        {"training": "fgsm", "training_epsilon": 0.1},
    ]
    for change in others:
        assert base.trajectory_key != make_config(**change).trajectory_key


def test_light_modules_import_nothing_heavy():
    program = (
        "import sys, plmnist, plmnist.config, plmnist.data, plmnist.download\n"
        "import plmnist.results, plmnist.batch, plmnist.cli\n"
        "heavy = {'numpy', 'torch', 'lightning', 'matplotlib', 'PIL', 'safetensors', 'rich', 'signac', 'pointillist'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_whole_training_and_attack_import_no_more_than_they_need(tmp_path):
    # torch imports sympy half a second long for some innocent calls.
    program = (
        "import sys; from plmnist.cli import main\n"
        "assert main(['train', '--output', sys.argv[1], '--num-epochs', '1']) == 0\n"
        "assert main(['attack', sys.argv[1]]) == 0\n"
        "heavy = {'lightning', 'matplotlib', 'signac', 'pointillist', 'sympy', 'torch._dynamo', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
