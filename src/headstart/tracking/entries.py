"""What each run of the lab book holds: a function of what DVC and git keep."""

import csv
import hashlib
import json
import math
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from headstart.core.artefacts import flat
from headstart.core.errors import UserError
from headstart.params import reading, yaml_text
from headstart.params.sections import adopted_in_words, chosen_rates
from headstart.params.strategies import named
from headstart.reporting import render, words
from headstart.tracking.identity import STAGES, Stage, State, TrainingRun, digest

NOTE = "mlflow.note.content"
_STUDY_PARAMETERS = "study/params.yaml"
_TABLES = (
    "cells.csv",
    "summary.csv",
    "rates.csv",
    "areas.csv",
    "verdicts.csv",
    "derived.csv",
    "study.json",
)
_FOLDERS = {".csv": "tables", ".json": "tables", ".png": "plots"}
# By the names that summary.csv gives them; one point a label budget.
_LABEL_CURVES = ("mean", "gain", "degenerate")
# Of task, network and arm each: with training, shift and hashes within the 250 characters of a
# metric's name.
_PART_LENGTH = 60


@dataclass(frozen=True)
class Entry:
    """One whole run; `kind` are the tags that it has from its start, `tags` those at its end."""

    key: str
    name: str
    kind: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Sequence[Metric] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    """The MD5 of each file that it learned from, by path."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Contents by the path under which MLflow shows them."""


def unfinished(stage: Stage, acting: Mapping[str, Any], data: Mapping[str, str]) -> Entry:
    """Returns the run of a training that begins: no key, and a note that says so."""
    note = _note(stage, acting, data)
    kind = {"headstart.kind": "training", "headstart.stage": stage.name, NOTE: note}
    return Entry("", _training_name(stage, acting), kind, acting, data=data)


def training(
    run: TrainingRun, epochs: Sequence[Mapping[str, float]] = (), *, ends: Sequence[float] = ()
) -> Entry:
    """Returns the run of a training that is whole, with its epochs and the times of their ends."""
    note = _note(run.stage, run.acting, run.data, run=run)
    chosen = chosen_rates(run.acting, epochs)
    return Entry(
        key=run.key,
        name=_training_name(run.stage, run.acting, epochs),
        kind={"headstart.kind": "training", "headstart.stage": run.stage.name},
        params=run.acting,
        metrics=curves(epochs, ends=ends),
        tags={
            "headstart.model": run.model,
            **{f"headstart.chosen.{key}": json.dumps(rate) for key, rate in chosen.items()},
            NOTE: note,
        },
        data=run.data,
    )


def _note(
    stage: Stage,
    acting: Mapping[str, Any],
    data: Mapping[str, str],
    *,
    run: TrainingRun | None = None,
) -> str:
    what = {
        "train_a": "The source network, trained on the source task.",
        "train_b": "The baseline: the target task learned from scratch.",
        "transfer": f"The transfer model: {_strategy(acting)[0]}.",
    }[stage.name]
    if "from" in acting:
        what = f"The source network, which was not trained here: {', '.join(_network(acting))}."
    elif network := _network(acting, prefix="source."):
        what += f" Its layers are those of {', '.join(network)}."
    epochs = "from" not in acting
    return render.text(
        "note_training.md", what=what, stage=stage, epochs=epochs, data=data, run=run
    )


def _strategy(values: Mapping[str, Any], *, prefix: str = "") -> tuple[str, bool]:
    """Returns a strategy in words, and whether it is a control; its name where it was given up."""
    name = str(values.get(f"{prefix}strategy"))
    try:
        row = named(name)
    except ValueError:
        return name, False
    return row.words, not row.from_source


