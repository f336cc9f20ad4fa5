"""MLflow and DVC as people see them: in a real browser, opened as `make ui` says."""

import re
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import browsing
import pytest
from playwright.sync_api import Browser, Page, expect
from projects import Project

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def two(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two states of one project, both in its store: a trained backbone, then a random one."""
    project = recorded.clone_to(tmp_path_factory.mktemp("two") / "project")
    (project.root / ".venv").symlink_to(sys.prefix)
    project.set(transfer__strategy="random_frozen")
    project.repro()
    project.run("git", "checkout", "-q", "-b", "random")
    project.run("git", "commit", "-q", "-a", "-m", "Freeze a random backbone")
    return project


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(two: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browsing.mlflow_ui(two.root, tmp_path_factory.mktemp("ui") / "log") as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browsing.new_page(browser)
    yield opened
    opened.context.close()


def test_runs_page_opens_with_the_comparisons_and_the_columns_that_matter(
    page: Page, address: str, tmp_path: Path
) -> None:
    runs = browsing.open_runs(page, address)
    page.screenshot(path=tmp_path / "runs.png")
    expect(runs).to_have_count(2)
    expect(page.get_by_text("2 matching runs")).to_be_visible()
    names = runs.all_inner_texts()
    assert any("random_frozen" in name for name in names), names
    assert all(re.search(r"gain [+-]0\.\d{4}", name) for name in names), names
    # Model training has runs and a registry; MLflow's other mode has prompts and judges.
    expect(page.get_by_role("link", name="Model registry")).to_be_visible()
    expect(page.get_by_text("Judges")).to_have_count(0)
    headings = [text for text in page.get_by_role("columnheader").all_inner_texts() if text]
    for wanted in ("accuracy_gain", "baseline/accuracy", "transfer/accuracy"):
        assert wanted in headings
    assert len(set(headings)) < 20, headings


def test_two_runs_compared_show_curves_and_accuracies_of_both_arms(
    page: Page, address: str, two: Project, tmp_path: Path
) -> None:
    # Tall enough for all rows: MLflow draws only those in view.
    page.set_viewport_size({"width": 1400, "height": 3000})
    browsing.open_runs(page, address)
    browsing.open_comparison(page)
    page.screenshot(path=tmp_path / "comparison.png", full_page=True)
    expect(browsing.metric(page, "accuracy_gain")).to_be_visible()
    for arm in ("baseline", "transfer"):
        expect(browsing.metric(page, f"{arm}/accuracy")).to_be_visible()
        accuracy = f"{two.record[arm]['accuracy']:.3f}".rstrip("0").rstrip(".")
        expect(page.get_by_text(accuracy, exact=True).first).to_be_visible()
        # By its address: in a table drawn this far down, MLflow's rows lie over each other.
        chart = browsing.metric(page, f"{arm}/val_accuracy").get_attribute("href")
        assert chart
        page.goto(urllib.parse.urljoin(page.url, chart))
        expect(page.get_by_role("heading", name=f"{arm}/val_accuracy").first).to_be_visible()
        # A metric that stays the same draws a flat line, which a browser takes for hidden.
        page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for(state="attached")
        # Its legend: a curve of each run.
        legend = re.compile(rf"^comparison · .* \({arm}/val_accuracy\)$")
        expect(page.get_by_text(legend)).to_have_count(2)
        page.go_back()


def test_charts_draw_both_arms_of_both_runs_together(
    page: Page, address: str, tmp_path: Path
) -> None:
    browsing.open_charts(page, address)
    page.screenshot(path=tmp_path / "charts.png")
    # Two runs of two arms, accuracy and loss; each is drawn as a line and as points.
    expect(page.locator(".js-plotly-plot .scatterlayer .trace")).to_have_count(16)
    for name in ("baseline/accuracy", "transfer/accuracy", "accuracy_gain"):
        expect(page.get_by_text(name, exact=True).first).to_be_attached()


def test_runs_have_different_colours(page: Page, address: str) -> None:
    browsing.open_charts(page, address)
    colours = page.locator(".js-plotly-plot .scatterlayer .trace .lines path").evaluate_all(
        "lines => lines.map(line => getComputedStyle(line).stroke)"
    )
    assert len(set(colours)) == 2, colours


def test_charts_of_dvc_show_without_a_network(
    browser: Browser, two: Project, tmp_path: Path
) -> None:
    two.run(sys.executable, "-m", "headstart.cli", "plots", "main", "random", PYTHONPATH="src")
    alone = tmp_path / "alone.html"
    alone.write_text(two.read("dvc_plots/index.html"))
    page = browsing.new_page(browser, offline=True)
    failures: list[str] = []
    page.on("requestfailed", lambda request: failures.append(request.url))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(alone.as_uri())
    expect(page.locator(".vega-embed svg, .vega-embed canvas").first).to_be_visible()
    page.screenshot(path=tmp_path / "plots.png", full_page=True)
    assert page.locator(".vega-embed svg, .vega-embed canvas").count() >= 3
    assert page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 0)")
    assert not failures
    # The page that plain `dvc plots diff` writes finds the same libraries beside it.
    two.run("dvc", "plots", "diff", "-q", "main", "random")
    page.goto((two.root / "dvc_plots/index.html").as_uri())
    expect(page.locator(".vega-embed svg, .vega-embed canvas").first).to_be_visible()
    assert not failures
    page.context.close()


def test_looking_leaves_nothing_for_git(two: Project) -> None:
    changed = two.run("git", "status", "--porcelain", "--", ".", ":!.venv")
    assert not changed
