"""Areas between the curves, verdicts, labels saved and crossovers, as rows of tables."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headstart.params.strategies import BASELINE, control_of
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
    NOTHING,
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
    compared = {
        setting: {arm: BASELINE for arm in arms if arm != BASELINE}
        for setting, arms in curves.items()
    }
    return _area_rows(curves, compared, settings, chosen=chosen)


def control_rows(curves: Curves, settings: Statistics) -> list[AreaRow]:
    """Returns the same rows of arms over their untrained controls, where both are there.

    The gain is what was learned gives. The family: all such arms and ranges of one setting.
    """
    controls = {
        setting: {arm: control for arm in arms if (control := control_of(arm)) and control in arms}
        for setting, arms in curves.items()
    }
    return _area_rows(curves, controls, settings, chosen=1)


def _area_rows(
    curves: Curves,
    compared: Mapping[Setting, Mapping[str, str]],
    settings: Statistics,
    *,
    chosen: int,
) -> list[AreaRow]:
    """Returns the rows of every arm that is compared, with the arm whose gain it is over."""
    rows = []
    for setting, pairs in compared.items():
        arms = curves[setting]
        base = arms[BASELINE]
        labels = base.labels
        family = [(arm, name, budgets) for arm in pairs for name, budgets in ranges(labels).items()]
        judgements = judged(
            [gains(arms[arm], arms[pairs[arm]], budgets) for arm, _, budgets in family],
            [
                any(unfit(arms[own].among(budgets), settings) for own in (arm, pairs[arm]))
                for arm, _, budgets in family
            ],
            settings,
            base.sampling,
        )
        for (arm, name, budgets), judgement in zip(family, judgements, strict=True):
            within = labels[budgets]
            rows.append(
                rounded(
                    AreaRow(
                        **setting._asdict(),
                        arm=arm,
                        range=name,
                        chosen=chosen,
                        from_labels=int(within[0]),
                        to_labels=int(within[-1]),
                        seeds=base.rows[0].seeds,
                        splits=base.sampling.splits,
                        **vars(judgement),
                    )
                )
            )
    return rows


def gains(own: Curve, base: Curve, budgets: np.ndarray) -> np.ndarray:
    """Returns an arm's mean gain over another's, over the logarithm of these labels, as scores."""
    return mean_over_labels(own.labels[budgets], (own.scores - base.scores)[budgets])


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
    base, sampling = arms[BASELINE].scores, arms[BASELINE].sampling
    for arm, curve in arms.items():
        labels, accuracies = curve.labels, curve.scores

        def drawn(*about: str | int, arm: str = arm) -> statistics.Resampling:
            return resampling(settings, "derived", *setting, arm, *about, sampling=sampling)

        estimates = {
            ("labels_needed", str(target)): needed(
                labels,
                accuracies,
                target=target,
                resampling=drawn("needed", str(target)),
            )
            for target in settings.target_accuracies
        }
        if arm != BASELINE:
            for own, of_base in zip(curve.rows, arms[BASELINE].rows, strict=True):
                budget = own.row.labels
                # What has not learned the task is not held against anything.
                estimates["labels_saved", str(budget)] = (
                    NOTHING
                    if unfit((own,), settings) or unfit((of_base,), settings)
                    else labels_saved(
                        labels,
                        base,
                        own=budget,
                        accuracies=own.scores,
                        resampling=drawn("saved", budget),
                    )
                )
            estimates["crossover", ""] = crossover(
                labels, accuracies, base, resampling=drawn("crossover")
            )
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
    longer = larger.scores - own.scores
    richer = accuracies_at(base.labels, base.scores, _MORE_LABELS * labels) - own.scores
    low, _ = base.sampling.interval(longer, confidence=settings.confidence)
    _, high = base.sampling.interval(richer, confidence=settings.confidence)
    return low > high


def coverage(curves: Curves, settings: Statistics) -> dict[str, float | None]:
    """Returns how often t intervals of resampled real seeds hold the real mean, over all rows.

    Of accuracies and of paired gains; None where there is one seed only, or several splits, which
    are too few to stand for a population.
    """
    shares: dict[str, list[float]] = {"mean": [], "gain": []}
    for arms in curves.values():
        for arm, curve in arms.items():
            for own, base in zip(curve.rows, arms[BASELINE].rows, strict=True):
                values = {"mean": (own.accuracies, "coverage")}
                if arm != BASELINE:
                    values["gain"] = own.accuracies - base.accuracies, "gain coverage"
                for kind, (sample, name) in values.items():
                    if len(sample) > 1 and own.sampling.splits == 1:
                        drawn = resampling(settings, "bootstrap", own.row.name, name)
                        drawn = dataclasses.replace(drawn, samples=_COVERAGE_SAMPLES)
                        shares[kind].append(statistics.resampled_coverage(sample, drawn))
    return {kind: round(float(np.mean(own)), 4) if own else None for kind, own in shares.items()}


def record(
    summary: Sequence[SummaryRow],
    areas: Sequence[AreaRow],
    controls: Sequence[AreaRow],
    derived: Sequence[DerivedRow],
) -> dict[str, Any]:
    """Returns what `dvc metrics` shows: areas and crossovers by setting and arm, and counts."""
    tree: dict[str, Any] = {}

    def place(row: AreaRow | DerivedRow) -> dict[str, Any]:
        at = tree
        for key in (*_keys(row.setting), row.arm):
            at = at.setdefault(key, {})
        return at

    for area in areas:
        place(area)[area.range] = {"gain": area.gain, "verdict": area.verdict}
    for area in controls:
        place(area)[area.range]["over_control"] = _finite(area)
    for row in derived:
        if row.quantity == "crossover":
            place(row)[row.quantity] = None if math.isnan(row.value) else row.value
    return {
        "cells": sum(row.seeds * row.splits for row in summary),
        "seeds": summary[0].seeds,
        **({"splits": summary[0].splits} if summary[0].splits > 1 else {}),
        "degenerate": sum(row.degenerate for row in summary),
        "diverged": sum(row.diverged for row in summary),
        "results": tree,
    }


def over_controls(record: Mapping[str, Any], setting: Setting) -> dict[str, dict[str, Any]]:
    """Returns what `record` has of arms over their controls, by arm and range."""
    at = record["results"]
    for key in _keys(setting):
        at = at.get(key, {})
    kept = {
        arm: {
            name: own["over_control"]
            for name, own in ranges_.items()
            if isinstance(own, dict) and "over_control" in own
        }
        for arm, ranges_ in at.items()
    }
    return {arm: own for arm, own in kept.items() if own}


def _keys(setting: Setting) -> tuple[str, ...]:
    shift = f"shift {setting.shift}" if setting.shift else "no shift"
    return setting.task, shift, setting.network, setting.training


def _finite(area: AreaRow) -> dict[str, Any]:
    """Returns a gain, its interval and verdict as JSON has them."""
    kept = {"gain": area.gain, "low": area.gain_low, "high": area.gain_high, "p": area.p_adjusted}
    numbers = {name: None if math.isnan(value) else value for name, value in kept.items()}
    return {**numbers, "verdict": area.verdict}