def _training_name(
    stage: Stage, acting: Mapping[str, Any], epochs: Sequence[Mapping[str, float]] = ()
) -> str:
    """Returns a training's name; of several learning rates it tells the one that was chosen."""
    seed = f"seed {acting.get('seed')}"
    if "from" in acting:  # and nothing is trained
        return " · ".join([stage.name, *_network(acting), seed])
    how = acting.get("strategy") or acting.get("output_activation")
    rates = {**acting, **chosen_rates(acting, epochs)}
    rate = f"{acting.get('optimizer')} {rates.get('learning_rate')}"
    if "unfrozen_learning_rate" in acting:
        rate += f", then {rates['unfrozen_learning_rate']}"
    network = _network(acting, prefix="source.")
    parts = [stage.name, how, *network, rate, f"{acting.get('epochs')} epochs", seed]
    return " · ".join(part for part in parts if part)


def _network(values: Mapping[str, Any], *, prefix: str = "") -> tuple[str, ...]:
    """Returns a network from elsewhere, its cut and the size that it sees; () where there is none.

    `values` are parameters by dotted key, those of the network below `prefix`.
    """
    if not (source := values.get(f"{prefix}from")):
        return ()
    layer, size = (values.get(f"{prefix}{key}", "auto") for key in ("layer", "input_size"))
    return adopted_in_words(source, layer=layer, input_size=size)


def comparison(state: State, *, runs: Mapping[str, str], experiment: str) -> Entry:
    """Returns the run of a comparison.

    Args:
        state: The state of the pipeline that it stands for.
        runs: MLflow's ids of its training runs, by stage.
        experiment: MLflow's id of the experiment, for links.
    """
    outcome = state.metrics.get("comparison", {})
    strategy = state.params.get("transfer.strategy")
    network = _network(state.params, prefix="source_training.")
    parts = ["comparison", str(outcome.get("verdict")), strategy, *network]
    if isinstance(gain := outcome.get("accuracy_gain"), float | int):
        parts.append(f"gain {gain:+.4f}")
    metrics = [Metric(k, v, now(), 0) for k, v in _final_metrics(state.metrics).items()]
    for arm in ("baseline", "transfer"):
        # The final numbers on the test data are called baseline/loss, baseline/accuracy.
        names = {"loss": "train_loss", "accuracy": "train_accuracy"}
        epochs = [
            {names.get(k, k): v for k, v in row.items()} for row in state.histories.get(arm, ())
        ]
        metrics += curves(epochs, prefix=f"{arm}/")
    report = {} if state.report is None else {"report/index.html": state.report}
    trainings = state.trainings
    note = render.text(
        "note_comparison.md",
        state=state,
        outcome=outcome,
        control=_strategy(state.params, prefix="transfer.")[1],
        aside=words.log_loss_aside(
            outcome.get("verdict"),
            *(outcome.get(f"log_loss_gain{end}") for end in ("", "_low", "_high")),
        ),
        runs=runs,
        experiment=experiment,
        titles={
            name: _training_name(run.stage, run.acting, state.histories.get(run.stage.arm, ()))
            for name, run in trainings.items()
        },
        data={path: md5 for run in trainings.values() for path, md5 in run.data.items()},
        settings=[
            shlex.quote(f"{key}={_hydra(value)}")
            for key, value in state.params.items()
            if key != "dataset.sources" and value != {}
        ],
    )
    return Entry(
        key=state.key,
        name=" · ".join(part for part in parts if part),
        kind={"headstart.kind": "comparison"},
        params=state.params,
        metrics=metrics,
        tags={
            **{f"headstart.{name}": trainings[name].key for name in STAGES},
            **{f"provenance.run.{name}": run_id for name, run_id in runs.items()},
            "headstart.verdict": str(outcome.get("verdict")),
            "headstart.fair": json.dumps(outcome.get("fair")),
            NOTE: note,
        },
        files={f"plots/{name}": picture for name, picture in state.pictures.items()} | report,
    )


def _hydra(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":")).replace('"', "")


