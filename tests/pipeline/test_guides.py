"""What README.md and docs/tour.md tell to type, typed: it does what they say."""

import json
import re
import sys
from pathlib import Path

import pytest
from projects import ROOT, Project, clean_environment

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

import tour

from benchmarks import sittings


@pytest.mark.timeout(600)
def test_own_change_on_a_branch_can_be_tried_and_compared(small: Project, tmp_path: Path) -> None:
    project = small.clone_to(tmp_path / "project")
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```sh\n(git switch -c longer\n.*?)```", text, re.DOTALL)
    assert block
    lines = block[1].strip().splitlines()
    # `make ui` stays until it is stopped; tests/tracking/test_browser.py opens it.
    assert lines[-1] == "make ui"
    # The small project has fewer epochs than the committed parameters.
    assert "epochs: 5" in (ROOT / "params.yaml").read_text()
    script = "\n".join(lines[:-1]).replace("epochs: 5", "epochs: 2")
    printed = project.run("bash", "-euc", script)
    assert "epochs: 10" in project.read("params.yaml")
    assert project.run("git", "log", "-1", "--format=%s").strip() == "Train longer"
    assert (project.root / "dvc_plots/index.html").is_file()
    # DVC sorts by name: the baseline's accuracy leads, the gain heads the comparison's block.
    names = re.findall(r"^metrics/metrics.json +(\S+)", printed, re.MULTILINE)
    assert names[0] == "baseline.accuracy"
    compared = [name for name in names if name.startswith("comparison.")]
    assert compared[0] == "comparison.accuracy_gain"
    assert "target_training.epochs" in project.run("dvc", "params", "diff", "main")
    # Both arms got the same new budget.
    diff = json.loads(project.run("dvc", "metrics", "diff", "main", "--json"))
    assert diff["metrics/metrics.json"]["cost.baseline.updates"]["diff"] > 0
    assert project.record["comparison"]["fair"] is True


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_tour_prints_what_the_page_shows(full: Project, tmp_path: Path) -> None:
    """Walked with the committed parameters: all but hashes and paths follows from them."""
    sitting = sittings.read("tour")
    assert sitting
    project = full.clone_to(tmp_path / "project")
    printed = tour.walk(project.root, tmp_path, clean_environment(recorded=True))
    # Which of two experiments at a time ends first, and so hangs at which branch, is chance.
    assert {place: words(output) for place, output in printed.items()} == {
        place: words(output) for place, output in sitting.measured.items()
    }


def words(output: str) -> list[str]:
    return sorted(re.findall(r"[^\s├└─]+", output))
