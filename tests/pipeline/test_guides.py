"""What README.md and docs/tour.md tell to type, typed."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from projects import ROOT, Project


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
@pytest.mark.timeout(900)
def test_tour_can_be_walked_command_by_command(small: Project, tmp_path: Path) -> None:
    project = dataclasses.replace(small.clone_to(tmp_path / "project"), recorded=True)
    # Section 1 fetches and runs what is there already; the servers stay until they are stopped.
    text = (ROOT / "docs/tour.md").read_text().partition("## 2.")[2]
    text = text.replace("/tmp/image", f"{tmp_path}/image")  # noqa: S108
    pattern = r"^    ((?:git|dvc|headstart) .*|python - <<'END'\n(?:.*\n)*?    END)$"
    commands = re.findall(pattern, text, re.MULTILINE)
    assert len(commands) > 20
    printed = {
        command: project.run("bash", "-euc", re.sub(r"^    ", "", command, flags=re.MULTILINE))
        for command in commands
    }
    assert "target_training.epochs" in printed["dvc params diff main"]
    assert "transfer.accuracy" in printed["dvc metrics diff main"]
    assert "seed-7" in next(output for name, output in printed.items() if "exp show" in name)
    assert "alias champion is now this version" in printed["headstart register"]
    assert "probability" in next(out for name, out in printed.items() if "predict" in name)
    assert printed["headstart publish"].count("present") == 4
