"""From finished cells to the study's tables, verdicts and sentences. Plain values, no files."""

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart import seeds
from headstart.evaluation import BASELINE_BETTER, INVALID, TRANSFER_BETTER
from headstart.study import statistics
from headstart.study.costs import Cost
from headstart.study.parameters import BASELINE, TRANSFERRED, Statistics
from headstart.study.plan import Row

# No seed of the grid: bootstraps are keyed by what they are about.
_BOOTSTRAP_SEED = 0
_COVERAGE_SAMPLES = 2000
# What verdicts.csv holds where the baseline is the only arm.
NO_VERDICT = {"verdict": "nothing to compare"}


@dataclass(frozen=True)
class Cells:
    """One row of the grid with all its seeds.

    Attributes:
        row: Which one.
        answers: Classes from 0, (seeds, test images).
        right: The same, whether right.
        finite: Whether the training stayed among numbers, (seeds,).
        learning_rates: What each seed trained with, (seeds,).
        validation_labels: How many labels of the budget validated.
        cost: Of one training.
    """

    row: Row
    answers: np.ndarray
    right: np.ndarray
    finite: np.ndarray
    learning_rates: tuple[float, ...]
    validation_labels: int
    cost: Cost

    @property
    def accuracies(self) -> np.ndarray:
        """Accuracies on the test images, float64 (seeds,)."""
        shares: np.ndarray = self.right.sum(axis=1) / self.right.shape[1]
        return shares

    @property
    def degenerate(self) -> np.ndarray:
        """Whether a seed answers one class for everything, or diverged, bool (seeds,)."""
        constant: np.ndarray = (self.answers == self.answers[:, :1]).all(axis=1)
        return constant | ~self.finite


@dataclass(frozen=True)
class Curve:
    """One arm over the label budgets, ascending, of one task, shift, network and training."""

    rows: tuple[Cells, ...]

    @property
    def labels(self) -> np.ndarray:
        """The budgets, (b,)."""
        return np.array([cells.row.labels for cells in self.rows])

    @property
    def accuracies(self) -> np.ndarray:
        """(b, seeds)."""
        return np.stack([cells.accuracies for cells in self.rows])


# Task, shift, network, training.
Setting = tuple[str, int, str, str]
Curves = dict[Setting, dict[str, Curve]]


def curves(cells: Sequence[Cells]) -> Curves:
    """Returns the cells sorted into curves, settings and arms in the order they come."""
    found: dict[Setting, dict[str, list[Cells]]] = {}
    for one in cells:
        setting = (one.row.task, one.row.shift, one.row.network, one.row.training)
        found.setdefault(setting, {}).setdefault(one.row.arm, []).append(one)
    return {
        setting: {
            arm: Curve(tuple(sorted(rows, key=lambda one: one.row.labels)))
            for arm, rows in arms.items()
        }
        for setting, arms in found.items()
    }


def cell_rows(cells: Sequence[Cells]) -> list[dict[str, Any]]:
    """Returns the rows of cells.csv, one a training, without seconds."""
    return [
        {
            **_named(one.row),
            "seed": seed,
            "accuracy": _number(one.accuracies[seed]),
            "right": int(one.right[seed].sum()),
            "test_images": one.right.shape[1],
            "degenerate": int(one.degenerate[seed]),
            "diverged": int(not one.finite[seed]),
            "learning_rate": one.learning_rates[seed],
            "validation_labels": one.validation_labels,
            "shift": one.row.shift,
        }
        for one in cells
        for seed in range(len(one.right))
    ]


