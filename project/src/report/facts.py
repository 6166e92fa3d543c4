"""What the job folders say: which networks there are, how they fared, and what is missing.

Jobs that differ in the epsilon of the attack only have the same network, and are one network here.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from src.parameters import with_training_in_words
from src.seed_analysis import UNREADABLE, configuration_of, reason_of

from plmnist.errors import PlmnistError
from plmnist.measurements import WORST, Measurement, measurements, rows_of
from plmnist.outcomes import common_sample, smallest_budgets
from plmnist.provenance import last_failure
from plmnist.results import load_attack, load_checks, load_examples
from plmnist.sample import Sample
from plmnist.verification import outdated

N_CLASSES = 10
CHANCE = 1 / N_CLASSES

COURSE = ("epoch", "train_loss", "train_acc", "val_loss", "val_acc")
CHECK = ("name", "passed", "sentence")

PARTS = {
    "part 3, training": ("train.json",),
    "part 4, FGSM": ("fgsm.json",),
    "part 4, control attacks": ("pgd.json", "noise.json"),
    "part 4, checks": ("checks.json",),
}
"""A part of the study -> the files it leaves in a job folder."""


@dataclass(frozen=True)
class Job:
    """A job folder."""

    folder: Path
    parameters: dict[str, Any]

    def missing(self) -> dict[str, str]:
        """Return the parts of which a file is not there, or of no use, and why; an empty text where nobody knows."""
        found: dict[str, str] = {}
        for part, files in PARTS.items():
            for name in files:
                reason = self._why_missing(name)
                if reason is not None:
                    found[part] = found.get(part) or reason
        return found

    def _why_missing(self, name: str) -> str | None:
        if (self.folder / name).exists():
            return outdated(self.folder, name)
        return last_failure(self.folder, Path(name).stem) or ""

    def record(self, name: str) -> Any:
        """Return the content of a JSON file of the job; None if it is not there or not whole."""
        try:
            return json.loads((self.folder / name).read_bytes())
        except (OSError, ValueError):
            return None

    def checks(self) -> list[dict[str, Any]]:
        """Return the self-checks of the network, each with name, outcome and sentence; none if they are of no use."""
        try:
            return [{name: check[name] for name in CHECK} for check in load_checks(self.folder)["checks"]]
        except (TypeError, KeyError, PlmnistError):
            return []


@dataclass
class Network:
    """A trained network and all that was measured of it.

    Attributes
    ----------
    parameters
        What it was trained with, without seed and epsilon of the attack; the training is one value, in words.
    clean
        Accuracy on the test images, without attack.
    curves
        Attack -> epsilon -> accuracy on the test images attacked; ``worst``: under all attacks together.
    given_clean
        The same for the images classified correctly before the attack.
    samples
        Attack -> epsilon -> which of the test images were attacked.
    """

    parameters: dict[str, Any]
    seed: int
    jobs: list[Job]
    clean: Measurement
    curves: dict[str, dict[float, Measurement]] = field(default_factory=dict)
    given_clean: dict[str, dict[float, Measurement]] = field(default_factory=dict)
    samples: dict[str, dict[float, Sample]] = field(default_factory=dict)

    @property
    def setting(self) -> tuple[Any, ...]:
        """Everything but the seed."""
        return tuple(self.parameters.values())

    def accuracy(self, attack: str, epsilon: float) -> float | None:
        """Return the share of test images classified correctly; None if that was not measured."""
        found = self.clean if attack == "none" else self.curves.get(attack, {}).get(epsilon)
        return None if found is None else found.value

    def clean_beside(self, attack: str, epsilon: float) -> float:
        """Return the share of the images an attack was made on that are classified correctly without it."""
        return self.given_clean[attack][epsilon].denominator / self.curves[attack][epsilon].denominator

    def sample(self, attack: str, epsilon: float) -> Sample | None:
        """Return which of the test images an attack was made on; None if it was not made."""
        n = self.clean.denominator
        return Sample(n, n) if attack == "none" else self.samples.get(attack, {}).get(epsilon)

    def success(self, attack: str, epsilon: float) -> float | None:
        """Return the share of the images classified correctly before that an attack turns."""
        found = self.given_clean.get(attack, {}).get(epsilon)
        return None if found is None or found.value is None else 1 - found.value

    def examples(self, epsilon: float) -> dict[str, Any] | None:
        """Return what FGSM at the epsilon of one of the jobs left of images; None if that is not there or not whole."""
        job = self._job_at(epsilon)
        try:
            return load_examples(job.folder) if job else None
        except PlmnistError:
            return None

    def _job_at(self, epsilon: float) -> Job | None:
        return next((job for job in self.jobs if job.parameters["fgsm_epsilon"] == epsilon), None)

    def confusions(self, attack: str, epsilon: float) -> tuple[Any, Any] | None:
        """Return the images of an attack by true and predicted class, before and after it, if that was counted."""
        for job in self.jobs:
            record = job.record(f"{attack}.json") if job.parameters["fgsm_epsilon"] == epsilon else None
            try:
                before, after = record["clean_confusion"], record["adversarial_confusion"]
                if _are_counts_of_classes(before) and _are_counts_of_classes(after):
                    return before, after
            except (KeyError, TypeError):  # a record of before they were counted, or a damaged one
                continue
        return None

    def fgsm_on_same_images(self, epsilon: float) -> Measurement | None:
        """Return how many of the images that PGD attacked withstand FGSM at every budget up to epsilon.

        Each image is asked by itself, as PGD does: what a smaller budget turns is turned.
        """
        pgd, job = self.curves.get("pgd", {}).get(epsilon), self._job_at(epsilon)
        if pgd is None or job is None:
            return None
        smallest = smallest_budgets(job.folder, "fgsm", self.samples["pgd"][epsilon])
        if smallest is None:
            return None
        withstood = int((smallest > epsilon).sum())
        return replace(pgd, attack="fgsm", numerator=withstood, value=withstood / pgd.denominator)

    def history(self) -> list[dict[str, float]]:
        """Return the course of the training, a row for each epoch; nothing if it is not whole."""
        try:
            with open(self.jobs[0].folder / "history.csv") as file:
                rows = [{name: float(row[name]) for name in COURSE} for row in csv.DictReader(file)]
        except (OSError, ValueError, KeyError, TypeError):
            return []
        return rows if len(rows) == self.parameters["num_epochs"] else []


@dataclass
class DataSetResults:
    """The networks of one data set.

    Attributes
    ----------
    epsilon
        The budget at which networks are compared: that of most jobs; the larger of two as frequent ones.
    strongest
        The strongest attack that all attacked networks have met: ``pgd``, or else ``fgsm``.
    """

    name: str
    jobs: list[Job]
    networks: list[Network]
    epsilon: float
    strongest: str

    def settings(self) -> dict[tuple[Any, ...], list[Network]]:
        """Return the attacked networks by setting, in the order of the settings."""
        groups: dict[tuple[Any, ...], list[Network]] = {}
        for network in self.attacked:
            groups.setdefault(network.setting, []).append(network)
        return groups

    @property
    def attacked(self) -> list[Network]:
        """The networks of which the accuracy under FGSM at the common epsilon is known."""
        return [network for network in self.networks if network.accuracy("fgsm", self.epsilon) is not None]


@dataclass
class Study:
    """All that a report tells of."""

    datasets: list[DataSetResults]
    jobs: list[Job]
    broken: dict[str, str]
    rows: list[dict[str, Any]]

    def missing(self) -> dict[str, list[tuple[Job, str]]]:
        """Return, of each part that jobs lack, these jobs, and why if that is known."""
        lacking = [(job, job.missing()) for job in self.jobs]
        found = {part: [(job, why[part]) for job, why in lacking if part in why] for part in PARTS}
        return {part: jobs for part, jobs in found.items() if jobs}


def read_study(folders: Iterable[Path]) -> Study:
    """Read all job folders; what can't be read is named in ``broken`` and left out."""
    jobs: list[Job] = []
    broken: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    networks: dict[tuple[Any, ...], Network] = {}
    for folder in folders:
        try:
            job = Job(folder, asdict(configuration_of(folder)))
            found = measurements(folder)
            attacks = {m.attack for m in found} - {"none", WORST}
            samples = {attack: Sample.of_record(load_attack(folder, attack)) for attack in attacks}
            if any(m.attack == WORST for m in found):
                samples[WORST] = common_sample(samples.values())
            rows += rows_of(folder, found)
        except UNREADABLE as error:
            broken[folder.name] = reason_of(error, folder)
            continue
        jobs.append(job)
        if found:
            _add(networks, job, found, samples)
    jobs.sort(key=_order)
    return Study(_datasets(jobs, list(networks.values())), jobs, broken, rows)


