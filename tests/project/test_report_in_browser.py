"""The report in a real Chromium: on a phone, on a desk, on paper."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from src.report import write_report

WIDTHS = (360, 768, 1280)
COLUMN = "[...document.querySelector('table.sortable').tBodies[0].rows].map(row => row.cells[{i}].dataset.value)"


@pytest.fixture(scope="module")
def page(finished, tmp_path_factory) -> Path:
    analysis = tmp_path_factory.mktemp("report") / "analysis"
    write_report(finished, analysis)
    return analysis / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_every_width_without_a_word_on_the_console_or_the_network(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert browser.ask("return document.documentElement.scrollWidth") == width
    assert browser.complaints() == []
    outside = [url for url in browser.requests() if not url.startswith(("data:", page.as_uri()))]
    assert outside == []
    picture = Image.open(io.BytesIO(browser.picture())).convert("L")
    assert picture.width == width
    assert len(picture.getcolors()) > 30
    background = max(picture.getcolors())[1]
    assert background < 60 if dark else background > 240


@pytest.mark.parametrize("width", WIDTHS)
def test_question_and_answer_are_on_the_first_screen_and_the_figure_begins_on_it(browser, page, width):
    browser.open(page, width=width)
    bottom = "return document.querySelector('{}').getBoundingClientRect().{}"
    assert browser.ask(bottom.format(".answer", "bottom")) < 800
    assert browser.ask(bottom.format(".chart svg", "top")) < 800


@pytest.mark.parametrize("width", WIDTHS)
def test_letters_in_figures_can_be_read(browser, page, width):
    browser.open(page, width=width)
    heights = browser.ask(
        "return [...document.querySelectorAll('.chart svg text')].map(text => text.getBoundingClientRect().height)"
    )
    assert len(heights) > 50
    assert min(height for height in heights if height) >= 8


def test_tables_and_images_scroll_inside_themselves_on_a_phone(browser, page):
    browser.open(page, width=360)
    widths = browser.ask("return [...document.querySelectorAll('.scroll')].map(e => [e.scrollWidth, e.clientWidth])")
    assert any(inner > outer for inner, outer in widths)
    assert all(outer <= 360 for _, outer in widths)


@pytest.mark.parametrize("width", WIDTHS)
def test_which_class_is_taken_for_which_is_seen_whole(browser, page, width):
    browser.open(page, width=width)
    boxes = "return [...document.querySelectorAll('.matrix .scroll')].map(e => [e.scrollWidth, e.clientWidth])"
    widths = browser.ask(boxes)
    assert len(widths) == 4
    assert all(inner <= outer for inner, outer in widths)
    tops = browser.ask(
        "return [...document.querySelectorAll('.matrix .scroll')].map(e => e.getBoundingClientRect().top)"
    )
    beside_each_other = [abs(tops[i] - tops[i + 1]) < 1 for i in (0, 2)]
    assert beside_each_other == [width > 500] * 2  # without and under attack


def test_the_table_sorts_by_a_column_both_ways_also_with_the_keyboard(browser, page):
    browser.open(page)
    heads = browser.ask(
        "return [...document.querySelector('table.sortable').tHead.rows[0].cells].map(c => c.innerText)"
    )
    i = next(number for number, head in enumerate(heads) if head.startswith("PGD"))
    column = "return " + COLUMN.format(i=i)
    button = f"document.querySelector('table.sortable').tHead.rows[0].cells[{i}].querySelector('button')"
    before = [float(value) for value in browser.ask(column)]
    browser.ask(f"{button}.click()")
    assert [float(value) for value in browser.ask(column)] == sorted(before)
    assert browser.ask(f"return {button}.parentElement.ariaSort") == "ascending"
    browser.ask(f"{button}.click()")
    assert [float(value) for value in browser.ask(column)] == sorted(before, reverse=True)
    assert browser.ask(f"return {button}.tabIndex") == 0
    browser.ask("document.querySelector('table.sortable').tHead.rows[0].cells[0].querySelector('button').click()")
    words = browser.ask("return " + COLUMN.format(i=0))
    assert words == sorted(words)
    assert browser.complaints() == []


def test_without_scripts_everything_is_there_and_nothing_invites_to_sort(browser, page):
    browser.open(page, scripts=False)
    try:
        # Asked through the protocol of the driver, for which scripts are not switched off.
        assert browser.ask("return document.querySelectorAll('table.sortable tbody tr').length") == 3 + 6
        assert browser.ask("return document.querySelectorAll('th button').length") == 0
    finally:
        browser.open(page)


CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255);
  const [r, g, b] = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
};
const found = [];
const kinds = "p, li, td, th, small, figcaption, a, summary, dt, dd, code, span, h1, h2, h3";
for (const element of document.querySelectorAll(kinds)) {
  if (!element.innerText || !element.innerText.trim()) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) found.push([element.tagName, element.innerText.slice(0, 40), ratio]);
}
return found;
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_words_stand_out_from_what_is_behind_them(browser, page, dark):
    browser.open(page, dark=dark)
    assert browser.ask(CONTRAST) == []


def test_it_prints_on_a_few_pages(browser, page, tmp_path):
    browser.open(page, dark=True)
    document = tmp_path / "report.pdf"
    document.write_bytes(browser.print())
    told = subprocess.run(["pdfinfo", document], capture_output=True, text=True, check=True).stdout
    pages = int(next(line for line in told.splitlines() if line.startswith("Pages:")).split()[1])
    assert 3 <= pages <= 12
    subprocess.run(["pdftoppm", "-r", "20", "-png", document, tmp_path / "page"], check=True)
    first = Image.open(sorted(tmp_path.glob("page*.png"))[0]).convert("L")
    assert max(first.getcolors())[1] == 255  # dark on white, whatever the screen


def test_an_unfinished_study_names_its_jobs_on_the_page(browser, finished, tmp_path):
    workspace = Path(shutil.copytree(finished, tmp_path / "workspace"))
    lacking = sorted(workspace.iterdir())[0]
    (lacking / "checks.json").unlink()
    (sorted(workspace.iterdir())[1] / "fgsm.json").write_text("{")
    write_report(workspace, tmp_path / "analysis")
    browser.open(tmp_path / "analysis" / "report.html", width=360)
    assert "1 of 6 jobs lack part 4, checks" in browser.ask("return document.querySelector('.notice').innerText")
    browser.ask("document.querySelector('.notice summary').click()")
    assert lacking.name[:8] in browser.ask("return document.querySelector('.notice').innerText")
    assert browser.ask("return document.documentElement.scrollWidth") == 360
    assert browser.complaints() == []