def summary_rows(found: Curves, settings: Statistics) -> list[dict[str, Any]]:
    """Returns the rows of summary.csv, one an arm and label budget; what is undefined is empty."""
    rows = []
    for arms in found.values():
        made = [
            _summary(one, base, settings)
            for arm, curve in arms.items()
            for one, base in zip(curve.rows, arms[BASELINE].rows, strict=True)
        ]
        # One family: the arms and budgets of one task and training budget.
        family = [row for row in made if row["arm"] != BASELINE]
        adjusted = statistics.holm([row["p"] for row in family])
        for row, p in zip(family, adjusted, strict=True):
            row["p_adjusted"] = p
        rows += made
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _summary(one: Cells, base: Cells, settings: Statistics) -> dict[str, Any]:
    row, accuracies = one.row, one.accuracies
    count = len(accuracies)
    itself = row.arm == BASELINE
    gains = accuracies - base.accuracies
    confidence = settings.confidence
    low, high = statistics.t_interval(accuracies, confidence=confidence)
    gain_low, gain_high = statistics.t_interval(gains, confidence=confidence)
    drawn: dict[str, Any] = {"confidence": confidence, "samples": settings.bootstrap_samples}
    median = statistics.bootstrap(
        accuracies,
        lambda values: np.median(values, axis=1),
        generator=_generator(row, "median"),
        **drawn,
    )
    middle = statistics.bootstrap(
        accuracies, statistics.interquartile_mean, generator=_generator(row, "iqm"), **drawn
    )
    weights = _weights(row.task, *one.right.shape, settings.bootstrap_samples)
    both = statistics.two_way_interval(one.right, weights, confidence=confidence)
    gain_both = statistics.two_way_interval(
        one.right.astype(np.int8) - base.right.astype(np.int8), weights, confidence=confidence
    )
    return {
        **_named(row),
        "seeds": count,
        "mean": accuracies.mean(),
        "std": accuracies.std(ddof=1) if count > 1 else math.nan,
        "low": low,
        "high": high,
        "gain": gains.mean(),
        "gain_low": 0.0 if itself else gain_low,
        "gain_high": 0.0 if itself else gain_high,
        "wins": statistics.wins(accuracies, base.accuracies),
        "degenerate": int(one.degenerate.sum()),
        "median": np.median(accuracies),
        "median_low": median[0],
        "median_high": median[1],
        "iqm": statistics.interquartile_mean(accuracies),
        "iqm_low": middle[0],
        "iqm_high": middle[1],
        "two_way_low": both[0],
        "two_way_high": both[1],
        "gain_two_way_low": gain_both[0],
        "gain_two_way_high": gain_both[1],
        "p": math.nan if itself else statistics.paired_p(gains),
        "p_adjusted": math.nan,
        "diverged": int((~one.finite).sum()),
        "validation_labels": one.validation_labels,
        "trainable_parameters": one.cost.trainable_parameters,
        "updates": one.cost.updates,
        "flops": one.cost.flops,
        "flops_as_notebook": one.cost.flops_as_notebook,
        "source_flops": one.cost.source_flops,
        "shift": row.shift,
    }


def verdict_rows(
    found: Curves, summary: Sequence[Mapping[str, Any]], settings: Statistics
) -> list[dict[str, Any]]:
    """Returns the rows of verdicts.csv: an arm and a range of neighbouring budgets each."""
    rows = []
    for setting, arms in found.items():
        lines = {
            (line["arm"], line["labels"]): line
            for line in summary
            if (line["task"], line["shift"], line["network"], line["training"]) == setting
        }
        for arm, curve in arms.items():
            if arm == BASELINE:
                continue
            own = [lines[arm, cells.row.labels] for cells in curve.rows]
            base = [lines[BASELINE, cells.row.labels] for cells in curve.rows]
            verdicts = [
                statistics.verdict(
                    gain=line["gain"],
                    adjusted_p=math.nan if line["p_adjusted"] == "" else line["p_adjusted"],
                    alpha=settings.alpha,
                    seeds=line["seeds"],
                    degenerate=(line["degenerate"], other["degenerate"]),
                )
                for line, other in zip(own, base, strict=True)
            ]
            for first, last, verdict in statistics.ranges(verdicts):
                gains = [line["gain"] for line in own[first : last + 1]]
                rows.append(
                    {
                        **_setting(setting),
                        "arm": arm,
                        "from_labels": own[first]["labels"],
                        "to_labels": own[last]["labels"],
                        "verdict": verdict,
                        "smallest_gain": min(gains),
                        "largest_gain": max(gains),
                        "shift": setting[1],
                    }
                )
    return rows


def derived_rows(found: Curves, settings: Statistics) -> list[dict[str, Any]]:
    """Returns the rows of derived.csv: labels needed and saved, crossovers, areas.

    `at` is a target accuracy for `labels_needed`, a label budget for `labels_saved`. `low` of
    0 and `high` of inf are open ends.
    """
    rows = []
    for setting, arms in found.items():
        for arm, quantity, at, estimate in _derived(setting, arms, settings):
            rows.append(
                {
                    **_setting(setting),
                    "arm": arm,
                    "quantity": quantity,
                    "at": at,
                    "value": _number(estimate.value),
                    "low": _number(estimate.low),
                    "high": _number(estimate.high),
                    "kind": estimate.kind,
                    "shift": setting[1],
                }
            )
    return rows


