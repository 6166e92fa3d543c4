"""The page: what it holds, what it admits, equal bytes for equal folders."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from src import report, seed_analysis
from src.report import is_up_to_date, write_report
from src.report.confusion import describe_largest
from src.report.facts import read_study

import plmnist
from plmnist.batch import attack_folders
from plmnist.cli import main
from plmnist.data import load_test
from plmnist.evaluation import logits_of
from plmnist.provenance import load_provenance
from plmnist.results import load_network, load_outcomes, pack_arrays
from plmnist.verification import verify_folder
from pointillist.definition.grid import statepoint_id

ORIGIN = re.compile(r"<!-- About the run.*?<!-- End of what is about the run", re.DOTALL)


class Job:
    """What the condition of the report asks of a signac job."""

    def __init__(self, path: Path) -> None:
        self.id, self.path = path.name, str(path)


def report_of(workspace: Path) -> str:
    analysis = workspace.parent / "analysis"
    write_report(workspace, analysis)
    return (analysis / "report.html").read_text()


def test_the_answer_is_returned_as_the_page_says_it(workspace):
    question, sentence = write_report(workspace, workspace.parent / "analysis").splitlines()
    page = html.unescape((workspace.parent / "analysis" / "report.html").read_text())
    assert f"<h1>{question}</h1>" in page
    assert f'<p class="answer">{sentence}</p>' in page


def jobs_of(workspace: Path) -> list[Job]:
    return [Job(path) for path in sorted(workspace.iterdir())]


def state_point(folder: Path) -> dict:
    return json.loads((folder / "signac_statepoint.json").read_bytes())


def named(folder: Path) -> Path:
    """Give the folder of a job the name that belongs to its state point."""
    return folder.rename(folder.with_name(statepoint_id(state_point(folder))))


class Outline(HTMLParser):
    """Collects what can be checked of a page without drawing it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.charts: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(attributes)
        if tag == "svg":
            self.charts.append(attributes)
        if "id" in attributes:
            self.ids.append(str(attributes["id"]))
        self.links += [str(attributes[name]) for name in ("href", "src", "xlink:href") if attributes.get(name)]


def test_the_answer_is_on_the_page_with_its_interval(workspace):
    page = report_of(workspace)
    assert "Does adversarial training make a small network more robust, and what does it cost?" in page
    answer = re.search(r'<p class="answer">(.*?)</p>', page).group(1)
    assert "under PGD at epsilon 0.1 from" in answer
    assert "interval over 2 seeds" in answer
    assert "This study is not finished" not in page


def test_equal_folders_give_equal_bytes_wherever_they_are(workspace, tmp_path):
    (sorted(workspace.iterdir())[-1] / "noise.json").write_text("{")
    assert str(tmp_path) not in report_of(workspace)
    elsewhere = tmp_path / "else where"
    shutil.copytree(workspace, elsewhere / "workspace")
    report_of(elsewhere / "workspace")
    first, second = tmp_path / "analysis", elsewhere / "analysis"
    names = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    # Provenance tells of times.
    names = [name for name in names if not name.startswith("provenance/")]
    assert len(names) > 30
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize(
    ("made", "part", "make"),
    [(seed_analysis, "seed_analysis", seed_analysis.write_analysis), (report, "report", report.write_report)],
)
def test_table_and_report_are_up_to_date_only_with_their_provenance(workspace, made, part, make):
    analysis = workspace.parent / "analysis"
    (analysis / made.INDEX).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        make(workspace, analysis)
    assert load_provenance(analysis, part)["outcome"] == "completed"
    assert not made.is_up_to_date(analysis, jobs_of(workspace))
    (analysis / made.INDEX).rmdir()
    make(workspace, analysis)
    assert made.is_up_to_date(analysis, jobs_of(workspace))
    assert verify_folder(analysis) == []


def test_only_the_block_about_the_run_depends_on_the_run(workspace):
    with_origin = report_of(workspace)
    assert "torch" in ORIGIN.search(with_origin).group()
    for folder in workspace.glob("*/provenance"):
        shutil.rmtree(folder)
    without = report_of(workspace)
    assert "was not recorded" in ORIGIN.search(without).group()
    assert ORIGIN.sub("", with_origin) == ORIGIN.sub("", without)


