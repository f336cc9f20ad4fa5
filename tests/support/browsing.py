"""MLflow's pages in a real browser, for the tests and for scripts/screenshots.py."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

_SECONDS = 120
# A first visit to MLflow opens a panel of its assistant over a third of the page.
_NO_ASSISTANT = """try {
  localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
  localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');
} catch {}"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, or the one that playwright brings."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=options)
        yield running
        running.close()


def new_page(browser: Browser, *, offline: bool = False) -> Page:
    """A page of a fresh profile, wide enough for MLflow's tables."""
    context = browser.new_context(viewport={"width": 1500, "height": 900}, offline=offline)
    context.add_init_script(_NO_ASSISTANT)
    context.set_default_timeout(60_000)
    return context.new_page()


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def mlflow_ui(root: Path, log: Path) -> Iterator[str]:
    """Runs scripts/ui.sh (`make ui`) in `root` and yields the address that it tells to open."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    with log.open("w") as file:
        running = subprocess.Popen(
            ["scripts/ui.sh"],
            cwd=root,
            env=kept | {"PORT": str(free_port())},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _SECONDS
        while not (found := re.search(r"comparison runs, few columns: (\S+)", log.read_text())):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield found[1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        running.wait(timeout=30)


def open_runs(page: Page, address: str) -> Locator:
    """Opens the runs page and returns the links to its runs."""
    page.goto(address)
    runs = page.get_by_role("link", name=re.compile("^comparison · "))
    runs.first.wait_for()
    return runs


def open_comparison(page: Page) -> None:
    """Picks the first two runs of the runs page and opens the comparison."""
    for number in range(2):
        page.get_by_role("checkbox", name="Press Space to toggle row selection").first.wait_for()
        boxes = page.get_by_role("checkbox", name="Press Space to toggle row selection")
        boxes.nth(number).check()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("heading", name="Comparing 2 Runs").wait_for()


def metric(page: Page, name: str) -> Locator:
    """Scrolls the comparison's table, which has only what is in view, down to a metric's link."""
    wanted = page.get_by_role("link", name=name, exact=True)
    shown = page.get_by_role(
        "link", name=re.compile(r"^(accuracy|baseline|cost|mcnemar|source|transfer)")
    )
    shown.first.wait_for()
    first = page.get_by_role("link", name="accuracy_gain", exact=True)
    if not wanted.count() and first.count():
        first.scroll_into_view_if_needed()
    for _ in range(40):
        if wanted.count():
            break
        # Names and values are two panes; only a wheel over the values moves both.
        box = shown.nth(2).bounding_box()
        assert box is not None
        page.mouse.move(1200, box["y"] + box["height"])
        page.mouse.wheel(0, 150)
        page.wait_for_timeout(150)
        if wanted.count():
            # It was drawn ahead, below the edge.
            page.mouse.wheel(0, 200)
    return wanted


def open_charts(page: Page, address: str) -> None:
    """Opens the runs page with charts."""
    page.goto("about:blank")
    page.goto(f"{address}&compareRunsMode=CHART")
    page.get_by_text("baseline/val_accuracy vs transfer/val_accuracy").first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()