def _derived(
    setting: Setting, arms: Mapping[str, Curve], settings: Statistics
) -> Iterator[tuple[str, str, float | str, statistics.Estimate]]:
    drawn: dict[str, Any] = {
        "confidence": settings.confidence,
        "samples": settings.bootstrap_samples,
    }
    base = arms[BASELINE].accuracies
    for arm, curve in arms.items():
        labels, accuracies = curve.labels, curve.accuracies

        def key(*names: str | int, arm: str = arm) -> np.random.Generator:
            return seeds.generator(_BOOTSTRAP_SEED, "derived", *setting, arm, *names)

        for target in settings.target_accuracies:
            generator = key("needed", str(target))
            yield (
                arm,
                "labels_needed",
                target,
                statistics.needed(labels, accuracies, target=target, generator=generator, **drawn),
            )
        if arm == BASELINE:
            continue
        for at, budget in enumerate(labels):
            estimate = statistics.labels_saved(
                labels, accuracies, base, at=at, generator=key("saved", int(budget)), **drawn
            )
            yield arm, "labels_saved", int(budget), estimate
        over = statistics.crossover(labels, accuracies, base, generator=key("crossover"), **drawn)
        yield arm, "crossover", "", over
        area = statistics.area(labels, accuracies, base, confidence=settings.confidence)
        yield arm, "area", "", area


def coverage(found: Curves, settings: Statistics) -> dict[str, float | None]:
    """Returns how often t intervals of resampled real seeds hold the real mean, over all rows.

    Of accuracies and of paired gains; None where there is one seed only.
    """
    means, gains = [], []
    for arms in found.values():
        base = arms[BASELINE]
        for arm, curve in arms.items():
            for one, other in zip(curve.rows, base.rows, strict=True):
                if len(one.accuracies) < 2:
                    continue
                drawn: dict[str, Any] = {
                    "confidence": settings.confidence,
                    "samples": _COVERAGE_SAMPLES,
                }
                means.append(
                    statistics.resampled_coverage(
                        one.accuracies, generator=_generator(one.row, "coverage"), **drawn
                    )
                )
                if arm != BASELINE:
                    gains.append(
                        statistics.resampled_coverage(
                            one.accuracies - other.accuracies,
                            generator=_generator(one.row, "gain coverage"),
                            **drawn,
                        )
                    )
    return {
        "mean": round(float(np.mean(means)), 4) if means else None,
        "gain": round(float(np.mean(gains)), 4) if gains else None,
    }