def test_the_page_is_sound_for_those_who_do_not_see_it(workspace):
    outline = Outline(report_of(workspace))
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(set(outline.ids)) == len(outline.ids)
    assert len(outline.images) == 30  # ten classes: original, and after the attack for two networks
    assert all(image["alt"] for image in outline.images)
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in outline.charts)


def test_the_page_refers_to_nothing_outside_itself(workspace):
    page = report_of(workspace)
    outline = Outline(page)
    for link in outline.links:
        assert link.startswith(("#", "data:")), link
        assert not link.startswith("#") or link[1:] in outline.ids
    assert not re.search(r"@import|url\((?!#)", page)


def test_every_job_that_lacks_a_part_is_named(workspace):
    lacking = next(folder for folder in sorted(workspace.iterdir()) if state_point(folder)["dropout_prob"] == 0.5)
    for name in ("pgd.json", "checks.json"):
        (lacking / name).unlink()
    page = report_of(workspace)
    assert "This study is not finished" in page
    assert "1 of 6 jobs lack part 4, control attacks" in page
    assert f"{lacking.name[:8]} (" in page
    assert "PGD is missing for 1 of 6 networks, so FGSM is compared." in page


def test_why_a_training_left_nothing_is_told(workspace):
    folder = workspace / "new"
    point = state_point(next(workspace.iterdir())) | {"learning_rate": 1e30, "dropout_prob": 0.0}
    folder.mkdir()
    (folder / "signac_statepoint.json").write_text(json.dumps(point))
    folder = named(folder)
    assert main(["train", "--config-name", "signac_statepoint.json", str(folder)]) == 1
    page = html.unescape(report_of(workspace))
    (entry,) = re.findall(rf"<li>{folder.name[:8]} .*diverged.*</li>", page)
    assert "the training diverged in epoch 1: training loss" in entry
    assert "Try a smaller learning_rate than 1e+30." in entry
    assert "<summary>1 of 7 jobs lack part 3, training</summary>" in page
    assert "<li>1 of them: the training diverged in epoch 1: " in page


def test_checks_of_an_earlier_version_are_not_told_but_named(workspace):
    path = sorted(workspace.glob("*/checks.json"))[0]
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 1}))
    page = html.unescape(report_of(workspace))
    assert "1 of 6 jobs lack part 4, checks" in page
    assert "checks.json was made by an earlier version of plmnist: it has format 1" in page
    assert "all 5 pass" in page


def test_a_study_without_any_result_says_so(workspace):
    for path in workspace.glob("*/*.json"):
        if path.name != "signac_statepoint.json":
            path.unlink()
    page = report_of(workspace)
    assert "There is no answer yet: none of 6 jobs has been attacked." in page
    assert "6 of 6 jobs lack part 3, training" in page


def test_trained_but_not_attacked_is_no_answer_either(workspace):
    for attack in ("fgsm", "pgd", "noise", "checks"):
        for path in workspace.glob(f"*/{attack}.json"):
            path.unlink()
    assert "There is no answer yet" in report_of(workspace)


def test_one_seed_gives_no_interval_and_says_so(workspace):
    for folder in list(workspace.iterdir()):
        if state_point(folder)["seed"] == 2:
            shutil.rmtree(folder)
    page = report_of(workspace)
    assert "In the one seed there is" in page
    assert "one seed gives no interval" in page
    assert "There is one seed, hence no band." in page


def test_without_adversarial_training_the_other_question_is_answered(workspace):
    for folder in list(workspace.iterdir()):
        if "training" in state_point(folder):
            shutil.rmtree(folder)
    page = report_of(workspace)
    assert "robustness change with the dropout probability?" in page


@pytest.mark.parametrize("content", ["{", '{"format": 1}', "[]", ""])
def test_a_damaged_record_is_named_and_the_rest_is_told(workspace, content):
    bad = sorted(workspace.iterdir())[0]
    (bad / "fgsm.json").write_text(content)
    page = report_of(workspace)
    assert "1 of 6 jobs can't be read" in page
    assert f"{bad.name}: " in page
    assert "fgsm.json" in page
    assert "Does adversarial training" in page


