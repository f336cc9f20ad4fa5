"""The page, in a real browser: Debian's Chromium, or the one that playwright brings."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import outcome
from playwright.sync_api import Browser, Page, sync_playwright

from headstart.judging.answers import Answers
from headstart.reporting import figures, render
from headstart.reporting import page as pages

ATTACK = "<script>document.title='attacked'</script>\"'&"

# Text against what lies behind it, as WCAG 2 defines contrast.
CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] !== 0) return channels(colour);
    }
    return [255, 255, 255];
  };
  const ratios = [...document.querySelectorAll('body *')]
    .filter((element) => [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((element) => {
      const [a, b] = [channels(getComputedStyle(element).color), ground(element)].map(luminance);
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
  return [Math.min(...ratios), ratios.length];
}"""


def text_of_page(
    folder: Path,
    *,
    reason: str = "Of 967 test images, 12 are answered right by the baseline alone.",
    unfair: str = "epochs: baseline 10, transfer 5",
    warning: str = "The transfer has not shown that it learned anything.",
    **changes: Any,
) -> str:
    generator = np.random.default_rng(4)
    actual = generator.integers(0, 2, 60)
    baseline, transfer = np.clip(actual + generator.normal(0, 0.4, (2, 60)), 0, 1)
    history = [
        {"arm": arm, "epoch": epoch, "loss": 0.5, "accuracy": 0.9}
        | {"val_loss": 0.5, "val_accuracy": 0.9 + epoch / 100}
        for arm in ("source", "baseline", "transfer")
        for epoch in (1, 2)
    ]
    pictures = figures.draw(
        folder / "plots",
        history=history,
        images=np.zeros((60, 28, 28), np.float32),
        answers=Answers(actual, baseline, transfer),
        classes=["sandal", "shirt"],
        confidence=0.95,
    )
    values: dict[str, Any] = {
        "taught": ["coat", "bag"],
        "classes": ["sandal", "shirt"],
        "pictures": pictures,
        "parameters": {"seed": 42, "dataset": {"sources": ["https://example.org/" + "long" * 30]}},
        "hashes": {"models/baseline.keras": "d41d8cd98f00b204e9800998ecf8427e"},
        "commands": ["git clone <address>", "make run"],
    }
    return pages.page(
        outcome(reason=reason, unfair=[unfair], warnings=[warning]), **values | changes
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=options)
        yield running
        running.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "reports" / "index.html"
    render.write(path, text_of_page(folder))
    shutil.rmtree(folder / "plots")
    return path


def opened(browser: Browser, path: Path, **options: Any) -> Page:
    page = browser.new_context(**options).new_page()
    page.goto(path.as_uri())
    return page


def test_the_page_opens_from_disk_and_asks_for_nothing_else(
    browser: Browser, written: Path
) -> None:
    page = browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(written.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]
    assert complaints == []
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|@import|src=\"(?!data:)|url\(", text)


def test_the_page_tells_verdict_numbers_cost_parameters_hashes_and_commands(
    browser: Browser, written: Path
) -> None:
    page = opened(browser, written)
    assert page.title() == "headstart: baseline better"
    assert "baseline better" in page.locator("h1").inner_text()
    text = page.locator("body").inner_text()
    for part in (
        "12 are answered right by the baseline alone",
        "-0.0083 (95% interval -0.0145 to -0.0021)",
        "0.9894 to 0.9984",
        "not a fair comparison",
        "epochs: baseline 10, transfer 5",
        "275,801",
        "42.4 billion",
        "Seconds differ by machine and stand in the terminal, in MLflow",
        "dataset.sources",
        "d41d8cd98f00b204e9800998ecf8427e",
        "git clone <address>\nmake run",
    ):
        assert part in text


def test_headings_pictures_and_tables_speak_to_a_screen_reader(
    browser: Browser, written: Path
) -> None:
    page = opened(browser, written)
    assert page.locator("html").get_attribute("lang") == "en"
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => one.tagName)")
    assert levels.count("H1") == 1
    assert levels[0] == "H1"
    assert set(levels[1:]) == {"H2"}
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    for title in (
        *("Accuracies", "Learning curves", "Confusion matrices", "Accuracy by class"),
        *("ROC curves", "Reliability", "Cost"),
    ):
        assert title in headings
    assert "bins of equal counts" in page.locator("figcaption").inner_text()
    assert page.get_by_role("heading", name="Misclassified images").count() == 1
    pictures = page.locator("img").evaluate_all(
        "all => all.map(one => [one.alt, one.naturalWidth])"
    )
    assert len(pictures) == 6
    for alt, width in pictures:
        assert len(alt) > 30
        assert width > 300
    assert "baseline 0.9200 at epoch 2, transfer 0.9200 at epoch 2" in pictures[0][0]
    bare = page.locator("th:not([scope])").count()
    assert bare == 0
    assert page.locator("table").count() == page.locator("caption").count() == 4


@pytest.mark.parametrize("width", [320, 390, 1100])
def test_nothing_overflows_a_narrow_screen(browser: Browser, written: Path, width: int) -> None:
    page = opened(browser, written, viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(
    ("scheme", "media", "dark"),
    [("light", "screen", False), ("dark", "screen", True), ("dark", "print", False)],
)
def test_text_has_contrast_in_light_dark_and_print(
    browser: Browser, written: Path, scheme: Any, media: Any, dark: bool
) -> None:
    page = opened(browser, written, color_scheme=scheme)
    page.emulate_media(media=media, color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 60) == dark
    least, count = page.evaluate(CONTRAST)
    assert count > 50
    assert least >= 4.5


def test_the_page_prints(browser: Browser, written: Path, tmp_path: Path) -> None:
    opened(browser, written).pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_everything_is_escaped(browser: Browser, tmp_path: Path) -> None:
    picture = figures.draw(
        tmp_path,
        history=[],
        images=np.zeros((2, 4, 4)),
        answers=Answers(np.array([0, 1]), np.array([0.9, 0.9]), np.array([0.1, 0.9])),
        classes=[ATTACK, "shirt"],
        confidence=0.95,
        files=[ATTACK, "b.png"],
    )
    path = tmp_path / "index.html"
    hostile = text_of_page(
        tmp_path,
        reason=ATTACK,
        taught=[ATTACK],
        parameters={ATTACK: ATTACK},
        hashes={ATTACK: ATTACK},
        commands=[ATTACK],
        unfair=ATTACK,
        warning=ATTACK,
        pictures=picture,
    )
    render.write(path, hostile)
    page = opened(browser, path)
    assert page.title() == "headstart: baseline better"
    assert page.locator("script").count() == 0
    assert page.locator("body").inner_text().count(ATTACK) == 9
    assert "script" in str(page.locator("img").last.get_attribute("alt")).lower()


def test_the_same_run_gives_the_same_page(written: Path, tmp_path: Path) -> None:
    assert text_of_page(tmp_path) == written.read_text(encoding="utf-8")
