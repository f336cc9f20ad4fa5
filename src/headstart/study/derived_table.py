"""Areas between the curves, verdicts, labels saved and crossovers, as rows of tables."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.params.strategies import BASELINE
from headstart.reporting.study_tables import (
    AreaRow,
    DerivedRow,
    Setting,
    SummaryRow,
    VerdictRow,
    rounded,
)
from headstart.study import statistics
from headstart.study.cells_table import Cells, Curve, Curves, judged, resampling, unfit
from headstart.study.curves import (
    accuracies_at,
    crossover,
    labels_saved,
    mean_over_labels,
    needed,
    ranges,
)
from headstart.study.parameters import Statistics

# Against so many times the labels more training is held.
_MORE_LABELS = 10
_COVERAGE_SAMPLES = 2000


def area_rows(curves: Curves, settings: Statistics, *, chosen: int = 1) -> list[AreaRow]:
    """Returns the rows of areas.csv: an arm and a range of label budgets each.

    The family of the corrected p-values: all arms and ranges of one task, shift, network and
    training budget.
    """
    rows = []
    for setting, arms in curves.items():
        base = arms[BASELINE]
        family = [
            (arm, name, budgets)
            for arm in arms
            if arm != BASELINE
            for name, budgets in ranges(base.labels).items()
        ]
        judgements = judged(
            [gains(arms[arm], base, budgets) for arm, _, budgets in family],
            [
                unfit(arms[arm].among(budgets), settings) or unfit(base.among(budgets), settings)
                for arm, _, budgets in family
            ],
            settings,
        )
        for (arm, name, budgets), judgement in zip(family, judgements, strict=True):
            within = base.labels[budgets]
            rows.append(
                rounded(
                    AreaRow(
                        **setting._asdict(),
                        arm=arm,
                        range=name,
                        chosen=chosen,
                        from_labels=int(within[0]),
                        to_labels=int(within[-1]),
                        seeds=base.accuracies.shape[1],
                        **vars(judgement),
                    )
                )
            )
    return rows


def gains(own: Curve, base: Curve, budgets: np.ndarray) -> np.ndarray:
    """Returns an arm's mean gain over the logarithm of these labels, by seed, (seeds,)."""
    return mean_over_labels(own.labels[budgets], (own.accuracies - base.accuracies)[budgets])


def verdict_rows(summary: Sequence[SummaryRow]) -> list[VerdictRow]:
    """Returns the rows of verdicts.csv: an arm and a range of neighbouring budgets each."""
    rows = []
    curves: dict[tuple[Setting, str], list[SummaryRow]] = {}
    for row in summary:
        if row.arm != BASELINE:
            curves.setdefault((row.setting, row.arm), []).append(row)
    for (setting, arm), own in curves.items():
        for first, last, verdict in statistics.ranges([row.verdict for row in own]):
            within = [row.gain for row in own[first : last + 1]]
            rows.append(
                VerdictRow(
                    **setting._asdict(),
                    arm=arm,
                    from_labels=own[first].labels,
                    to_labels=own[last].labels,
                    verdict=verdict,
                    smallest_gain=min(within),
                    largest_gain=max(within),
                )
            )
    return rows


def derived_rows(curves: Curves, settings: Statistics) -> list[DerivedRow]:
    """Returns the rows of derived.csv: labels needed and saved, crossovers."""
    return [
        rounded(row)
        for setting, arms in curves.items()
        for row in _derived(curves, setting, arms, settings)
    ]


def _derived(
    curves: Curves, setting: Setting, arms: Mapping[str, Curve], settings: Statistics
) -> Iterator[DerivedRow]:
    base = arms[BASELINE].accuracies
    for arm, curve in arms.items():
        labels, accuracies = curve.labels, curve.accuracies
        about = settings, "derived", *setting, arm
        estimates = {
            ("labels_needed", str(target)): needed(
                labels,
                accuracies,
                target=target,
                resampling=resampling(*about, "needed", str(target)),
            )
            for target in settings.target_accuracies
        }
        if arm != BASELINE:
            for budget, own in zip(labels.tolist(), accuracies, strict=True):
                drawn = resampling(*about, "saved", budget)
                estimates["labels_saved", str(budget)] = labels_saved(
                    labels, base, own=budget, accuracies=own, resampling=drawn
                )
            drawn = resampling(*about, "crossover")
            estimates["crossover", ""] = crossover(labels, accuracies, base, resampling=drawn)
        for (quantity, of), estimate in estimates.items():
            saved = quantity == "labels_saved"
            yield DerivedRow(
                **setting._asdict(),
                arm=arm,
                quantity=quantity,
                at=of,
                value=estimate.value,
                low=_closed(estimate.low),
                high=_closed(estimate.high),
                kind=estimate.kind,
                cubic=estimate.cubic,
                number=(estimate.value - 1) * int(of) if saved else math.nan,
                lacks_steps=int(saved and lacks_steps(curves, setting, int(of), settings)),
            )


def _closed(end: float) -> float:
    """Returns an end of an interval, NaN where it is open."""
    return end if 0 < end < math.inf else math.nan


def lacks_steps(curves: Curves, setting: Setting, labels: int, settings: Statistics) -> bool:
    """Tells whether the baseline with so many labels lacks training rather than labels.

    Its gain from the next larger training budget exceeds that from ten times the labels, and
    the two t intervals are apart. False where the grid has no more of the one or the other.
    """

    def row(of: Setting) -> Cells:
        return next(own for own in curves[of][BASELINE].rows if own.row.labels == labels)

    base, own = curves[setting][BASELINE], row(setting)
    more = [
        row(other)
        for other in curves
        if other._replace(training="") == setting._replace(training="")
        and row(other).cost.updates > own.cost.updates
    ]
    if not more or _MORE_LABELS * labels > base.labels[-1]:
        return False
    larger = min(more, key=lambda other: other.cost.updates)
    longer = larger.accuracies - own.accuracies
    richer = accuracies_at(base.labels, base.accuracies, _MORE_LABELS * labels) - own.accuracies
    low, _ = statistics.t_interval(longer, confidence=settings.confidence)
    _, high = statistics.t_interval(richer, confidence=settings.confidence)
    return bool(low > high)


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


def record(
    summary: Sequence[SummaryRow], areas: Sequence[AreaRow], derived: Sequence[DerivedRow]
) -> dict[str, Any]:
    """Returns what `dvc metrics` shows: areas and crossovers by setting and arm, and counts."""
    tree: dict[str, Any] = {}

    def place(row: AreaRow | DerivedRow) -> dict[str, Any]:
        shift = f"shift {row.shift}" if row.shift else "no shift"
        at = tree
        for key in (row.task, shift, row.network, row.training, row.arm):
            at = at.setdefault(key, {})
        return at

    for area in areas:
        place(area)[area.range] = {"gain": area.gain, "verdict": area.verdict}
    for row in derived:
        if row.quantity == "crossover":
            place(row)[row.quantity] = None if math.isnan(row.value) else row.value
    return {
        "cells": sum(row.seeds for row in summary),
        "seeds": summary[0].seeds,
        "degenerate": sum(row.degenerate for row in summary),
        "diverged": sum(row.diverged for row in summary),
        "results": tree,
    }