def record(
    summary: Sequence[Mapping[str, Any]], derived: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns what `dvc metrics` shows: areas and crossovers by setting and arm, and counts."""
    tree: dict[str, Any] = {}
    for row in derived:
        if row["quantity"] not in ("area", "crossover"):
            continue
        shift = f"shift {row['shift']}" if row["shift"] else "no shift"
        place = tree
        for key in (row["task"], shift, row["network"], row["training"], row["arm"]):
            place = place.setdefault(key, {})
        undefined = row["value"] == ""
        place[row["quantity"]] = None if undefined else row["value"]
    return {
        "cells": sum(int(row["seeds"]) for row in summary),
        "seeds": int(summary[0]["seeds"]),
        "degenerate": sum(int(row["degenerate"]) for row in summary),
        "diverged": sum(int(row["diverged"]) for row in summary),
        "results": tree,
    }


def sentences(
    found: Curves, derived: Sequence[Mapping[str, Any]], *, confidence: float
) -> list[str]:
    """Returns the plain answer, a sentence a setting: what transfer saves or costs with few labels.

    It speaks of the transferred arm with the largest area between the curves, and says so.
    """
    lines = []
    for setting, arms in found.items():
        task, shift, network, training = setting
        areas = {
            row["arm"]: row["value"]
            for row in derived
            if row["quantity"] == "area" and _is(row, setting) and row["arm"] in TRANSFERRED
        }
        candidates = [arm for arm in TRANSFERRED if arm in arms]
        if not candidates:
            continue
        best = max(candidates, key=lambda arm: areas[arm] if areas.get(arm, "") != "" else 0.0)
        curve = arms[best]
        budget = int(curve.labels[0])
        saved = next(
            row
            for row in derived
            if row["quantity"] == "labels_saved"
            and _is(row, setting)
            and (row["arm"], row["at"]) == (best, budget)
        )
        *names, last = task.split("_")
        where = f"{', '.join(names)} and {last} ({network}"
        where += f", images shifted by up to {shift} pixels)" if shift else ")"
        among = f", the best of {len(candidates)} transfers here," if len(candidates) > 1 else ""
        lines.append(
            f"{where}: with {budget} labels and {_in_words(training)}, transfer ({best}{among} "
            f"mean accuracy {curve.accuracies[0].mean():.3f} against "
            f"{arms[BASELINE].accuracies[0].mean():.3f}) "
            f"{saved_in_words(saved, budget, confidence=confidence)}."
        )
    return lines


def saved_in_words(saved: Mapping[str, Any], budget: int, *, confidence: float) -> str:
    """Returns what a row of derived.csv on labels saved says, as the end of a sentence."""
    if saved["kind"] == "undetermined":
        return "saves or costs a number of labels that this grid cannot tell"
    ratio = float(saved["value"])
    labels = abs(round((ratio - 1) * budget))
    low, high = (math.nan if saved[key] == "" else float(saved[key]) for key in ("low", "high"))
    if saved["kind"] == "at least":
        text = f"saves at least {labels} labels" if ratio > 1 else "is ahead with every budget here"
    elif saved["kind"] == "at most":
        text = f"costs at least {labels} labels" if ratio < 1 else "saves no labels"
    else:
        text = f"{'saves' if ratio >= 1 else 'costs'} {labels} labels"
    bounds = [
        "any number" if bound == 0 or not math.isfinite(bound) else f"{bound * budget:.0f}"
        for bound in (low, high)
    ]
    kind = "" if saved["kind"] == "estimate" else f"{saved['kind']} "
    doubt = ", so that these seeds do not rule out that it saves none" if low <= 1 <= high else ""
    if not math.isfinite(low) and not math.isfinite(high):
        interval = "in nearly all resamples of the seeds too"
    else:
        interval = f"{100 * confidence:g} % interval from {bounds[0]} to {bounds[1]}"
    return f"{text}: the baseline needs {kind}{ratio * budget:.0f} ({interval}){doubt}"


def verdict_sentence(row: Mapping[str, Any]) -> str:
    """Returns a row of verdicts.csv in words."""
    first, last = row["from_labels"], row["to_labels"]
    span = f"with {first} labels" if first == last else f"with {first} to {last} labels"
    small, large = f"{float(row['smallest_gain']):+.3f}", f"{float(row['largest_gain']):+.3f}"
    gain = small if small == large else f"{small} to {large}"
    why = {
        INVALID: ": half of the seeds or more answer one class for everything",
        TRANSFER_BETTER: f", mean gain {gain}",
        BASELINE_BETTER: f", mean gain {gain}",
    }.get(str(row["verdict"]), f", mean gain {gain}")
    return f"{row['arm']}, {span}: {row['verdict']}{why}"


def _in_words(training: str) -> str:
    kind, _, amount = training.partition("=")
    return f"{amount} {kind}"


def _is(row: Mapping[str, Any], setting: Setting) -> bool:
    return (row["task"], row["shift"], row["network"], row["training"]) == setting


def _named(row: Row) -> dict[str, Any]:
    return {
        "task": row.task,
        "network": row.network,
        "training": row.training,
        "labels": row.labels,
        "arm": row.arm,
    }


def _setting(setting: Setting) -> dict[str, Any]:
    task, _, network, training = setting
    return {"task": task, "network": network, "training": training}


@functools.lru_cache(maxsize=1)
def _weights(task: str, count: int, images: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The two-way resamples of a task, the same for all its rows: drawing them takes a while."""
    return statistics.two_way_weights(
        count,
        images,
        samples=samples,
        generator=seeds.generator(_BOOTSTRAP_SEED, "bootstrap", task, "two way"),
    )


def _generator(row: Row, name: str) -> np.random.Generator:
    return seeds.generator(_BOOTSTRAP_SEED, "bootstrap", row.name, name)


def _number(value: Any) -> Any:
    """Returns a plain number to ten digits, and nothing (an empty cell) for what is undefined."""
    if isinstance(value, str | int):
        return value
    number = float(value)
    if math.isnan(number):
        return ""
    return number if math.isinf(number) else float(f"{number:.10g}")