def test_files_with_entries_missing_cost_what_they_tell_of_and_no_more(workspace):
    """As a flipped bit in the name of an entry leaves them, which is still JSON."""
    course, checks, settings, origin, zero, classes = sorted(workspace.iterdir())

    def spoil(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    spoil(course / "history.csv", "val_loss", "val_lo3s")
    spoil(checks / "checks.json", '"passed"', '"pasred"')
    spoil(settings / "pgd.json", '"settings"', '"settincs"')
    spoil(origin / "provenance/train.json", '"packages": {', '"packages": [1], "other": {')
    spoil(zero / "train.json", '"n_test": 359', '"n_test": 0')
    spoil(classes / "pgd.json", '"clean_confusion"', '"clean_confusioo"')
    page = report_of(workspace)
    assert "1 of 6 jobs can't be read" in page
    assert f"{zero.name}: ZeroDivisionError" in page
    assert "all 4 pass" in page  # but for that job, and the one of which the checks are not told
    assert "was not recorded" in ORIGIN.search(page).group()


def test_a_warning_of_a_check_is_shown_with_its_sentence(workspace):
    path = sorted(workspace.glob("*/checks.json"))[0]
    record = json.loads(path.read_bytes())
    record["checks"][0] |= {"passed": False, "sentence": "dropout <b>acts</b>"}
    path.write_text(json.dumps(record))
    page = report_of(workspace)
    assert "1 of 6 warn" in page
    assert "dropout &lt;b&gt;acts&lt;/b&gt;" in page


def test_an_attack_on_fewer_images_is_said_to_be_one(workspace):
    for path in workspace.glob("*/pgd.json"):
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps(record | {"n_test": 300, "subset": {"first": 300, "of": 359}}))
    page = report_of(workspace)
    assert "PGD attacked the first 300 of 359 test images." in page
    said = "Images: no attack, FGSM, uniform noise: all 359 test images; PGD: the first 300 of 359 test images."
    assert page.count(said) == 2  # beside the effects and above the table


def test_a_folder_that_was_put_aside_is_no_job(workspace):
    expected = report_of(workspace), seed_analysis.finished_jobs(workspace)
    folder = sorted(workspace.iterdir())[0]
    for name in (f"{folder.name}.bak", "old"):
        shutil.copytree(folder, workspace / name)
    assert seed_analysis.finished_jobs(workspace) == expected[1]
    assert ORIGIN.sub("", report_of(workspace)) == ORIGIN.sub("", expected[0])


def test_edited_parameters_are_those_of_no_network(workspace):
    folder = sorted(workspace.iterdir())[0]
    (folder / "signac_statepoint.json").write_text(json.dumps(state_point(folder) | {"dropout_prob": 0.9}))
    reason = "signac_statepoint.json does not belong to this folder (its id differs)"
    jobs, broken = seed_analysis.finished_jobs(workspace)
    assert broken == {folder.name: reason}
    assert 0.9 not in [job.parameters["dropout_prob"] for job in jobs]
    page = report_of(workspace)
    assert f"<li>{folder.name}: {reason}</li>" in page
    assert "5 networks" in page


def test_the_attack_on_another_network_is_named_as_missing(workspace):
    folder, other = sorted(workspace.iterdir())[:2]
    shutil.copy(other / "fgsm.json", folder / "fgsm.json")
    _, broken = seed_analysis.finished_jobs(workspace)
    assert broken == {folder.name: "fgsm.json has no test_acc of this network at epsilon 0.1"}


def test_a_second_epsilon_shares_the_networks_of_the_first(workspace):
    folder = sorted(workspace.iterdir())[0]
    other = workspace / "other"
    shutil.copytree(folder, other)
    (other / "signac_statepoint.json").write_text(json.dumps(state_point(folder) | {"fgsm_epsilon": 0.05}))
    named(other)
    page = report_of(workspace)
    assert "6 networks" in page
    assert "under PGD at epsilon 0.1 from" in page


