"""Verdicts, labels saved, areas, and the sentences that tell them. Plain values, no files."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.core import seeds
from headstart.judging.verdict import BASELINE_BETTER, INVALID, TRANSFER_BETTER
from headstart.study import statistics
from headstart.study.cells_table import (
    BOOTSTRAP_SEED,
    Curve,
    Curves,
    Setting,
    generator,
    number,
    setting_columns,
)
from headstart.study.parameters import Statistics
from headstart.transfer.strategies import BASELINE, TRANSFERRED

_COVERAGE_SAMPLES = 2000


# What verdicts.csv holds where the baseline is the only arm.
NO_VERDICT = {"verdict": "nothing to compare"}


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
                        **setting_columns(setting),
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
                    **setting_columns(setting),
                    "arm": arm,
                    "quantity": quantity,
                    "at": at,
                    "value": number(estimate.value),
                    "low": number(estimate.low),
                    "high": number(estimate.high),
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
            return seeds.generator(BOOTSTRAP_SEED, "derived", *setting, arm, *names)

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
                        one.accuracies, generator=generator(one.row, "coverage"), **drawn
                    )
                )
                if arm != BASELINE:
                    gains.append(
                        statistics.resampled_coverage(
                            one.accuracies - other.accuracies,
                            generator=generator(one.row, "gain coverage"),
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
