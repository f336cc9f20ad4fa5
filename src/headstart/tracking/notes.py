"""What a run is called and what its page says, in Markdown. Content alone, save for links."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from headstart.tracking.identity import STAGES, Stage, State, TrainingRun

_WHAT = {
    "train_a": "The source model: trained on the source task.",
    "train_b": "The baseline: the target task learned from scratch.",
    "transfer": "The transfer model: a new head for the target task on the source model's layers.",
}


def training_name(stage: Stage, acting: Mapping[str, Any]) -> str:
    """Returns a name that says what was trained and how."""
    how = acting.get("strategy") or acting.get("output_activation")
    parts = [
        stage.name,
        how,
        f"{acting.get('optimizer')} {acting.get('learning_rate')}",
        f"{acting.get('epochs')} epochs",
        f"seed {acting.get('seed')}",
    ]
    return " · ".join(part for part in parts if part)


def comparison_name(state: State) -> str:
    """Returns a name that says how the comparison went."""
    outcome = state.metrics.get("comparison", {})
    gain = outcome.get("accuracy_gain")
    parts = ["comparison", str(outcome.get("verdict")), state.params.get("transfer.strategy")]
    if isinstance(gain, float | int):
        parts.append(f"gain {gain:+.4f}")
    return " · ".join(part for part in parts if part)


def unfinished(stage: Stage, data: Mapping[str, str]) -> str:
    """Returns the note of a training run that has not ended well, or not yet."""
    return "\n".join(
        [
            f"**{_WHAT[stage.name]}**",
            "",
            "This training has not finished: see its status. It has no model and no identity yet.",
            "",
            *_hashes(data, "data"),
            "",
            "Run it again, with the parameters of this run in `params.yaml`:",
            "",
            f"    dvc repro {stage.name}",
        ]
    )


def training(run: TrainingRun) -> str:
    """Returns the note of a training run."""
    stage = run.stage
    return "\n".join(
        [
            f"**{_WHAT[stage.name]}**",
            "",
            f"Stage `{stage.name}`; `loss`, `accuracy`, `val_loss`, `val_accuracy` by epoch.",
            "",
            *_hashes({stage.model: run.model}, "model"),
            *_hashes(run.data, "data", head=False),
            "",
            "Make it again, with the parameters of this run in `params.yaml`:",
            "",
            f"    dvc repro {stage.name}",
            f"    md5sum {stage.model}",
            "",
            f"Key `{run.key}`: the hash of stage, acting parameters, data and model.",
        ]
    )


def comparison(state: State, runs: Mapping[str, str], experiment: str) -> str:
    """Returns the note of a comparison run, with links to its training runs by id."""
    outcome = state.metrics.get("comparison", {})
    rows = [
        f"| {arm} | {_number(values.get('accuracy'))} | {_number(values.get('loss'))} |"
        for arm in ("baseline", "transfer")
        if isinstance(values := state.metrics.get(arm), Mapping)
    ]
    links = [
        f"- [{training_name(state.trainings[name].stage, state.trainings[name].acting)}]"
        f"(#/experiments/{experiment}/runs/{runs[name]}) `{state.trainings[name].key}`"
        for name in STAGES
    ]
    models = {t.stage.model: t.model for t in state.trainings.values()}
    data = {path: md5 for t in state.trainings.values() for path, md5 in t.data.items()}
    data = {path: md5 for path, md5 in data.items() if path not in models}
    settings = [
        f"-S {shlex.quote(f'{key}={_hydra(value)}')}"
        for key, value in state.params.items()
        if key != "dataset.sources" and value != {}
    ]
    return "\n".join(
        [
            f"**Verdict: {outcome.get('verdict')}**, accuracy gain of transfer "
            f"{_number(outcome.get('accuracy_gain'), sign='+')} "
            f"(interval {_number(outcome.get('accuracy_gain_low'), sign='+')} to "
            f"{_number(outcome.get('accuracy_gain_high'), sign='+')}, "
            f"McNemar p {_number(outcome.get('mcnemar_p'))}). "
            + (
                "The comparison is fair: same data, budget and optimiser."
                if outcome.get("fair")
                else "**Not fair**: the arms differ in data, budget or optimiser; "
                "the report says where."
            ),
            "",
            "| test | accuracy | loss |",
            "|---|---|---|",
            *rows,
            "",
            "Its trainings:",
            "",
            *links,
            "",
            *_hashes(models, "model"),
            *_hashes(data, "data", head=False),
            "",
            "Make it again, then put it into the workspace:",
            "",
            "    dvc exp run \\",
            *[f"      {setting} \\" for setting in settings[:-1]],
            *[f"      {setting}" for setting in settings[-1:]],
            "",
            f"Key `{state.key}`: the hash of its trainings, of `evaluate` and of the metrics.",
        ]
    )


def _hashes(files: Mapping[str, str], kind: str, *, head: bool = True) -> list[str]:
    rows = [f"| {kind} | `{path}` | `{md5}` |" for path, md5 in files.items()]
    return ["| | file | MD5 (as in `dvc.lock`) |", "|---|---|---|", *rows] if head else rows


def _number(value: Any, *, sign: str = "") -> str:
    return format(value, f"{sign}.4f") if isinstance(value, float | int) else "unknown"


def _hydra(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":")).replace('"', "")
