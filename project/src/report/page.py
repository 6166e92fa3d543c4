"""Put what is known of a study on one page, with the figures and the tables it was made from as files beside it."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from src.drawing import COLOURS, GRID, INK, QUIET, as_files
from src.parameters import ATTACKS, LABELS, STANDARD, in_words
from src.report import figures
from src.report.answer import Answer, answer, describe_effect, fewer_images, images_of_each, is_decided, percent, points
from src.report.confusion import matrices
from src.report.effects import Effect, effects, effects_by_setting, varying
from src.report.facts import DataSetResults, Job, Network, Study
from src.report.gallery import describe_choice, gallery
from src.report.origin import read_origin
from src.tables import as_csv, as_parquet

from plmnist.measurements import WORST, Measurement
from plmnist.registry import DATASETS
from plmnist.sample import Sample
from plmnist.statistics import OverSeeds, over_seeds, wilson

REPORT = "report.html"
MOST_PANELS = 12
MOST_REASONS = 3
MEASUREMENTS, DIFFERENCES = "measurements", "differences"


@dataclass(frozen=True)
class Picture:
    """A figure on the page: drawn in the page's own colours, and as files beside it."""

    name: str
    svg: Markup
    caption: str = ""


class Album:
    """Turns figures into pictures and keeps their files."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, figure: Figure, name: str, alt: str, caption: str = "") -> Picture:
        """Return the picture of a figure; `alt` says in words what it shows."""
        files = as_files(figure, name)
        self.files |= {f"figures/{file}": content for file, content in files.items()}
        return Picture(name, inline(files[f"{name}.svg"].decode(), name, alt), caption)


def render(study: Study) -> dict[str, bytes]:
    """Return the files of the report by name: the page, its figures, and the tables behind it."""
    album = Album()
    sections = [_section(results, album) for results in study.datasets]
    parts = ("train", "fgsm", "pgd", "noise", "checks")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "words": in_words}
    page = environment.get_template("page.html").render(
        sections=sections,
        n_jobs=len(study.jobs) + len(study.broken),
        missing=[_missing(part, jobs, study) for part, jobs in study.missing().items()],
        broken=study.broken,
        checks=_checks(study.jobs),
        attacks=_settings_of_attacks(study.jobs),
        # The digits have it unasked.
        adversarial=any(
            job.parameters["training"] != STANDARD and job.parameters["dataset"] != "digits" for job in study.jobs
        ),
        hashes=_data_hashes(study.jobs),
        origin=read_origin([job.folder for job in study.jobs], parts),
        has_worst_case=any(row["attack"] == WORST for row in study.rows),
        labels=LABELS,
        attack_names=ATTACKS,
    )
    differences = [row for section in sections for row in section["differences"]]
    tables = {MEASUREMENTS: study.rows, DIFFERENCES: differences}
    files = {f"{name}.csv": as_csv(rows).encode() for name, rows in tables.items()}
    files |= {f"{name}.parquet": as_parquet(rows) for name, rows in tables.items() if rows}
    return files | album.files | {REPORT: page.encode()}


def inline(svg: str, name: str, alt: str) -> Markup:
    """Return an SVG for use within a page: named, as wide as its place, in the page's letters and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # The same ids in two figures of one page would be mixed up.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", svg)
    for number, colour in enumerate(COLOURS):
        svg = svg.replace(colour.lower(), f"var(--c{number})")
    for variable, colour in (("ink", INK), ("quiet", QUIET), ("grid", GRID), ("page", "#ffffff")):
        svg = svg.replace(colour.lower(), f"var(--{variable})")
    label = str(Markup.escape(alt))
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", svg, count=1)
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def _section(results: DataSetResults, album: Album) -> dict[str, Any]:
    found = answer(results)
    section: dict[str, Any] = {
        "name": results.name,
        "title": DATASETS[results.name].title,
        "answer": found,
        "epsilon": results.epsilon,
        "strongest": ATTACKS[results.strongest],
        "has_results": bool(results.attacked),
        "n_networks": len(results.networks),
        "differences": [],
    }
    if not results.attacked:
        return section
    all_effects = effects(results)
    names = varying(results.attacked)
    under = f"under {ATTACKS[results.strongest]}"
    settings = results.settings()
    same = [network.fgsm_on_same_images(results.epsilon) for network in results.attacked]
    section |= {
        "main": album.add(
            figures.main_figure(results, found.effect), f"{results.name}_answer", _alt_of_main(results, found)
        ),
        "curves": [
            album.add(figure, f"{results.name}_curve_{i}", f"Accuracy against epsilon, {title}.", title)
            for i, (title, figure) in enumerate(figures.curve_panels(results, MOST_PANELS), start=1)
        ],
        "n_settings": len(settings),
        "most_seeds": max(len(networks) for networks in settings.values()),
        "subset": " ".join(fewer_images(results)),
        "images": images_of_each(results),
        "success": album.add(
            figures.success_figure(results, found.effect),
            f"{results.name}_success",
            "Share of the images classified correctly before that each attack turns, against epsilon; the tables below "
            "have the numbers at the epsilon of the study.",
        ),
        "same_images": _same_images(results, same),
        "trade_off": album.add(
            figures.trade_off(results),
            f"{results.name}_trade_off",
            f"Accuracy {under} against accuracy without attack, on the same images, for {len(results.attacked)} "
            "networks; the table below has the numbers.",
        ),
        "effects": [_effect_row(effect) for effect in all_effects],
        "effect_figure": all_effects
        and album.add(
            figures.effect_figure(results, all_effects),
            f"{results.name}_effects",
            "Differences of the accuracy, with their intervals; the table below has the numbers.",
        ),
        "parameters": [
            album.add(
                figure,
                f"{results.name}_{parameter}_{attack}",
                f"Accuracy, {ATTACKS[attack]}, against {LABELS[parameter]}.",
            )
            for parameter, attack, figure in figures.parameter_panels(results)
        ],
        "learning": [
            album.add(figure, f"{results.name}_learning_{i}", f"Accuracy and loss in each epoch, {title}.", title)
            for i, (title, figure) in enumerate(figures.learning_panels(results, MOST_PANELS), start=1)
        ],
        "confusions": matrices(results, found.effect),
        "gallery": gallery(results, found.effect),
        "gallery_choice": describe_choice(results, found.effect),
        "columns": names,
        "fixed": _fixed(results, names),
        "attack_columns": [a for a in ATTACKS if _is_measured(results, a)],
        "table": [_row(networks, names, results) for networks in settings.values()],
        "networks": [
            _network_row(network, fgsm, names, results) for network, fgsm in zip(results.attacked, same, strict=True)
        ],
        "differences": [
            *(_difference_row(results, effect, f"average of {effect.n_others}") for effect in all_effects),
            *(_difference_row(results, effect, setting) for setting, effect in effects_by_setting(results)),
        ],
    }
    return section


