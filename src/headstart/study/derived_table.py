"""Verdicts, labels saved, areas, and the sentences that tell them. Plain values, no files."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.judging.verdict import INVALID
from headstart.params.strategies import ARMS, BASELINE
from headstart.reporting.study_tables import (
    DerivedRow,
    Setting,
    SummaryRow,
    VerdictRow,
    rounded,
)
from headstart.study import statistics
from headstart.study.cells_table import Curve, Curves, resampling
from headstart.study.curves import area, crossover, labels_saved, needed
from headstart.study.parameters import Statistics

_COVERAGE_SAMPLES = 2000


def verdict_rows(
    curves: Curves, summary: Sequence[SummaryRow], settings: Statistics
) -> list[VerdictRow]:
    """Returns the rows of verdicts.csv: an arm and a range of neighbouring budgets each."""
    rows = []
    for setting, arms in curves.items():
        by_arm = {
            arm: [row for row in summary if (row.setting, row.arm) == (setting, arm)]
            for arm in arms
        }
        base = by_arm.pop(BASELINE)
        for arm, own in by_arm.items():
            verdicts = [
                statistics.verdict(
                    gain=row.gain,
                    adjusted_p=row.p_adjusted,
                    alpha=settings.alpha,
                    seeds=row.seeds,
                    degenerate=(row.degenerate, other.degenerate),
                )
                for row, other in zip(own, base, strict=True)
            ]
            for first, last, verdict in statistics.ranges(verdicts):
                gains = [row.gain for row in own[first : last + 1]]
                rows.append(
                    VerdictRow(
                        **setting._asdict(),
                        arm=arm,
                        from_labels=own[first].labels,
                        to_labels=own[last].labels,
                        verdict=verdict,
                        smallest_gain=min(gains),
                        largest_gain=max(gains),
                    )
                )
    return rows


def derived_rows(curves: Curves, settings: Statistics) -> list[DerivedRow]:
    """Returns the rows of derived.csv: labels needed and saved, crossovers, areas."""
    return [
        rounded(row)
        for setting, arms in curves.items()
        for row in _derived(setting, arms, settings)
    ]


def _derived(
    setting: Setting, arms: Mapping[str, Curve], settings: Statistics
) -> Iterator[DerivedRow]:
    base = arms[BASELINE].accuracies
    for arm, curve in arms.items():
        both = curve.labels, curve.accuracies
        about = settings, "derived", *setting, arm
        estimates = {
            ("labels_needed", str(target)): needed(
                *both, target=target, resampling=resampling(*about, "needed", str(target))
            )
            for target in settings.target_accuracies
        }
        if arm != BASELINE:
            for at, budget in enumerate(curve.labels.tolist()):
                drawn = resampling(*about, "saved", budget)
                saved = labels_saved(*both, base, at=at, resampling=drawn)
                estimates["labels_saved", str(budget)] = saved
            drawn = resampling(*about, "crossover")
            estimates["crossover", ""] = crossover(*both, base, resampling=drawn)
            estimates["area", ""] = area(*both, base, confidence=settings.confidence)
        for (quantity, of), estimate in estimates.items():
            row = {**setting._asdict(), "arm": arm, "quantity": quantity, "at": of}
            yield DerivedRow(**row, **vars(estimate))


def coverage(curves: Curves, settings: Statistics) -> dict[str, float | None]:
    """Returns how often t intervals of resampled real seeds hold the real mean, over all rows.

    Of accuracies and of paired gains; None where there is one seed only.
    """
    shares: dict[str, list[float]] = {"mean": [], "gain": []}
    for arms in curves.values():
        for arm, curve in arms.items():
            for own, base in zip(curve.rows, arms[BASELINE].rows, strict=True):
                values = {"mean": (own.accuracies, "coverage")}
                if arm != BASELINE:
                    values["gain"] = own.accuracies - base.accuracies, "gain coverage"
                for kind, (sample, name) in values.items():
                    if len(sample) > 1:
                        drawn = resampling(settings, "bootstrap", own.row.name, name)
                        drawn = dataclasses.replace(drawn, samples=_COVERAGE_SAMPLES)
                        shares[kind].append(statistics.resampled_coverage(sample, drawn))
    return {kind: round(float(np.mean(own)), 4) if own else None for kind, own in shares.items()}


def record(summary: Sequence[SummaryRow], derived: Sequence[DerivedRow]) -> dict[str, Any]:
    """Returns what `dvc metrics` shows: areas and crossovers by setting and arm, and counts."""
    tree: dict[str, Any] = {}
    for row in derived:
        if row.quantity not in ("area", "crossover"):
            continue
        shift = f"shift {row.shift}" if row.shift else "no shift"
        place = tree
        for key in (row.task, shift, row.network, row.training, row.arm):
            place = place.setdefault(key, {})
        place[row.quantity] = None if math.isnan(row.value) else row.value
    return {
        "cells": sum(row.seeds for row in summary),
        "seeds": summary[0].seeds,
        "degenerate": sum(row.degenerate for row in summary),
        "diverged": sum(row.diverged for row in summary),
        "results": tree,
    }


def sentences(curves: Curves, derived: Sequence[DerivedRow], *, confidence: float) -> list[str]:
    """Returns the plain answer, a sentence a setting: what transfer saves or costs with few labels.

    It speaks of the transferred arm with the largest area between the curves, and says so.
    """
    rows = {(row.setting, row.arm, row.quantity, row.at): row for row in derived}
    lines = []
    for setting, arms in curves.items():
        candidates = [name for name, arm in ARMS.items() if arm.from_source and name in arms]
        if not candidates:
            continue
        areas = {arm: rows[setting, arm, "area", ""].value for arm in candidates}
        best = max(candidates, key=lambda arm: 0.0 if math.isnan(areas[arm]) else areas[arm])
        curve = arms[best]
        budget = int(curve.labels[0])
        saved = rows[setting, best, "labels_saved", str(budget)]
        *names, last = setting.task.split("_")
        where = f"{', '.join(names)} and {last} ({setting.network}"
        where += f", images shifted by up to {setting.shift} pixels)" if setting.shift else ")"
        among = f", the best of {len(candidates)} transfers here," if len(candidates) > 1 else ""
        kind, _, amount = setting.training.partition("=")
        lines.append(
            f"{where}: with {budget} labels and {amount} {kind}, transfer ({best}{among} "
            f"mean accuracy {curve.accuracies[0].mean():.3f} against "
            f"{arms[BASELINE].accuracies[0].mean():.3f}) "
            f"{saved_in_words(saved, budget, confidence=confidence)}."
        )
    return lines


def saved_in_words(saved: DerivedRow, budget: int, *, confidence: float) -> str:
    """Returns what a row of derived.csv on labels saved says, as the end of a sentence."""
    if saved.kind == "undetermined":
        return "saves or costs a number of labels that this grid cannot tell"
    ratio, low, high = saved.value, saved.low, saved.high
    labels = abs(round((ratio - 1) * budget))
    if saved.kind == "at least":
        text = f"saves at least {labels} labels" if ratio > 1 else "is ahead with every budget here"
    elif saved.kind == "at most":
        text = f"costs at least {labels} labels" if ratio < 1 else "saves no labels"
    else:
        text = f"{'saves' if ratio >= 1 else 'costs'} {labels} labels"
    bounds = [
        "any number" if bound == 0 or not math.isfinite(bound) else f"{bound * budget:.0f}"
        for bound in (low, high)
    ]
    kind = "" if saved.kind == "estimate" else f"{saved.kind} "
    doubt = ", so that these seeds do not rule out that it saves none" if low <= 1 <= high else ""
    if not math.isfinite(low) and not math.isfinite(high):
        interval = "in nearly all resamples of the seeds too"
    else:
        interval = f"{100 * confidence:g} % interval from {bounds[0]} to {bounds[1]}"
    return f"{text}: the baseline needs {kind}{ratio * budget:.0f} ({interval}){doubt}"


def verdict_sentence(row: VerdictRow) -> str:
    """Returns a row of verdicts.csv in words."""
    first, last = row.from_labels, row.to_labels
    span = f"with {first} labels" if first == last else f"with {first} to {last} labels"
    small, large = f"{row.smallest_gain:+.3f}", f"{row.largest_gain:+.3f}"
    why = f", mean gain {small}" if small == large else f", mean gain {small} to {large}"
    if row.verdict == INVALID:
        why = ": half of the seeds or more answer one class for everything"
    return f"{row.arm}, {span}: {row.verdict}{why}"
