"""What the picture to share says of each setting: the labels saved, or why none are drawn."""

import dataclasses
from collections.abc import Mapping, Sequence

from headstart.judging.verdict import TRANSFER_BETTER
from headstart.params.strategies import BASELINE, control_of, of_arm
from headstart.reporting.answer_figure import Arrow, Headline
from headstart.reporting.study_tables import AreaRow, Setting
from headstart.study import verdicts
from headstart.study.answer import (
    best_in,
    place,
    spoken_of,
    unlearned,
)
from headstart.study.cells_table import Curve, Curves
from headstart.study.derived_table import lacks_steps
from headstart.study.parameters import Statistics
from headstart.study.saved_in_words import (
    SAVES_NONE,
    apart_by_medians,
    interval_in_words,
    saves_labels,
)


def headlines(
    curves: Curves, areas: Sequence[AreaRow], settings: Statistics
) -> dict[Setting, Headline]:
    """Returns what the picture says of each setting, of the arm that `sentences` begins with.

    Of the transferred arm with the largest mean gain with few labels, and the labels that it saves
    at its accuracy with the fewest: the same numbers as in the sentence.
    """
    rows = {(row.setting, row.arm, row.range): row for row in areas}
    made = {}
    for setting, arms in curves.items():
        name = spoken_of(arms[BASELINE].labels)[0]
        transfers = {arm: own for arm, own in arms.items() if of_arm(arm).from_source}
        controls = {arm: own for arm, own in arms.items() if arm not in (BASELINE, *transfers)}
        if transfers:
            best = best_in(setting, name, transfers, arms[BASELINE], settings).place
            own = control_of(list(transfers)[best])
            # Of several networks from elsewhere each has one.
            controls = {arm: controls[arm] for arm in controls if arm == own} or controls
        transferred, control = (
            _headline(curves, setting, name, among, rows, settings)
            for among in (transfers, controls)
        )
        title = transferred.title if transferred else "No arm here starts from a source"
        aside = place(setting) + (transferred.aside if transferred else "")
        if control:
            aside += f"; the control: {control.title[0].lower()}{control.title[1:]}"
        made[setting] = dataclasses.replace(
            transferred or Headline("", ""), title=title, aside=aside
        )
    return made


def _headline(
    curves: Curves,
    setting: Setting,
    name: str,
    among: Mapping[str, Curve],
    rows: Mapping[tuple[Setting, str, str], AreaRow],
    settings: Statistics,
) -> Headline | None:
    """Returns what the best of some arms saves, with its arrow; None where there is none."""
    if not among:
        return None
    base = curves[setting][BASELINE]
    best = best_in(setting, name, among, base, settings)
    arm, own, saved = list(among)[best.place], int(base.labels[0]), best.saved
    verdict = rows[setting, arm, name].verdict
    if base.accuracies.shape[1] == 1:
        return Headline(f"One seed cannot tell whether {arm} saves labels", "", untold=True)
    if verdict == verdicts.INVALID:
        return Headline(
            f"Nothing to compare: {arm} or the baseline is not shown to learn", "", untold=True
        )
    if failed := unlearned({BASELINE: base, arm: among[arm]}, settings):
        return Headline(
            f"No labels saved are told: {failed[0].lower()}{failed[1:]}", "", untold=True
        )
    if lacks_steps(curves, setting, own, settings):
        return Headline(
            f"No labels saved are told: with {own} the baseline lacks training, not labels",
            "",
            untold=True,
        )
    saves = saves_labels(saved)
    if saves is False and verdict in SAVES_NONE:
        return Headline(f"{arm} saves no labels", "")
    if not saves or verdict != TRANSFER_BETTER:
        return Headline(f"Whether {arm} saves labels cannot be told", "", untold=True)
    needed, bounded = saved.value * own, saved.kind != "estimate"
    interval = interval_in_words(saved, form=_short)
    fewer = f"{saved.kind} " if bounded else ""
    fewer += f"{_short(saved.value)} times fewer{f' ({interval})' if interval else ''}"
    than = {"at least": "more than ", "at most": "at most "}.get(saved.kind, "")
    arrow = Arrow(
        arm,
        own,
        needed,
        saved.low * own,
        saved.high * own,
        bounded,
        f"{own:,} labels in place of {than}{needed:,.0f}:\n{fewer}",
    )
    title = f"{arm} needs {own:,} labels where the baseline needs {than}{needed:,.0f}: {fewer}"
    factor = apart_by_medians(saved, base, among[arm])
    return Headline(title, f"; by medians over seeds {factor} times" if factor else "", arrow)


def _short(factor: float) -> str:
    """Returns a factor for a picture; one that is just above 1 does not become 1."""
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.{1 if factor >= 1.1 else 2}f}"