def _same_images(results: DataSetResults, same: Sequence[Measurement | None]) -> str:
    """Compare PGD with FGSM on the images that PGD attacked, if these are not all; in a sentence."""
    pairs = [
        (fgsm.numerator or 0, pgd.numerator or 0, pgd.denominator < network.clean.denominator)
        for network, fgsm in zip(results.attacked, same, strict=True)
        if fgsm is not None and (pgd := network.curves["pgd"][results.epsilon])
    ]
    if not any(is_part for *_, is_part in pairs):
        return ""
    as_strong = sum(pgd <= fgsm for fgsm, pgd, _ in pairs)
    share = "every network" if as_strong == len(pairs) else f"{as_strong} of {len(pairs)} networks"
    return f"On these images, each asked by itself, PGD leaves no more of them right than FGSM does for {share}."


def _alt_of_main(results: DataSetResults, found: Answer) -> str:
    return f"Accuracy under {ATTACKS[results.strongest]} against epsilon. {found.sentence}"


def _is_measured(results: DataSetResults, attack: str) -> bool:
    return any(network.accuracy(attack, results.epsilon) is not None for network in results.attacked)


def _fixed(results: DataSetResults, names: Sequence[str]) -> list[str]:
    parameters = results.attacked[0].parameters
    return [in_words(name, parameters[name]) for name in LABELS if name in parameters and name not in names]


def _row(networks: Sequence[Network], names: Sequence[str], results: DataSetResults) -> dict[str, Any]:
    cells = {}
    for attack in ATTACKS:
        values = {n.seed: value for n in networks if (value := n.accuracy(attack, results.epsilon)) is not None}
        cells[attack] = over_seeds(values) if values else None
    return {"parameters": [networks[0].parameters[name] for name in names], "n": len(networks), "cells": cells}


