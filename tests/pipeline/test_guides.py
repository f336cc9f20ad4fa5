"""What README.md and docs/tour.md tell to type, typed."""

import dataclasses
import re
from pathlib import Path

import pytest
from projects import ROOT, Project


@pytest.mark.timeout(600)
def test_own_change_on_a_branch_can_be_tried_and_compared(full: Project, tmp_path: Path) -> None:
    project = full.clone_to(tmp_path / "project")
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```sh\n(git switch -c longer\n.*?)```", text, re.DOTALL)
    assert block
    lines = block[1].strip().splitlines()
    # `make ui` stays until it is stopped; tests/tracking/test_browser.py opens it.
    assert lines[-1] == "make ui"
    printed = project.run("bash", "-euc", "\n".join(lines[:-1]))
    assert project.run("git", "log", "-1", "--format=%s").strip() == "Train longer"
    assert "baseline.accuracy" in printed
    assert (project.root / "dvc_plots/index.html").is_file()
    assert "epochs: 10" in project.read("params.yaml")


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
