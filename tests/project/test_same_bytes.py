"""`headstart check --bytes` tells which committed results the workspace has otherwise."""

import json
import re

import pytest
from projects import Project


def compared(project: Project, *, status: int = 0) -> str:
    return project.run("python", "-m", "headstart.cli", "check", "--bytes", status=status)


@pytest.fixture
def record(project: Project) -> dict[str, dict[str, float]]:
    made: dict[str, dict[str, float]] = json.loads(project.read("metrics/metrics.json"))
    return made


def write(project: Project, record: dict[str, dict[str, float]]) -> None:
    (project.root / "metrics/metrics.json").write_text(json.dumps(record, indent=2) + "\n")


def test_committed_bytes_are_told_as_such(project: Project) -> None:
    assert re.match(r"the bytes are those of the last commit: \d+ files in", compared(project))


def test_last_digits_are_told_from_other_results(
    project: Project, record: dict[str, dict[str, float]]
) -> None:
    record["baseline"]["loss"] += 1e-6 * record["baseline"]["loss"]
    write(project, record)
    assert compared(project) == "metrics/metrics.json: differs only in last digits\n"
    record["baseline"]["loss"] *= 1.01
    write(project, record)
    assert compared(project) == "metrics/metrics.json: differs in more than last digits\n"


def test_another_count_is_no_last_digit(
    project: Project, record: dict[str, dict[str, float]]
) -> None:
    table = project.root / "metrics/predictions.csv"
    lines = table.read_text().splitlines()
    index, actual, answer, *rest = lines[1].split(",")
    lines[1] = ",".join([index, actual, str(1 - int(answer)), *rest])
    table.write_text("\n".join(lines) + "\n")
    assert compared(project) == "metrics/predictions.csv: differs in more than last digits\n"


def test_outputs_of_other_bytes_are_named(project: Project) -> None:
    lock = project.root / "dvc.lock"
    text = lock.read_text()
    at = text.index("md5: ", text.index("path: models/baseline.keras\n", text.index("  train_b:")))
    lock.write_text(text[: at + 5] + "0" * 32 + text[at + 37 :])
    assert compared(project) == "dvc.lock: holds other bytes of models/baseline.keras\n"
    lock.write_text(text.replace("cmd: python", "cmd:  python"))
    assert compared(project) == "dvc.lock: holds the same outputs, made anew\n"


def test_missing_and_redrawn_files_are_named(project: Project) -> None:
    (project.root / "metrics/roc.csv").unlink()
    with (project.root / "metrics/plots/roc.png").open("ab") as file:
        file.write(b"x")
    said = compared(project)
    assert "metrics/plots/roc.png: differs\n" in said
    assert "metrics/roc.csv: is missing; `dvc repro` makes it again\n" in said


def test_without_a_commit_there_is_nothing_to_compare(project: Project) -> None:
    project.run("rm", "-rf", ".git")
    assert "error: there is no commit to compare the bytes with" in compared(project, status=1)