def _network_row(
    network: Network, same: Measurement | None, names: Sequence[str], results: DataSetResults
) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for attack in ATTACKS:
        found = network.clean if attack == "none" else network.curves.get(attack, {}).get(results.epsilon)
        interval = found and wilson(found.numerator or 0, found.denominator)
        cells[attack] = found and {"found": found, "interval": interval}
    return {
        "parameters": [network.parameters[name] for name in names],
        "seed": network.seed,
        "id": network.jobs[0].folder.name,
        "cells": cells,
        "same": same and {"found": same, "interval": wilson(same.numerator or 0, same.denominator)},
        "success": network.success(results.strongest, results.epsilon),
    }


def _effect_row(effect: Effect) -> dict[str, Any]:
    return {
        "text": describe_effect(effect),
        "n": effect.n,
        "n_others": effect.n_others,
        "clean": effect.clean,
        "robust": effect.robust,
        "is_decided": is_decided(effect.robust),
    }


def _difference_row(results: DataSetResults, effect: Effect, setting: str) -> dict[str, Any]:
    row = {
        "dataset": results.name,
        "parameter": effect.parameter,
        "from": str(effect.before),
        "to": str(effect.after),
        "other_parameters": setting,
        "n_seeds": effect.n,
        "attack": results.strongest,
        "epsilon": results.epsilon,
    }
    for name, summary in (("clean", effect.clean), ("attacked", effect.robust)):
        row |= _columns(f"{name}_acc_difference", summary)
    return row


def _columns(name: str, summary: OverSeeds) -> dict[str, Any]:
    low, high = summary.interval or (None, None)
    return {
        f"{name}_avg": summary.mean,
        f"{name}_std": summary.sd,
        f"{name}_ci95_low": low,
        f"{name}_ci95_high": high,
        f"{name}_by_seed": list(summary.values.values()),
    }


def _missing(part: str, jobs: Sequence[tuple[Job, str]], study: Study) -> dict[str, Any]:
    reasons = Counter(why for _, why in jobs if why)
    return {
        "part": part,
        "jobs": [f"{_name_of(job, study)}{': ' if why else ''}{why}" for job, why in jobs],
        "reasons": reasons.most_common(MOST_REASONS),
        "n_more": sum(reasons.values()) - sum(n for _, n in reasons.most_common(MOST_REASONS)),
    }


def _name_of(job: Job, study: Study) -> str:
    parameters = job.parameters
    datasets = study.datasets
    own = next(results for results in datasets if results.name == parameters["dataset"])
    vary = [name for name in parameters if len({other.parameters[name] for other in own.jobs}) > 1]
    start = [parameters["dataset"]] if len(datasets) > 1 else []
    values = [f"{LABELS.get(name, name.replace('_', ' '))} {parameters[name]}" for name in vary]
    return f"{job.folder.name[:8]} ({', '.join([*start, *values])})"


def _checks(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return each self-check with the number of networks that passed it, and the sentences of those that did not."""
    found: dict[str, dict[str, Any]] = {}
    for job in jobs:
        for check in job.checks():
            entry = found.setdefault(check["name"], {"name": check["name"], "n": 0, "sentence": "", "warnings": []})
            entry["n"] += 1
            if check["passed"]:
                entry["sentence"] = entry["sentence"] or check["sentence"]
            else:
                entry["warnings"].append({"id": job.folder.name[:8], "sentence": check["sentence"]})
    return list(found.values())


def _settings_of_attacks(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """Return how each attack was set, in words; more than one entry if networks were attacked differently."""
    found: dict[str, dict[str, None]] = {}
    for job in jobs:
        for attack in ("fgsm", "pgd", "noise"):
            record = job.record(f"{attack}.json")
            if isinstance(record, dict) and isinstance(record.get("settings"), dict):
                words = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in record["settings"].items()]
                found.setdefault(attack, {})[", ".join([str(Sample.of_record(record)), *words])] = None
    return {attack: list(texts) for attack, texts in found.items()}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data_hashes(jobs: Sequence[Job]) -> dict[str, str]:
    found: dict[str, str] = {}
    for job in jobs:
        record = job.record("train.json")
        if isinstance(record, dict):
            found |= record.get("data_sha256", {})
    return found
