"""The question of the study and its answer, computed from what was measured.

CHANGE HERE: the sentences. Which one is said depends on the grid and on what the intervals allow to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from src.parameters import ATTACKS, LABELS, STANDARD, in_words
from src.report.effects import Effect, effects, varying
from src.report.facts import CHANCE, DataSetResults

from plmnist.sample import Sample
from plmnist.statistics import OverSeeds, over_seeds, wilson


@dataclass(frozen=True)
class Answer:
    """A question, the answer in one sentence, remarks on it, and the effect it is about, if it is about one."""

    question: str
    sentence: str
    remarks: list[str]
    effect: Effect | None = None


def answer(results: DataSetResults) -> Answer:
    """Answer the question that a grid of parameters asks."""
    attacked = results.attacked
    if not attacked:
        return Answer(
            "How robust are these networks?",
            f"There is no answer yet: none of {len(results.jobs)} jobs has been attacked.",
            [],
        )
    found = effects(results)
    trainings = [effect for effect in found if effect.parameter == "training" and effect.before == STANDARD]
    if trainings:
        best = max(trainings, key=lambda effect: effect.robust.mean)
        question = "Does adversarial training make a small network more robust, and what does it cost?"
        remarks = [f"It is the best of {len(trainings)} adversarial trainings; its interval does not know that."]
        remarks = remarks[: len(trainings) > 1] + _remarks(results, best)
        return Answer(question, _of_training(results, best), remarks, best)
    if found:
        largest = max(found, key=lambda effect: abs(effect.robust.mean))
        names = varying(attacked)
        if len(names) > 1:
            question = "Which parameter of the training changes the robustness of a small network most?"
        else:
            question = f"How does a small network's robustness change with {_article(names[0])}?"
        remarks = [f"It is the largest of {len(found)} differences; its interval does not know that."]
        sentence = _of_parameter(results, largest, alone=len(found) == 1)
        return Answer(question, sentence, remarks[: len(found) > 1] + _remarks(results, largest), largest)
    return Answer("How robust is this small network?", _of_one_setting(results), _remarks(results, None))


def points(value: float) -> str:
    """Return a difference of accuracies in percentage points, with its sign."""
    text = f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
    return text[1:] if float(f"{100 * value:.1f}") == 0 else text


def percent(value: float) -> str:
    """Return a share in per cent."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")


def is_decided(difference: OverSeeds) -> bool:
    """Say whether the interval leaves out zero."""
    return difference.interval is not None and 0.0 not in difference.interval


def fewer_images(results: DataSetResults) -> list[str]:
    """Say it if the strongest attack was made on a part of the test images only."""
    samples = samples_of(results, results.strongest)
    if all(sample.is_all for sample in samples):
        return []
    some, *more = samples
    start = f"{ATTACKS[results.strongest]} attacked {some}"
    if not more:
        return [f"{start}."]
    return [f"{start} for some networks and {more[-1]} for others, so these differ in their images, too."]


def images_of_each(results: DataSetResults) -> str:
    """Say on which images each accuracy is, if not all are on all test images."""
    samples = {attack: samples_of(results, attack) for attack in ATTACKS}
    if all(sample.is_all for found in samples.values() for sample in found):
        return ""
    attacks: dict[str, list[str]] = {}
    for attack, found in samples.items():
        attacks.setdefault(" or ".join(map(str, found)), []).append(ATTACKS[attack])
    parts = [f"{', '.join(names)}: {images}" for images, names in attacks.items() if images]
    return f"Images: {'; '.join(parts)}."


def samples_of(results: DataSetResults, attack: str) -> list[Sample]:
    """Return the parts of the test images that networks met in an attack at the common epsilon, each once."""
    found = {network.sample(attack, results.epsilon) for network in results.attacked} - {None}
    return sorted(found, key=lambda sample: (sample.n, sample.kind))


def _of_training(results: DataSetResults, effect: Effect) -> str:
    under = f"the accuracy under {_attack(results)}"
    subject = f"adversarial training ({effect.after})"
    if is_decided(effect.robust):
        verdict, verb = ("Yes", "raises") if effect.robust.mean > 0 else ("No", "lowers")
        start = f"{verdict}: {subject} {verb} {under}"
    elif effect.n > 1:
        start = f"These seeds can't tell: {subject} moves {under}"
    else:
        start = f"{_in_one_seed(results)}, {subject} moves {under}"
    cost = f"the accuracy without attack changes by {_with_interval(effect.clean)}"
    return f"{start} {_from_to(effect)}, and {cost}."


