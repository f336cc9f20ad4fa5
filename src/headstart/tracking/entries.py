"""What each run of the lab book holds: a function of what DVC and git keep."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities import Metric

from headstart.core.nested import flat
from headstart.tracking import notes
from headstart.tracking.identity import STAGES, Stage, State, TrainingRun

NOTE = "mlflow.note.content"


@dataclass(frozen=True)
class Entry:
    """One whole run."""

    key: str
    name: str
    kind: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: Sequence[Metric]
    tags: Mapping[str, str]
    data: Mapping[str, str] = field(default_factory=dict)
    """The MD5 of each file that it learned from, by path."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Contents by the path under which MLflow shows them."""


def kind(stage: Stage) -> dict[str, str]:
    """Returns the tags of a training run, finished or not."""
    return {"headstart.kind": "training", "headstart.stage": stage.name}


def training_tags(training: TrainingRun) -> dict[str, str]:
    """Returns the tags that a training run has once it is whole, but for its key."""
    return {"headstart.model": training.model, NOTE: notes.training(training)}


def training(run: TrainingRun, state: State) -> Entry:
    """Returns the run of a training that nobody recorded, from the history of its epochs."""
    return Entry(
        key=run.key,
        name=notes.training_name(run.stage, run.acting),
        kind=kind(run.stage),
        params=run.acting,
        metrics=curves(state.histories.get(run.stage.arm, []), stamp=now()),
        tags=training_tags(run),
        data=run.data,
    )


def comparison(state: State, *, runs: Mapping[str, str], experiment: str) -> Entry:
    """Returns the run of a comparison.

    Args:
        state: The state of the pipeline that it stands for.
        runs: MLflow's ids of its training runs, by stage.
        experiment: MLflow's id of the experiment, for links.
    """
    stamp = now()
    final = [Metric(k, v, stamp, 0) for k, v in _final_metrics(state.metrics).items()]
    verdict = state.metrics.get("comparison", {})
    report = {} if state.report is None else {"report/index.html": state.report}
    return Entry(
        key=state.key,
        name=notes.comparison_name(state),
        kind={"headstart.kind": "comparison"},
        params=state.params,
        metrics=[*final, *_arm_curves(state, stamp)],
        tags={
            **{f"headstart.{name}": state.trainings[name].key for name in STAGES},
            **{f"provenance.run.{name}": run_id for name, run_id in runs.items()},
            "headstart.verdict": str(verdict.get("verdict")),
            "headstart.fair": json.dumps(verdict.get("fair")),
            NOTE: notes.comparison(state, runs, experiment),
        },
        files={f"plots/{name}": picture for name, picture in state.pictures.items()} | report,
    )


def _arm_curves(state: State, stamp: int) -> list[Metric]:
    # The final numbers on the test data are called baseline/loss, baseline/accuracy.
    plain = {"loss": "train_loss", "accuracy": "train_accuracy"}
    return [
        point
        for arm in ("baseline", "transfer")
        for point in curves(
            [{plain.get(k, k): v for k, v in row.items()} for row in state.histories.get(arm, [])],
            stamp=stamp,
            prefix=f"{arm}/",
        )
    ]


def _final_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns metrics.json with slashes, without `comparison/` and what is no number."""
    numbers: dict[str, float] = {}
    for section, values in metrics.items():
        prefix = "" if section == "comparison" else f"{section}."
        values = flat(values, prefix) if isinstance(values, Mapping) else {section: values}
        numbers |= {k.replace(".", "/"): float(v) for k, v in values.items() if _finite(v)}
    return numbers


def _finite(value: Any) -> bool:
    """Tells whether `value` is a number that a chart can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def curves(epochs: Iterable[Mapping[str, float]], *, stamp: int, prefix: str = "") -> list[Metric]:
    """Returns the curves at steps from 1; a millisecond apart, for charts over time."""
    return [
        Metric(f"{prefix}{name}", value, stamp + int(row["epoch"]), int(row["epoch"]))
        for row in epochs
        for name, value in row.items()
        if name != "epoch"
    ]


def now() -> int:
    """Returns the time as MLflow counts it: milliseconds since 1970."""
    return int(time.time() * 1000)
