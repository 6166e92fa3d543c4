"""The attack that docs/attacks.md shows is one."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from plmnist import cli
from plmnist.attacks import attack_fgsm, perturbed
from plmnist.data import load_test
from plmnist.results import load_network

PAGE = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"


def test_attack_of_the_page_keeps_budgets_and_is_stronger_than_a_single_step(tmp_path, capsys):
    assert cli.main(["train", "--output", str(tmp_path / "one"), "--num-epochs", "15"]) == 0
    capsys.readouterr()
    names: dict[str, type] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        block = block.replace("workspace/<job>", str(tmp_path / "one"))
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    epsilons = [0.05, 0.1]
    network, images = load_network(tmp_path / "one"), load_test("digits")
    single = [counts.adversarial_acc for counts in attack_fgsm(network, images, epsilons).counts]
    shown = [float(word) for word in capsys.readouterr().out.strip("[]\n").split(", ")]
    assert all(mine <= theirs for mine, theirs in zip(shown, single, strict=True))
    pixels = images.pixels()
    altered = perturbed(network, pixels, images.labels, epsilons, names["Momentum"]())
    assert 0 <= altered.min() <= altered.max() <= 1
    for epsilon, moved in zip(epsilons, altered, strict=True):
        assert (moved - pixels).abs().max() <= epsilon + 1e-7
    assert torch.equal(pixels, images.pixels())
