"""The report: what it compares, what it says, and what it admits not to know."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.collections import LineCollection
from src.report import figures
from src.report.answer import Answer, answer, is_decided
from src.report.effects import balanced, effect_of, effects, effects_by_setting
from src.report.facts import DataSetResults, Job, Network

from plmnist.measurements import Measurement
from plmnist.sample import Sample
from plmnist.statistics import over_seeds

N = 1000
PARAMETERS = {
    "dataset": "digits",
    "num_epochs": 5,
    "batch_size": 32,
    "hidden_size": 64,
    "learning_rate": 1e-3,
    "dropout_prob": 0.0,
    "network": "mlp",
    "training": "standard",
}


def counted(attack: str, correct: int, epsilon: float = 0.1) -> Measurement:
    return Measurement(attack, epsilon, "test_acc", correct, N, "test images", correct / N)


def network(seed: int, *, clean: int = 900, fgsm: int = 500, pgd: int | None = None, **changes: Any) -> Network:
    """Make a network of which so many of a thousand images are classified correctly."""
    parameters = PARAMETERS | changes
    curves = {"fgsm": {0.1: counted("fgsm", fgsm)}}
    if pgd is not None:
        curves["pgd"] = {0.1: counted("pgd", pgd)}
    job = Job(Path("nowhere"), parameters | {"seed": seed, "fgsm_epsilon": 0.1})
    return Network(parameters, seed, [job], counted("none", clean, 0.0), curves)


def results(*networks: Network) -> DataSetResults:
    strongest = "pgd" if networks and all("pgd" in n.curves for n in networks) else "fgsm"
    return DataSetResults("digits", [job for n in networks for job in n.jobs], list(networks), 0.1, strongest)


def said(found: Answer) -> Answer:
    """Return an answer with plain spaces."""
    return replace(found, sentence=found.sentence.replace("\N{NO-BREAK SPACE}", " "))


def test_an_effect_is_the_difference_within_seeds_averaged_over_the_other_parameters():
    found = effect_of(
        results(
            # seed 1: (600 - 500 + 640 - 500) / 2 = 120; seed 2: (560 - 500 + 620 - 500) / 2 = 90
            *(network(s, fgsm=500, num_epochs=e) for s in (1, 2) for e in (5, 20)),
            network(1, fgsm=600, num_epochs=5, dropout_prob=0.5),
            network(1, fgsm=640, num_epochs=20, dropout_prob=0.5),
            network(2, fgsm=560, num_epochs=5, dropout_prob=0.5),
            network(2, fgsm=620, num_epochs=20, dropout_prob=0.5),
        ),
        "dropout_prob",
        0.0,
        0.5,
    )
    assert found.robust.values == {1: pytest.approx(0.12), 2: pytest.approx(0.09)}
    assert (found.n, found.n_others) == (2, 2)
    assert found.robust.interval.half_width == pytest.approx(math.tan(0.475 * math.pi) * 0.015)
    assert found.robust_after.mean - found.robust_before.mean == pytest.approx(found.robust.mean)
    assert found.clean.mean == pytest.approx(0)


def test_seeds_that_differ_a_lot_do_not_hide_a_difference_within_each():
    of_set = results(
        *(network(s, fgsm=300 * s) for s in (1, 2, 3)),
        *(network(s, fgsm=300 * s + 20 + s, dropout_prob=0.5) for s in (1, 2, 3)),
    )
    (found,) = effects(of_set)
    assert is_decided(found.robust)
    assert found.robust.mean == pytest.approx(0.022)


def test_each_pair_of_combinations_is_compared_over_the_seeds_it_shares():
    of_set = results(
        *(network(s, fgsm=500, num_epochs=e) for s in (1, 2, 3) for e in (5, 20)),
        *(network(s, fgsm=510 + s, dropout_prob=0.5) for s in (1, 2)),
        *(network(s, fgsm=540 + s, dropout_prob=0.5, num_epochs=20) for s in (2, 3, 4)),
    )
    found = {(effect.parameter, words): effect.robust.values for words, effect in effects_by_setting(of_set)}
    assert found == {
        ("dropout_prob", "epochs 5"): {1: pytest.approx(0.011), 2: pytest.approx(0.012)},
        ("dropout_prob", "epochs 20"): {2: pytest.approx(0.042), 3: pytest.approx(0.043)},
        ("num_epochs", "dropout probability 0"): {s: pytest.approx(0) for s in (1, 2, 3)},
        ("num_epochs", "dropout probability 0.5"): {2: pytest.approx(0.03)},
    }


def test_networks_without_a_counterpart_do_not_count():
    of_set = results(
        *(network(s, fgsm=500) for s in (1, 2)),
        *(network(s, fgsm=520, dropout_prob=0.5) for s in (1, 2)),
        network(7, fgsm=999, dropout_prob=0.5),  # a seed with one value only
        network(1, fgsm=1, dropout_prob=0.5, num_epochs=20),  # a setting with one value only
    )
    found = effect_of(of_set, "dropout_prob", 0.0, 0.5)
    assert found.robust.values == {1: pytest.approx(0.02), 2: pytest.approx(0.02)}
    assert found.n_others == 1


@pytest.mark.parametrize(
    ("pairs", "seeds", "settings"),
    [
        ([("a", 1), ("b", 1), ("a", 2), ("b", 2)], [1, 2], ["a", "b"]),
        ([("a", 1), ("b", 1), ("b", 2)], [1], ["a", "b"]),  # only one seed has all settings
        ([("a", 1), ("b", 1), ("b", 2), ("c", 2)], [1, 2], ["b"]),  # no seed has all: the settings all seeds have
        ([("a", 1), ("b", 2)], [], []),
        ([], [], []),
    ],
)
def test_seeds_and_settings_are_chosen_so_that_all_combinations_exist(pairs, seeds, settings):
    assert balanced(pairs) == (seeds, settings)


def test_adversarial_training_is_the_question_where_there_is_some():
    standard = [network(s, clean=950, fgsm=500, pgd=400) for s in (1, 2, 3)]
    robust = [network(s, clean=940 + s, fgsm=850, pgd=800 + s, training="PGD, epsilon 0.1") for s in (1, 2, 3)]
    weaker = [network(s, clean=950, fgsm=900, pgd=600 + s, training="FGSM, epsilon 0.1") for s in (1, 2, 3)]
    found = said(answer(results(*standard, *robust, *weaker)))
    assert found.question == "Does adversarial training make a small network more robust, and what does it cost?"
    assert found.sentence == (
        "Yes: adversarial training (PGD, epsilon 0.1) raises the accuracy under PGD at epsilon 0.1 from 40.0 % to "
        "80.2 %, a difference of +40.2 points (95 % interval over 3 seeds: +40.0 to +40.4), and the accuracy without "
        "attack changes by \N{MINUS SIGN}0.8 points (\N{MINUS SIGN}1.0 to \N{MINUS SIGN}0.6)."
    )
    assert "It is the best of 2 adversarial trainings; its interval does not know that." in found.remarks
    assert not any("FGSM" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("after", "start"),
    [
        ((600, 601, 602), "Yes: adversarial training (PGD, epsilon 0.1) raises"),
        ((300, 301, 302), "No: adversarial training (PGD, epsilon 0.1) lowers"),
        ((300, 500, 700), "These seeds can't tell: adversarial training (PGD, epsilon 0.1) moves"),
        ((600, 600), "These seeds can't tell: adversarial training (PGD, epsilon 0.1) moves"),
        ((600,), "In the one seed there is, adversarial training (PGD, epsilon 0.1) moves"),
    ],
)
def test_the_verdict_is_what_the_interval_allows(after, start):
    seeds = range(len(after))
    standard = [network(s, fgsm=500) for s in seeds]
    robust = [network(s, fgsm=after[s], training="PGD, epsilon 0.1") for s in seeds]
    found = said(answer(results(*standard, *robust)))
    assert found.sentence.startswith(start)
    assert ("one seed gives no interval" in found.sentence) == (len(after) == 1)
    assert ("interval over" in found.sentence) == (len(set(after)) > 1)


def test_one_seed_of_several_is_not_said_to_be_the_only_one():
    standard = [network(s, fgsm=500) for s in (1, 2, 3)]
    found = said(answer(results(*standard, network(2, fgsm=600, training="PGD, epsilon 0.1"))))
    assert found.sentence.startswith("In the one seed that both have, adversarial training (PGD, epsilon 0.1) moves")


def test_without_adversarial_training_the_parameter_with_the_largest_effect_is_named():
    of_set = [
        network(s, fgsm=500 - (10 + s) * (e == 20) + (40 + s) * (d == 0.5), num_epochs=e, dropout_prob=d)
        for s in (1, 2, 3)
        for e in (5, 20)
        for d in (0.0, 0.5)
    ]
    found = said(answer(results(*of_set)))
    assert found.question.startswith("Which parameter")
    assert found.sentence.startswith(
        "Dropout probability has the largest effect: going from 0 to 0.5 raises the accuracy under FGSM at epsilon 0.1"
    )
    assert "It is the largest of 2 differences; its interval does not know that." in found.remarks
    assert any("upper bound" in remark for remark in found.remarks)


def test_one_parameter_alone_is_not_the_largest_of_anything():
    of_set = [network(s, fgsm=500 - (20 + s) * (e == 20), num_epochs=e) for s in (1, 2, 3) for e in (5, 20)]
    found = said(answer(results(*of_set)))
    assert found.question == "How does a small network's robustness change with the number of epochs?"
    assert found.sentence.startswith("Epochs: going from 5 to 20 lowers")
    assert not any("largest" in remark for remark in found.remarks)


def test_a_single_setting_is_described():
    found = said(answer(results(*(network(s, clean=900, fgsm=498 + s) for s in (1, 2, 3)))))
    assert found.sentence == (
        "It classifies 90.0 % of the test images correctly, and 50.0 % under FGSM at epsilon 0.1 "
        "(95 % interval over 3 seeds: 49.8 % to 50.2 %)."
    )
    assert "(the same for all 2 seeds, so no interval)" in said(answer(results(network(1), network(2)))).sentence
    assert "one seed gives no interval" in said(answer(results(network(1)))).sentence


def test_settings_that_share_no_seed_are_not_compared():
    found = said(answer(results(network(1), network(2, dropout_prob=0.5))))
    assert found.sentence.startswith("Nothing can be compared")
    assert any("nothing can be compared" in remark for remark in found.remarks)


def test_before_any_attack_there_is_no_answer():
    assert said(answer(results())).sentence.startswith("There is no answer yet")


def test_pgd_is_compared_only_where_all_networks_have_met_it():
    of_set = results(network(1, pgd=400), network(2, pgd=400), network(1, dropout_prob=0.5))
    found = said(answer(of_set))
    assert "under FGSM" in found.sentence
    assert "PGD is missing for 1 of 3 networks, so FGSM is compared." in found.remarks


def test_one_seed_gets_no_bar_and_two_of_one_value_no_other():
    one = [network(1, fgsm=500 + 100 * (d > 0), dropout_prob=d) for d in (0.0, 0.5)]
    two = [network(2, fgsm=500 + 120 * (d > 0), dropout_prob=d) for d in (0.0, 0.5)]
    for networks, expected in ((one, [0, 0]), ([*one, *two], [0, 1])):
        panels = figures.parameter_panels(results(*networks))
        drawn = [c for *_, figure in panels for c in figure.axes[0].collections if isinstance(c, LineCollection)]
        segments = [collection.get_segments() for collection in drawn]
        assert [sum(len(line) == 2 for line in lines) for lines in segments] == expected


@pytest.mark.parametrize("epsilon", [0.01, 0.1])
def test_the_label_of_the_study_s_epsilon_lies_within_the_axes(epsilon):
    of_set = [network(1), network(1, dropout_prob=0.5, fgsm=400)]
    for each in of_set:
        each.curves["fgsm"] = {e: counted("fgsm", 400, e) for e in (0.01, 0.1)}
    figure = figures.main_figure(replace(results(*of_set), epsilon=epsilon), None)
    figure.canvas.draw()
    (label,) = [text for text in figure.axes[0].texts if "epsilon" in text.get_text()]
    box, axes = label.get_window_extent(), figure.axes[0].get_window_extent()
    assert axes.x0 <= box.x0 < box.x1 <= axes.x1


def test_a_network_that_was_right_about_nothing_has_no_success_rate():
    """Its seed is left out of the mean, as nothing that an attack could turn."""
    right, wrong = network(1), network(2, clean=0, fgsm=0)
    for each, value in ((right, 0.25), (wrong, None)):
        each.given_clean["fgsm"] = {0.1: replace(counted("fgsm", 0), value=value)}
    figure = figures.success_figure(results(right, wrong), None)
    thick = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 1.8]
    assert [line.get_ydata().tolist() for line in thick] == [[0.75]]
    assert wrong.success("fgsm", 0.1) is None


def test_networks_that_met_other_images_are_told():
    of_set = results(*(network(s, pgd=400, dropout_prob=d) for s in (1, 2) for d in (0.0, 0.5)))
    assert not any("attacked" in remark for remark in answer(of_set).remarks)
    for each, n in zip(of_set.networks, (500, 500, 500, N), strict=True):
        each.samples["pgd"] = {0.1: Sample(n, N)}
    (told,) = [remark for remark in answer(of_set).remarks if "attacked" in remark]
    some, others = "500 test images spread evenly over all 1,000", "all 1,000 test images"
    assert told.startswith(f"PGD attacked {some} for some networks and {others} for others")


def test_no_interval_is_never_decided():
    assert not is_decided(over_seeds({1: 0.5}))
    assert not is_decided(over_seeds({1: 0.1, 2: -0.1}))
    assert is_decided(over_seeds({1: 0.1, 2: 0.101}))
    assert not is_decided(over_seeds({1: 0.1, 2: 0.1}))  # counts agree by chance
    assert not is_decided(over_seeds({1: 0.3 - 0.2, 2: 0.1}))


@pytest.mark.parametrize(("clean", "words"), [(118, "1 of 2 networks does no better than guessing"), (119, "")])
def test_networks_that_guess_are_told(clean, words):
    """Wilson's interval of 118 in 1,000 begins below a tenth, that of 119 above."""
    remarks = answer(results(network(1, clean=clean), network(2, clean=900))).remarks
    assert any(words in remark for remark in remarks) if words else not any("guess" in remark for remark in remarks)


@pytest.mark.parametrize(
    "names", [["FGSM", "PGD"], ["training with FGSM, epsilon 0.05", "training with PGD, epsilon 0.05"]]
)
def test_the_names_of_the_lines_fit_above_the_figure(names):
    figure = figures.new_figure(*figures.WIDE)
    axis = figure.subplots()
    for name in names * 2:
        axis.plot([0, 1], label=name)
    figures._legend_above(figure, axis, columns=2)
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert box.y0 >= axis.get_window_extent().y1
