"""What a run compares is told as it is, for the arms of every strategy."""

import io

import pytest
from outcomes import RECORD, outcome
from projects import ROOT

from headstart.judging.compared import Compared, compared
from headstart.params import reading, yaml_text
from headstart.params.strategies import STRATEGIES
from headstart.reporting import terminal, words


def arms(**values: str) -> Compared:
    """What the committed parameters compare, with some values changed (__ for dots)."""
    changed = {key.replace("__", "."): value for key, value in values.items()}
    text = yaml_text.edited((ROOT / "params.yaml").read_text(), changed)
    return compared(reading.parse(text, "params.yaml"))


def printed(own: Compared, verdict: str) -> str:
    """The summary on the terminal, on one line."""
    record = {**RECORD, "comparison": {**RECORD["comparison"], "verdict": verdict}}
    file = io.StringIO()
    terminal.summary(outcome(record, compared=own), file=file)
    return " ".join(file.getvalue().split())


def test_arms_of_one_architecture_differ_in_their_beginnings() -> None:
    own = arms()
    assert own.baseline == "MLP (units 300, 100, 50, 50, 50; selu): all layers, from scratch"
    assert own.transfer.startswith("MLP (units 300, 100, 50, 50, 50; selu), as the baseline: a new")
    said = printed(own, "transfer better")
    assert "what the source task taught gives a head start" in said
    # One architecture: nothing is to be added to the table.
    assert "baseline: MLP" not in said
    asked = words.question(own, taught=["bag", "coat"], classes=["sandal", "shirt"])
    assert asked == (
        "Does a network trained on bag, coat have a head start on telling sandal from shirt?"
    )


@pytest.mark.parametrize(
    ("source", "transfer"),
    [
        ("keras:ResNet50", "keras:ResNet50, trained on ImageNet, whole, 224 x 224 pixels: a new"),
        (
            "models/own/a.h5",
            "models/own/a.h5, from elsewhere, without a head, the size that it takes: ",
        ),
    ],
)
def test_network_from_elsewhere_is_another_architecture(source: str, transfer: str) -> None:
    own = arms(source_training__from=source)
    assert own.transfer.startswith(transfer)
    assert "another architecture than the baseline's" in own.transfer
    said = printed(own, "transfer better")
    assert "transfer better in accuracy: the network from elsewhere beats the baseline" in said
    assert "the controls tell" in said
    assert "source task taught" not in said
    assert f"transfer: {own.transfer}" in said
    asked = words.question(own, taught=[], classes=["ant", "bee"])
    assert asked == f"Does {source} have a head start on telling ant from bee?"


@pytest.mark.parametrize("name", [row.name for row in STRATEGIES.values() if not row.from_source])
@pytest.mark.parametrize("verdict", ["transfer better", "baseline better", "equivalent"])
def test_control_is_called_so(name: str, verdict: str) -> None:
    source = "keras:ResNet50" if STRATEGIES[name].same_network else "null"
    own = arms(transfer__strategy=name, source_training__from=source)
    said = printed(own, verdict)
    assert f"Verdict on the control: {verdict}" in said
    assert "Gain in accuracy by the control: " in said
    assert "Log loss of the control minus that of the baseline: " in said
    assert "head start" not in said
    assert ("MLP" if source == "null" else "keras:ResNet50, none of its weights") in own.transfer
    assert own.transfer in said
    assert words.question(own, taught=["bag"], classes=["ant", "bee"]) == (
        "A control: how does a network that has learned nothing elsewhere tell ant from bee?"
    )