def _of_parameter(results: DataSetResults, effect: Effect, *, alone: bool) -> str:
    label = _label(effect.parameter)
    verb = "moves"
    if is_decided(effect.robust):
        verb = "raises" if effect.robust.mean > 0 else "lowers"
    change = (
        f"going from {_value(effect.before)} to {_value(effect.after)} {verb} the accuracy under {_attack(results)} "
        f"{_from_to(effect)}."
    )
    if effect.n == 1:
        return f"{_in_one_seed(results)}, {label}{'' if alone else ' has the largest effect'}: {change}"
    if not is_decided(effect.robust):
        return f"These seeds can't tell: the largest difference is that of {label}, where {change}"
    return f"{label[0].upper()}{label[1:]}{'' if alone else ' has the largest effect'}: {change}"


def _of_one_setting(results: DataSetResults) -> str:
    settings = results.settings()
    networks = next(iter(settings.values()))
    subject = "It classifies"
    if len(settings) > 1:
        setting = describe_setting(networks[0].parameters, varying(results.attacked))
        subject = f"Nothing can be compared; the first setting ({setting}) classifies"
    robust = over_seeds({n.seed: n.accuracy(results.strongest, results.epsilon) or 0.0 for n in networks})
    clean = over_seeds({n.seed: n.clean.value or 0.0 for n in networks})
    return (
        f"{subject} {percent(clean.mean)} of the test images correctly, and {percent(robust.mean)} under "
        f"{_attack(results)} ({_interval_of_share(robust)})."
    )


def _in_one_seed(results: DataSetResults) -> str:
    is_only_one = len({network.seed for network in results.attacked}) == 1
    return "In the one seed there is" if is_only_one else "In the one seed that both have"


def _from_to(effect: Effect) -> str:
    return (
        f"from {percent(effect.robust_before.mean)} to {percent(effect.robust_after.mean)}, "
        f"a difference of {_with_interval(effect.robust, named=True)}"
    )


def _with_interval(difference: OverSeeds, *, named: bool = False) -> str:
    text = f"{points(difference.mean)}\N{NO-BREAK SPACE}points"
    if difference.interval is None:
        return f"{text} ({_why_none(difference)})" if named else text
    low, high = difference.interval
    start = f"95\N{NO-BREAK SPACE}% interval over {difference.n} seeds: " if named else ""
    return f"{text} ({start}{points(low)} to {points(high)})"


def _why_none(summary: OverSeeds) -> str:
    return "one seed gives no interval" if summary.n == 1 else f"the same for all {summary.n} seeds, so no interval"


def _interval_of_share(summary: OverSeeds) -> str:
    if summary.interval is None:
        return _why_none(summary)
    low, high = summary.interval
    return f"95\N{NO-BREAK SPACE}% interval over {summary.n} seeds: {percent(low)} to {percent(high)}"


def _remarks(results: DataSetResults, effect: Effect | None) -> list[str]:
    remarks = []
    if effect is not None and effect.n_others > 1:
        remarks.append(f"Averaged over {effect.n_others} settings of the other parameters.")
    if results.strongest == "fgsm":
        with_pgd = sum(n.accuracy("pgd", results.epsilon) is not None for n in results.attacked)
        lacking = len(results.attacked) - with_pgd
        if with_pgd:
            remarks.append(f"PGD is missing for {lacking} of {len(results.attacked)} networks, so FGSM is compared.")
        remarks.append("FGSM is a weak attack: what withstands it is an upper bound on robustness.")
    remarks += fewer_images(results)
    guessing = sum(wilson(n.clean.numerator or 0, n.clean.denominator).low <= CHANCE for n in results.attacked)
    if guessing:
        share = f"{guessing} of {len(results.attacked)} networks {'does' if guessing == 1 else 'do'}"
        remarks.append(f"{share} no better than guessing without attack; how robust such a network is says nothing.")
    n_settings = len(results.settings())
    if n_settings > 1 and effect is None:
        remarks.append("No two networks differ in one parameter only and share a seed, so nothing can be compared.")
    return remarks


def _attack(results: DataSetResults) -> str:
    return f"{ATTACKS[results.strongest]} at epsilon {results.epsilon:g}"


def _label(parameter: str) -> str:
    return LABELS[parameter].removesuffix(" (pixel units)")


def _article(parameter: str) -> str:
    words = {"num_epochs": "the number of epochs", "hidden_size": "the number of hidden units per layer"}
    return words.get(parameter, f"the {_label(parameter)}")


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_effect(effect: Effect) -> str:
    """Return an effect as a phrase, such as ``"dropout probability 0 to 0.5"``."""
    if effect.parameter == "training":
        return f"{_value(effect.before)} training to {_value(effect.after)}"
    return f"{in_words(effect.parameter, effect.before)} to {_value(effect.after)}"


def describe_setting(parameters: dict[str, object], names: Sequence[str]) -> str:
    """Return the values of some parameters as a phrase."""
    return ", ".join(in_words(name, parameters[name]) for name in names) or "the only setting"
