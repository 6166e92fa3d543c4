"""What a parameter does: differences within seeds, all else being equal."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from src.parameters import LABELS, in_words, sort_key
from src.report.facts import DataSetResults, Network

from plmnist.statistics import OverSeeds, over_seeds, paired_difference


@dataclass(frozen=True)
class Effect:
    """What changes when one parameter goes from one value to another.

    For each seed, an accuracy is averaged over the settings of the other parameters of which there are networks with
    both values; the statistics are over seeds.

    Attributes
    ----------
    clean, robust
        Difference of the accuracy without attack, and under the strongest attack.
    robust_before, robust_after
        The accuracies under the strongest attack themselves, over the same networks.
    others
        Settings of the other parameters that were averaged over.
    """

    parameter: str
    before: Any
    after: Any
    clean: OverSeeds
    robust: OverSeeds
    robust_before: OverSeeds
    robust_after: OverSeeds
    others: tuple[tuple[Any, ...], ...]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return self.robust.n

    @property
    def n_others(self) -> int:
        """Number of settings of the other parameters."""
        return len(self.others)


def varying(networks: Iterable[Network]) -> list[str]:
    """Return the parameters of which there is more than one value, as they are listed to people."""
    found = list(networks)
    return [name for name in LABELS if len({n.parameters[name] for n in found if name in n.parameters}) > 1]


def values_of(parameter: str, networks: Iterable[Network]) -> list[Any]:
    """Return the values of a parameter, standard training first."""
    return sorted({network.parameters[parameter] for network in networks}, key=sort_key)


def effects(results: DataSetResults) -> list[Effect]:
    """Return, for each parameter that varies, the effect of going from its first value to each other one."""
    found = []
    for parameter in varying(results.attacked):
        first, *rest = values_of(parameter, results.attacked)
        found += [effect for value in rest if (effect := effect_of(results, parameter, first, value)) is not None]
    return found


def effects_by_setting(results: DataSetResults) -> list[tuple[str, Effect]]:
    """Return the same for each setting of the other parameters by itself, with that setting in words.

    Every pair of combinations that differ in one parameter and share a seed is there, however many seeds they share.
    """
    found = []
    for parameter in varying(results.attacked):
        names = [name for name in varying(results.attacked) if name != parameter]
        first, *rest = values_of(parameter, results.attacked)
        groups: dict[tuple[Any, ...], list[Network]] = defaultdict(list)
        for network in results.attacked:
            groups[others_of(network, parameter)].append(network)
        for networks in groups.values():
            words = ", ".join(in_words(name, networks[0].parameters[name]) for name in names)
            alone = replace(results, networks=networks)
            found += [(words, e) for v in rest if (e := effect_of(alone, parameter, first, v)) is not None]
    return found


def effect_of(results: DataSetResults, parameter: str, before: Any, after: Any) -> Effect | None:
    """Compare two values of a parameter; None if no seed has networks that differ in nothing else."""
    by_place: dict[Any, dict[tuple[Any, ...], dict[int, Network]]] = {
        before: defaultdict(dict),
        after: defaultdict(dict),
    }
    for network in results.attacked:
        if network.parameters[parameter] in by_place:
            by_place[network.parameters[parameter]][others_of(network, parameter)][network.seed] = network
    pairs = {
        (others, seed)
        for others, networks in by_place[before].items()
        for seed in networks.keys() & by_place[after].get(others, {}).keys()
    }
    seeds, settings = balanced(pairs)
    if not seeds:
        return None

    def mean(value: Any, accuracy: Callable[[Network], float | None]) -> dict[int, float]:
        return {
            seed: sum(accuracy(by_place[value][others][seed]) or 0.0 for others in settings) / len(settings)
            for seed in seeds
        }

    def clean(network: Network) -> float | None:
        return network.accuracy("none", 0.0)

    def robust(network: Network) -> float | None:
        return network.accuracy(results.strongest, results.epsilon)

    clean_difference = paired_difference(mean(before, clean), mean(after, clean))
    robust_difference = paired_difference(mean(before, robust), mean(after, robust))
    assert clean_difference is not None
    assert robust_difference is not None
    return Effect(
        parameter,
        before,
        after,
        clean=clean_difference,
        robust=robust_difference,
        robust_before=over_seeds(mean(before, robust)),
        robust_after=over_seeds(mean(after, robust)),
        others=tuple(settings),
    )


def balanced(pairs: Iterable[tuple[Any, int]]) -> tuple[list[int], list[Any]]:
    """Choose seeds and settings so that every chosen seed has every chosen setting.

    The seeds that have all settings are chosen if there are such; else the settings that all seeds have. Averages over
    different settings would be compared otherwise.
    """
    by_seed: dict[int, set[Any]] = defaultdict(set)
    for setting, seed in pairs:
        by_seed[seed].add(setting)
    everything = set().union(*by_seed.values()) if by_seed else set()
    complete = [seed for seed, settings in by_seed.items() if settings == everything]
    if complete:
        return sorted(complete), sorted(everything, key=repr)
    common = set.intersection(*by_seed.values()) if by_seed else set()
    return (sorted(by_seed), sorted(common, key=repr)) if common else ([], [])


def with_value(results: DataSetResults, effect: Effect, value: Any) -> list[Network]:
    """Return the networks of the seeds and settings of an effect with any value of its parameter; none if some lack."""
    found = [
        network
        for network in results.attacked
        if network.parameters[effect.parameter] == value
        and network.seed in effect.robust.values
        and others_of(network, effect.parameter) in effect.others
    ]
    return found if len(found) == effect.n * effect.n_others else []


def compared(results: DataSetResults, effect: Effect | None) -> dict[str, list[Network]]:
    """Return the networks of the two values that an effect compares, in words, or of the first setting without one."""
    if effect is None:
        return {"": next(iter(results.settings().values()))}
    values = (effect.before, effect.after)
    return {in_words(effect.parameter, value): with_value(results, effect, value) for value in values}


def others_of(network: Network, parameter: str) -> tuple[Any, ...]:
    """Return the setting of a network without one of its parameters."""
    return tuple(value for name, value in network.parameters.items() if name != parameter)