def test_two_data_sets_have_an_answer_each(workspace):
    for folder in list(workspace.iterdir()):
        if "training" not in state_point(folder):
            other = workspace / "other"
            shutil.copytree(folder, other)
            for path in other.glob("*.json"):
                path.write_text(path.read_text().replace('"digits"', '"mnist"'))
            named(other)
    page = report_of(workspace)
    assert page.count('<p class="answer">') == 2
    outline = Outline(page)
    assert outline.headings.count(1) == 1
    assert {"digits", "mnist"} <= set(outline.ids)
    assert len(set(outline.ids)) == len(outline.ids)


def test_the_tables_beside_the_page_hold_its_numbers(workspace):
    page = report_of(workspace)
    analysis = workspace.parent / "analysis"
    with open(analysis / "measurements.csv") as file:
        rows = list(csv.DictReader(file))
    frame = plmnist.to_dataframe(workspace)
    assert [float(row["value"]) for row in rows] == frame.value.tolist()
    with open(analysis / "differences.csv") as file:
        differences = list(csv.DictReader(file))
    adversarial = next(row for row in differences if row["parameter"] == "training")
    shown = f"{100 * float(adversarial['attacked_acc_difference_avg']):+.1f}".replace("-", "\N{MINUS SIGN}")
    assert shown in re.search(r'<p class="answer">(.*?)</p>', page).group(1)


def test_a_report_is_up_to_date_until_a_result_changes(workspace):
    analysis = workspace.parent / "analysis"
    assert not is_up_to_date(analysis, jobs_of(workspace))
    report_of(workspace)
    assert is_up_to_date(analysis, jobs_of(workspace))
    shutil.rmtree(next(workspace.glob("*/provenance")))
    assert is_up_to_date(analysis, jobs_of(workspace))
    path = next(workspace.glob("*/noise.json"))
    before = path.read_bytes()
    path.write_bytes(before + b"\n")
    assert not is_up_to_date(analysis, jobs_of(workspace))
    path.write_bytes(before)
    (analysis / "report.html").write_text("cut")
    assert not is_up_to_date(analysis, jobs_of(workspace))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "one bit"])