def _final_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns metrics.json with slashes, without `comparison/` and what no chart can show."""
    numbers: dict[str, float] = {}
    for key, value in flat(metrics).items():
        # True and False are ints to Python.
        if type(value) in (int, float) and math.isfinite(value):
            numbers[key.removeprefix("comparison.").replace(".", "/")] = float(value)
    return numbers


def study(root: Path, section: str) -> Entry:
    """Returns the run of a study: parameters, curves over the labels, tables and pictures.

    Its key is the hash of its parameters and tables.

    Raises:
        UserError: There is no study of this section yet.
    """
    folder = root / "metrics/study" / section
    missing = [name for name in _TABLES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: {', '.join(missing)} is not there; `dvc repro study/dvc.yaml` makes it"
        )
    path = root / _STUDY_PARAMETERS
    values = yaml_text.parameters(path.read_text(encoding="utf-8"), str(path))
    chosen = {key: values[key] for key in ("replicas", "statistics", section)}
    settings = reading.load(root / "params.yaml")
    # How the images got there changes nothing that was trained on them.
    chosen["dataset"] = settings.dataset.model_dump(exclude={"path", "sources", "image_size"})
    if _follows_project(values[section]):
        # The study takes from there what stands in its own file as `project`.
        read = ("tasks", "network", "source_training")
        chosen |= {name: getattr(settings, name).model_dump(by_alias=True) for name in read}
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in _FOLDERS}
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in _TABLES}
    answer = "\n".join(map(render.listed, json.loads(files["study.json"])["answer"]))
    return Entry(
        key=digest({"parameters": chosen, "files": hashes}),
        name=f"study {section}",
        kind={"headstart.kind": "study", "headstart.stage": section},
        params=flat(chosen),
        metrics=_label_curves(folder / "summary.csv"),
        tags={NOTE: f"**The study's answer**\n\n{answer}"},
        files={f"{_FOLDERS[Path(name).suffix]}/{name}": files[name] for name in files},
    )


def _follows_project(grid: Mapping[str, Any]) -> bool:
    """Tells whether anything of a grid of a study is taken from `params.yaml`."""
    beside = grid["sources"] if isinstance(grid["sources"], list) else []
    return "project" in [*grid.values(), *beside]


def _label_curves(path: Path) -> list[Metric]:
    """Returns means, gains and counts as metrics whose step is the number of labels."""
    stamp = now()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = {
        column: _metric_names(dict.fromkeys(row[column] for row in rows))
        for column in ("task", "network", "arm")
    }
    return [
        Metric(f"{_curve_name(row, parts)}/{column}", float(row[column]), stamp, int(row["labels"]))
        for row in rows
        for column in _LABEL_CURVES
        if row[column]
    ]


def _metric_names(texts: Iterable[str]) -> dict[str, str]:
    """Returns what MLflow takes for parts of a metric's name: classes and files are the user's.

    Such names are letters, digits and `_-. :`, up to 250 characters; texts that would become one
    get a piece of their hash.
    """
    names: dict[str, str] = {}
    for text in texts:
        name = re.sub(r"[^\w. :-]", "-", text)[:_PART_LENGTH]
        if name in names.values():
            name = f"{name} {digest(text)[:8]}"
        names[text] = name
    return names


def _curve_name(row: Mapping[str, Any], parts: Mapping[str, Mapping[str, str]]) -> str:
    """Returns a metric's name: MLflow takes no equals sign."""
    task, network, arm = (names[row[column]] for column, names in parts.items())
    shift = f"/shift {row['shift']}" if row["shift"] != "0" else ""
    training = str(row["training"]).replace("=", " ")
    return f"{task}{shift}/{network}/{training}/{arm}"


def curves(
    epochs: Sequence[Mapping[str, float]], *, ends: Sequence[float] = (), prefix: str = ""
) -> list[Metric]:
    """Returns the curves at steps from 1, over time by the `ends` of the epochs.

    The ends are seconds since 1970; where they are not known, epochs lie a millisecond apart.
    """
    stamp = now()
    stamps = map(milliseconds, ends) if ends else [stamp + int(row["epoch"]) for row in epochs]
    return [
        Metric(f"{prefix}{name}", value, at, int(row["epoch"]))
        for row, at in zip(epochs, stamps, strict=True)
        for name, value in row.items()
        if name != "epoch"
    ]


def milliseconds(seconds: float) -> int:
    """Returns a time in seconds since 1970 as MLflow counts it."""
    return int(seconds * 1000)


def now() -> int:
    """Returns the time as MLflow counts it."""
    return milliseconds(time.time())
