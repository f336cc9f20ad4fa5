"""Takes the pictures in docs/images anew: `make screenshots`.

In a clone of the committed state beside its cache, with an MLflow store of its own, so that the
pictures show what a reader gets. The second run that they compare trains the target longer.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

import browsing

IMAGES = ROOT / "docs/images"
OTHER = "longer"
CHANGE = "target_training.epochs=10"


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="headstart-screenshots-") as folder:
        clone = Path(folder) / "headstart"
        prepare(clone)
        with browsing.chromium() as browser:
            with browsing.mlflow_ui(clone, Path(folder) / "log") as address:
                page = browsing.new_page(browser)
                browsing.open_runs(page, address)
                # The curves and the table have settled.
                page.wait_for_timeout(2000)
                page.screenshot(path=IMAGES / "mlflow-runs.png")
                browsing.open_charts(page, address)
                page.wait_for_timeout(3000)
                page.screenshot(path=IMAGES / "mlflow-comparison.png")
                page.context.close()
            page = browsing.new_page(browser, offline=True)
            page.set_viewport_size({"width": 1000, "height": 1100})
            page.goto((clone / "reports/index.html").as_uri())
            page.screenshot(path=IMAGES / "report.png")
            page.goto((clone / "dvc_plots/index.html").as_uri())
            page.locator(".vega-embed svg, .vega-embed canvas").first.wait_for()
            page.wait_for_timeout(1000)
            page.screenshot(path=IMAGES / "dvc-plots.png")
            page.context.close()
    for picture in sorted(IMAGES.glob("*.png")):
        print(picture.relative_to(ROOT))


def prepare(clone: Path) -> None:
    """Makes a clone with two finished states in its store and the charts of both."""
    run(ROOT, "git", "clone", "-q", str(ROOT), str(clone))
    (clone / ".venv").symlink_to(sys.prefix)
    # What was made here need not be made again; what is made there is of use here.
    run(clone, "dvc", "config", "--local", "cache.dir", str(ROOT / ".dvc/cache"))
    run(clone, "dvc", "checkout", "-q")
    if run(clone, "dvc", "status", "-q", "dvc.yaml", check=False):
        sys.exit("error: the committed state is not up to date; run `dvc repro` and commit first")
    report = (clone / "reports/index.html").read_bytes()
    headstart(clone, "publish")
    run(clone, "dvc", "exp", "run", "-q", "-n", OTHER, "-S", CHANGE)
    headstart(clone, "publish")
    headstart(clone, "plots", "HEAD", OTHER)
    # Of the committed state, not of the experiment.
    (clone / "reports/index.html").unlink()
    (clone / "reports/index.html").write_bytes(report)


def headstart(clone: Path, *arguments: str) -> None:
    run(clone, sys.executable, "-m", "headstart.cli", *arguments)


def run(folder: Path, *command: str, check: bool = True) -> int:
    dropped = ("MLFLOW_", "DVC_", "GIT_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env=kept | {"PATH": path, "PYTHONPATH": "src"}, check=check
    ).returncode


if __name__ == "__main__":
    main()
