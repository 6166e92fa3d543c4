from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

from plmnist import checks, cli
from plmnist.attacks import attack_images
from plmnist.checks import check_evaluation
from plmnist.perturbations import FastGradientSign, Noise
from plmnist.training import train


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def network(request, digits, make_config):
    settings = {"num_epochs": 15, "hidden_size": 32, "batch_size": 32, "dropout_prob": 0.1}
    return train(make_config(**settings, network=request.param), data=digits).network.eval()


class Around(torch.nn.Module):
    """A network whose logits are spoilt."""

    def __init__(self, network: torch.nn.Module, spoil) -> None:
        super().__init__()
        self.network, self.spoil = network, spoil

    def forward(self, images):
        return self.spoil(self.network(images))


class Rounded(torch.nn.Module):
    """A network that rounds its pixels to black and white, with the derivative of rounding: none."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images.round())


def warnings_of(network, images) -> set[str]:
    found = check_evaluation(network, images)
    assert len(found) == 9
    assert all(check.sentence.endswith(".") for check in found)
    return {check.name for check in found if not check.passed}


def test_sound_evaluation_has_no_warning(network, digits):
    assert warnings_of(network, digits.test) == set()


@pytest.mark.parametrize("n", [1, 3])
def test_few_images_can_be_checked(network, digits, n):
    few = replace(digits.test, images=digits.test.images[:n], labels=digits.test.labels[:n])
    assert len(check_evaluation(network, few)) == 9


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda z: z * 1e4, {"saturation"}),
        (lambda z: z * 1e38 * 10, {"saturation"}),
        (lambda z: z + torch.randn_like(z), {"deterministic"}),
        (lambda z: torch.softmax(z, 1), {"logits"}),
        (lambda z: torch.log_softmax(z, 1), {"logits"}),
    ],
    ids=["saturated", "beyond float32", "noisy", "probabilities", "log-probabilities"],
)
def test_planted_fault_is_caught(network, digits, spoil, expected):
    assert warnings_of(Around(network, spoil).eval(), digits.test) >= expected


def test_network_left_in_training_mode_is_caught(network, digits):
    forgotten = copy.deepcopy(network).train()
    assert warnings_of(forgotten, digits.test) == {"evaluation mode", "deterministic"}
    assert forgotten.training


def test_network_that_looks_at_whole_batches_is_caught(network, digits):
    class WithItsOwnStatistics(Rounded):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__(network)
            self.layer = torch.nn.BatchNorm2d(1, track_running_stats=False)

        def forward(self, images):
            return self.network(0.3 + 0.4 * self.layer(images))

    found = {check.name: check for check in check_evaluation(WithItsOwnStatistics(network).eval(), digits.test)}
    assert not found["deterministic"].passed
    assert "of the images depend on the images beside them" in found["deterministic"].sentence


def test_network_without_a_gradient_is_caught(network, digits):
    found = warnings_of(Rounded(network).eval(), digits.test)
    assert "zero gradients" in found
    assert "saturation" not in found  # its gradient is zero in every precision


@pytest.mark.parametrize(
    "cut",
    [lambda z: z.detach(), lambda z: torch.nn.functional.one_hot(z.argmax(1), 10).to(z)],
    ids=["detached", "hard"],
)
def test_network_cut_off_from_its_pixels_is_caught(network, digits, cut):
    found = {check.name: check for check in check_evaluation(Around(network, cut).eval(), digits.test)}
    sentence = "359 of 359 images have a gradient that is zero in every pixel: no attack by the gradient changes them."
    assert (found["zero gradients"].passed, found["zero gradients"].sentence) == (False, sentence)
    assert not found["reaches chance"].passed


def test_gradient_that_points_the_wrong_way_is_caught(network, digits):
    class Backwards(torch.autograd.Function):
        @staticmethod
        def forward(context, images):
            return images.clone()

        @staticmethod
        def backward(context, gradient):
            return -gradient

    class Misleading(Rounded):
        def forward(self, images):
            return self.network(Backwards.apply(images))

    assert warnings_of(Misleading(network).eval(), digits.test) >= {"reaches chance"}


def test_attack_that_is_no_stronger_than_noise_is_caught(network, digits):
    epsilons = [0.05, 0.1]
    fgsm, noise = (attack_images(network, digits.test, epsilons, attack) for attack in (FastGradientSign(), Noise()))
    assert [check.passed for check in checks._strength(fgsm, fgsm, noise)] == [True, True]
    assert [check.passed for check in checks._strength(fgsm, noise, noise)] == [False, True]
    assert [check.passed for check in checks._strength(noise, noise, fgsm)] == [True, False]


def test_sentences_admit_what_is_within_the_tolerance(network, digits):
    result = attack_images(network, digits.test, [0.1, 0.2, 0.5], FastGradientSign())

    def withstood(*counts: int):
        rows = [
            replace(row, adversarial_correct=n, adversarial_correct_given_clean=n)
            for row, n in zip(result.counts, counts, strict=True)
        ]
        return replace(result, counts=tuple(rows))

    def said(found) -> dict[str, tuple[bool, str]]:
        return {check.name: (check.passed, check.sentence) for check in found}

    exact, near, far = withstood(90, 50, 35), withstood(90, 50, 53), withstood(90, 50, 54)
    chance = f"Accuracy under FGSM at epsilon 0.5 is {35 / 359:.1%}, no more than chance."
    falls = "Accuracy under FGSM falls as epsilon grows"
    assert said(checks._curve(exact)) == {"falls with epsilon": (True, f"{falls}."), "reaches chance": (True, chance)}
    within = "within the tolerance of 1%."
    assert said(checks._curve(near))["falls with epsilon"] == (True, f"{falls}, but for 3 of 359 images, {within}")
    assert not said(checks._curve(far))["falls with epsilon"][0]
    # A single step too long may lead back to the right class: dropout 0.9 on the digits, 1.7 % and then 2.8 %.
    for counts in ((90, 6, 12), (6, 12, 0)):
        falls_below = said(checks._curve(withstood(*counts)))["falls with epsilon"]
        assert falls_below == (True, f"{falls}, but for 6 of 359 images, below chance.")
    assert not said(checks._curve(withstood(90, 6, 36)))["falls with epsilon"][0]
    assert said(checks._curve(withstood(90, 50, 38)))["reaches chance"][1].endswith(f"no more than chance, {within}")
    name = "iterative at least as strong"
    assert said(checks._strength(exact, exact, exact))[name] == (True, "No fewer images withstand FGSM than PGD.")
    more = "At epsilon 0.2, 3 more images withstand PGD than FGSM"
    assert said(checks._strength(exact, withstood(90, 53, 35), exact))[name] == (True, f"{more}, of 359, {within}")
    masked = f"{more.replace('3', '4')}: gradients are masked."
    assert said(checks._strength(exact, withstood(90, 54, 35), exact))[name] == (False, masked)


def test_network_and_random_state_are_left_alone(network, digits):
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    check_evaluation(Around(network, lambda z: z + torch.randn_like(z)), digits.test)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_check_command_says_a_sentence_for_each_warning_and_of_all_if_asked(tmp_path, capsys):
    good, missing = str(tmp_path / "good"), str(tmp_path / "missing")
    assert cli.main(["train", "--output", good, "--num-epochs", "15"]) == 0
    capsys.readouterr()
    assert cli.main(["check", good]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{good}: checked, 9 of 9 checks passed", "1 of 1 folder checked, 0 warnings"]
    assert cli.main(["check", good, "--verbose"]) == 0
    _, *sentences, _ = capsys.readouterr().out.splitlines()
    assert len(sentences) == 9
    assert all(line.startswith(f"{good}: pass: ") for line in sentences)
    assert cli.main(["check", good, missing, "--json"]) == 1
    captured = capsys.readouterr()
    assert list(json.loads(captured.out)) == [good]
    assert "missing is not a folder" in captured.err

    record = json.loads((tmp_path / "good" / "checks.json").read_text())
    record["checks"][3] |= {"passed": False, "sentence": "The logits are saturated."}
    (tmp_path / "good" / "checks.json").write_text(json.dumps(record))
    assert cli.main(["check", good]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{good}: already checked, 8 of 9 checks passed; warnings: saturation",
        f"{good}: WARNING: saturation: The logits are saturated.",
        "1 of 1 folder checked, 1 warning",
    ]
