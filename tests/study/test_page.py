"""`headstart study page` as a person asks for it: meanwhile, after a stop, and at the end."""

import json
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from projects import ROOT, clean_environment, edit_params
from typer.testing import CliRunner

from headstart import cli
from headstart.core.errors import UserError
from headstart.study import cells, interim, parameters, stage

# What only a study that has ended may say.
JUDGEMENT = (
    r"(?i)\b(verdict|better|worse|equivalent|p|p-value|adjusted|saved?|saves|no difference)\b"
)
ASK = """
import sys
from headstart.cli import app
app(["study", "page"], standalone_mode=False)
print("imported:", *sorted({"tensorflow", "mlflow"} & set(sys.modules)))
"""
PAGE, HTML = Path("metrics/study/grid/study.md"), Path("reports/study-grid.html")


def page() -> Any:
    return CliRunner().invoke(cli.app, ["study", "page"])


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.timeout(200)
def test_running_study_shows_within_a_second_what_is_there_and_judges_nothing(digits: Path) -> None:
    edit_params(digits / "study/params.yaml", {"grid.seeds": "3", "replicas.group_size": "1"})
    # Tables of an earlier run, which stay until this one has ended.
    tables = digits / "metrics/study/grid"
    tables.mkdir(parents=True)
    (tables / "study.json").touch()
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "stages/study.py"), "grid"]
    with subprocess.Popen(command, cwd=digits, env=environment) as study:
        told = digits / ".headstart/study-grid/progress.json"
        while not told.is_file() or json.loads(told.read_text())["seconds_left"] is None:
            assert study.poll() is None
            time.sleep(0.01)
        study.send_signal(signal.SIGSTOP)
        before = processor_seconds()
        printed = subprocess.run(
            [sys.executable, "-c", ASK], env=environment, text=True, capture_output=True, check=True
        ).stdout
        # A second of an idle processor; busy ones, such as those that run tests, are slower.
        assert processor_seconds() - before < 3
        study.send_signal(signal.SIGCONT)
    assert study.returncode == 0
    assert printed.endswith("imported:\n")
    assert re.search(r"^interim: \d+ of 12 networks$", printed, re.MULTILINE)
    shown = HTML.read_text()
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", shown, flags=re.DOTALL)
    assert "Interim" in text
    assert re.search(r"about \d+ min left", text)
    assert "steps=5 frozen" in re.sub(r"\s+", " ", text)
    assert not re.search(JUDGEMENT, text)
    assert not PAGE.exists()
    # All that it says is gone with the end.
    assert page().output.split() == [str(PAGE), str(HTML)]
    assert "interim" not in HTML.read_text().lower()


def test_stopped_study_shows_what_is_there_until_it_goes_on(
    digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, real = [], cells.train

    def train(*arguments: Any) -> Any:
        trained.append(arguments)
        if len(trained) > 3:
            raise KeyboardInterrupt
        return real(*arguments)

    edit_params(digits / "study/params.yaml", {"grid.seeds": "4"})
    with monkeypatch.context() as stopped:
        stopped.setattr(cells, "train", train)
        with pytest.raises(KeyboardInterrupt):
            stage.answer("grid")
    assert page().output.startswith("interim: 6 of 16 networks\n")
    text = Path(".headstart/study-grid/interim.md").read_text()
    assert "the stage has stopped" in text
    assert text.count(" 2 of 4 ") == 3
    assert text.count(" 0 of 4 ") == 1
    stage.answer("grid")
    assert page().output.split() == [str(PAGE), str(HTML)]
    # Its tables stay while another goes on, and are not taken for the answer to that one.
    edit_params(digits / "study/params.yaml", {"grid.seeds": "5"})
    with monkeypatch.context() as stopped:
        stopped.setattr(cells, "train", train)
        with pytest.raises(KeyboardInterrupt):
            stage.answer("grid")
    assert page().output.startswith("interim: 16 of 20 networks\n")
    stage.answer("grid")
    assert page().output.split() == [str(PAGE), str(HTML)]


def test_tables_of_another_grid_are_not_taken_for_the_answer(digits: Path) -> None:
    assert "dvc repro study/dvc.yaml:grid" in page().output
    values = yaml.safe_load(Path("study/params.yaml").read_text())
    lock = {"stages": {"grid": {"params": {"study/params.yaml": {"grid": values["grid"]}}}}}
    Path("study/dvc.lock").write_text(yaml.safe_dump(lock))
    Path("metrics/study/grid").mkdir(parents=True)
    Path("metrics/study/grid/study.json").touch()

    def unfinished() -> Any:
        grid = parameters.load(stage.PARAMETERS).grid
        return interim.unfinished("grid", grid, stage.METRICS / "grid")

    assert unfinished() is None
    edit_params(digits / "study/params.yaml", {"grid.seeds": "3"})
    with pytest.raises(UserError, match="holds no answer to the grid"):
        unfinished()


@pytest.mark.parametrize(
    "command", ["study page --section nonsense", "predict --arm nonsense image.png"]
)
def test_value_that_an_option_does_not_take_is_one_message_and_status_one(command: str) -> None:
    done = CliRunner().invoke(cli.app, command.split())
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert "'nonsense' is not one of" in done.output