def test_damaged_images_are_left_out_and_the_report_is_written(workspace, damage):
    assert "What the attack looks like" in report_of(workspace)
    for path in workspace.glob("*/fgsm_examples.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes({"empty": b"", "cut off": content[:-50], "one bit": content}[damage])
    page = report_of(workspace)
    assert "What the attack looks like" not in page
    assert "under PGD at epsilon 0.1 from" in page


def test_figures_of_what_is_no_longer_there_are_removed(workspace):
    report_of(workspace)
    figures = workspace.parent / "analysis" / "figures"
    before = {path.name for path in figures.iterdir()}
    for folder in list(workspace.iterdir()):
        if state_point(folder)["dropout_prob"] == 0.5:
            shutil.rmtree(folder)
    report_of(workspace)
    assert {path.name for path in figures.iterdir()} < before
    assert not any("dropout" in path.name for path in figures.iterdir())


def test_a_job_that_has_gone_or_come_makes_a_report_outdated(workspace):
    analysis = workspace.parent / "analysis"
    report_of(workspace)
    everything = jobs_of(workspace)
    gone = sorted(workspace.iterdir())[0]
    shutil.move(gone, workspace.parent / "gone")
    assert not is_up_to_date(analysis, everything[1:])
    shutil.move(workspace.parent / "gone", gone)
    assert is_up_to_date(analysis, everything)
    shutil.copytree(gone, workspace / ("f" * 32))
    assert not is_up_to_date(analysis, jobs_of(workspace))


def test_fgsm_and_pgd_are_compared_on_the_same_images(workspace, loud):
    """PGD attacked a hundred images only; the outcomes of FGSM and of the network on these are counted by image."""
    folders = sorted(workspace.iterdir())
    attack_folders(
        [str(folder) for folder in folders],
        loud,
        config_name="signac_statepoint.json",
        attacks=["pgd"],
        settings={"pgd": {"steps": 5, "step_size": 0.5}},
        n_images=100,
    )
    page, study = report_of(workspace), read_study(folders)
    assert "On these images, each asked by itself, PGD leaves no more of them right than FGSM does for" in page
    details = re.search(r"<details><summary>Every network.*?</details>", page, re.DOTALL).group()
    heads = re.findall(r"<th [^>]*>(.*?)</th>", details)
    place = heads.index("FGSM, the images of PGD")
    rows = re.findall(r"<tr>(<td.*?)</tr>", details, re.DOTALL)
    assert len(rows) == len(folders)
    for row in rows:
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        folder = next(folder for folder in folders if folder.name.startswith(re.sub("<.*?>", "", cells[-1])))
        with np.load(folder / "fgsm_examples.npz") as archive:
            smallest, clean = archive["smallest_epsilon"], archive["clean_correct"]
        attacked = [359 * i // 100 for i in range(100)]
        withstood = sum(1 for budget in smallest[attacked].tolist() if budget > 0.1)
        assert cells[place].startswith(f"{withstood} of 100<")
        pgd = json.loads((folder / "pgd.json").read_bytes())
        assert cells[heads.index("PGD")].startswith(f"{pgd['adversarial_correct']} of 100<")
        (network,) = [n for n in study.datasets[0].networks if n.jobs[0].folder == folder]
        assert network.clean_beside("pgd", 0.1) == clean[attacked].sum() / 100
        assert network.clean_beside("fgsm", 0.1) == clean.sum() / 359


def test_fgsm_on_other_images_at_another_epsilon_changes_no_comparison(workspace, loud):
    folders = sorted(workspace.iterdir())
    before = {n.jobs[0].folder: n.fgsm_on_same_images(0.1) for n in read_study(folders).datasets[0].networks}
    other = workspace / "other"
    shutil.copytree(folders[0], other)
    (other / "signac_statepoint.json").write_text(json.dumps(state_point(other) | {"fgsm_epsilon": 0.05}))
    other = named(other)
    attack_folders([str(other)], loud, config_name="signac_statepoint.json", attacks=["fgsm"], n_images=50)
    networks = read_study([*folders, other]).datasets[0].networks
    shared = next(n for n in networks if len(n.jobs) == 2)
    assert shared.samples["fgsm"][0.1].n == 50
    assert {j.folder: n.fgsm_on_same_images(0.1) for n in networks for j in n.jobs if j.folder != other} == before
    # There PGD met images that FGSM did not.
    assert shared.fgsm_on_same_images(0.05) is None


def test_the_worst_case_counts_what_withstands_every_attack_up_to_a_budget(workspace):
    """The outcomes are those of 359 images; of one network noise alone is made to turn two that nothing else does."""
    folder = sorted(workspace.iterdir())[0]
    found = {attack: load_outcomes(folder, attack) for attack in ("fgsm", "pgd", "noise")}
    withstanding = np.flatnonzero(np.min([found[a]["smallest_epsilon"] for a in found], axis=0) > 0.1)
    found["noise"]["smallest_epsilon"][withstanding[:2]] = (0.02, 0.3)
    content = pack_arrays(found["noise"])
    (folder / "noise_outcomes.npz").write_bytes(content)
    record = json.loads((folder / "noise.json").read_bytes())
    record["outcomes_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "noise.json").write_text(json.dumps(record))
    (network,) = read_study([folder]).datasets[0].networks
    for epsilon in (0.01, 0.1, 0.3):
        expected = sum(all(found[a]["smallest_epsilon"][i] > epsilon for a in found) for i in range(359))
        assert network.curves["worst"][epsilon].numerator == expected
        assert expected <= min(network.curves[attack][epsilon].numerator for attack in found)
    assert network.curves["worst"][0.1].numerator == len(withstanding) - 1
    page = report_of(workspace)
    with open(workspace.parent / "analysis/measurements.csv") as file:
        rows = [row for row in csv.DictReader(file) if (row["job"], row["attack"]) == (folder.name, "worst")]
    counts = {float(row["epsilon"]): (row["numerator"], row["denominator"]) for row in rows}
    assert counts == {epsilon: (str(m.numerator), "359") for epsilon, m in network.curves["worst"].items()}
    details = re.search(r"<details><summary>Every network.*?</details>", page, re.DOTALL).group()
    assert f">{len(withstanding) - 1} of 359<" in details.replace('"', "")
    assert page.count('<th scope="col" class="number">all attacks together</th>') == 2


def test_without_the_outcomes_of_an_attack_there_is_no_worst_case(workspace):
    for folder in workspace.iterdir():
        (folder / "pgd_outcomes.npz").unlink()
    assert "ll attacks together" not in report_of(workspace)
    assert ",worst," not in (workspace.parent / "analysis/measurements.csv").read_text()


def test_where_all_attacks_met_all_images_there_is_nothing_to_align(workspace):
    page = report_of(workspace)
    assert "On these images" not in page
    assert "the images of PGD" not in page


def test_success_is_counted_from_what_was_right_before(workspace):
    report_of(workspace)
    figure = (workspace.parent / "analysis/figures/digits_success.svg").read_text()
    assert "share of images turned" in figure
    for word in ("standard training", "training with PGD", "FGSM", "uniform noise"):
        assert word in figure


def matrices_of(page: str) -> dict[str, list[list[str]]]:
    """Return the cells of each matrix of classes on a page, by title."""
    figures = re.findall(r'<figure class="matrix"><figcaption>(.*?)</figcaption>(.*?)</figure>', page, re.DOTALL)
    return {
        title: [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r'<tr><th scope="row">.*?</tr>', text)]
        for title, text in figures
    }


def test_classes_are_counted_as_the_networks_answer(workspace):
    """The networks of the two seeds are asked once more, image by image."""
    found = matrices_of(report_of(workspace))
    assert list(found) == [
        f"{training}, {condition}"
        for training in ("Standard training", "Training with PGD, epsilon 0.1")
        for condition in ("without attack", "under PGD")
    ]
    images = load_test("digits")
    counts = [[0] * 10 for _ in range(10)]
    for folder in workspace.iterdir():
        point = state_point(folder)
        if point["dropout_prob"] == 0.0 and point.get("training") is None:
            answers = logits_of(load_network(folder), images).argmax(1).tolist()
            for true, answered in zip(images.labels.tolist(), answers, strict=True):
                counts[true][answered] += 1
    for row, cells in zip(counts, found["Standard training, without attack"], strict=True):
        for n, text in zip(row, cells, strict=True):
            share = 100 * n / sum(row)
            assert text == ("" if n == 0 else "&lt;1" if share < 0.5 else f"{share:.0f}")


@pytest.mark.parametrize("counts", [None, [], [["1"] * 10] * 10, [[1] * 10] * 9])
def test_without_the_classes_of_one_network_there_is_no_matrix(workspace, counts):
    """None: in records of before that entry was there."""
    path = next(f for f in workspace.iterdir() if state_point(f).get("training") == "pgd") / "pgd.json"
    record = json.loads(path.read_bytes())
    del record["clean_confusion"], record["adversarial_confusion"]
    entries = {} if counts is None else dict.fromkeys(("clean_confusion", "adversarial_confusion"), counts)
    path.write_text(json.dumps(record | entries))
    assert "Which class is taken for which" not in report_of(workspace)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([[4, 0, 0], [0, 3, 0], [0, 0, 0]], "No image is taken for another class."),
        ([[6, 0, 2], [0, 2, 2], [1, 0, 9]], "Most often b is taken for c: 50.0 %."),
        ([[0, 0, 3], [0, 2, 0], [5, 0, 0]], "Most often a is taken for c: 100.0 %."),
    ],
)
def test_the_most_frequent_mistake_is_a_share_of_its_class(counts, words):
    assert describe_largest(counts, "abc").replace("\N{NO-BREAK SPACE}", " ") == words


@pytest.mark.parametrize(
    ("dataset", "training", "options"),
    [
        ("digits", {"training": "pgd", "training_epsilon": 0.1}, ""),
        ("mnist", {"training": "pgd", "training_epsilon": 0.1}, " --dataset mnist --adversarial"),
        ("mnist", {}, " --dataset mnist"),
    ],
)
def test_the_command_that_makes_the_jobs_again_names_what_was_asked_for(tmp_path, finished, dataset, training, options):
    folder = tmp_path / "workspace" / "one"
    folder.mkdir(parents=True)
    point = state_point(next(f for f in finished.iterdir() if "training" not in state_point(f)))
    (folder / "signac_statepoint.json").write_text(json.dumps(point | {"dataset": dataset} | training))
    named(folder)
    assert f"<code>python init.py{options}\n" in report_of(tmp_path / "workspace")