def _are_counts_of_classes(rows: Any) -> bool:
    """Say whether there is a whole number for each pair of classes."""
    return [len(row) for row in rows] == N_CLASSES * [N_CLASSES] and all(type(n) is int for row in rows for n in row)


def _order(job: Job) -> list[Any]:
    # Standard training first.
    parameters = job.parameters
    return [parameters["dataset"], parameters["training"] != "standard", *map(str, _padded(parameters))]


def _padded(parameters: Mapping[str, Any]) -> list[str]:
    return [f"{value:030.12f}" if isinstance(value, int | float) else str(value) for value in parameters.values()]


def _add(
    networks: dict[tuple[Any, ...], Network],
    job: Job,
    found: Sequence[Measurement],
    samples: Mapping[str, Sample],
) -> None:
    """Add a job to the network it shares with others, or begin one."""
    parameters = with_training_in_words(job.parameters)
    seed = parameters.pop("seed")
    del parameters["fgsm_epsilon"]
    clean = next(m for m in found if (m.attack, m.metric) == ("none", "test_acc"))
    network = networks.setdefault((*parameters.values(), seed), Network(parameters, seed, jobs=[], clean=clean))
    network.jobs.append(job)
    for m in found:
        if m.attack != "none":
            curves = network.curves if m.metric == "test_acc" else network.given_clean
            curves.setdefault(m.attack, {})[m.epsilon] = m
            network.samples.setdefault(m.attack, {})[m.epsilon] = samples[m.attack]


def _datasets(jobs: Sequence[Job], networks: Sequence[Network]) -> list[DataSetResults]:
    order = {id(job): place for place, job in enumerate(jobs)}
    datasets = []
    for name in sorted({job.parameters["dataset"] for job in jobs}):
        members = [job for job in jobs if job.parameters["dataset"] == name]
        of_set = [network for network in networks if network.parameters["dataset"] == name]
        of_set.sort(key=lambda network: min(order[id(job)] for job in network.jobs))
        budgets = Counter(job.parameters["fgsm_epsilon"] for job in members)
        epsilon = max(budgets, key=lambda value: (budgets[value], value))
        results = DataSetResults(name, members, of_set, epsilon, "fgsm")
        attacked = results.attacked
        if attacked and all(network.accuracy("pgd", epsilon) is not None for network in attacked):
            results.strongest = "pgd"
        datasets.append(results)
    return datasets
