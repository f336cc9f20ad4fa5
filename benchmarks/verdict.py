"""How often the verdict errs: enumerated over all outcomes, not simulated.

    python benchmarks/verdict.py [--write]    a minute or two

Two models answer n test images. Each image is answered right by both, by one of them alone (the
discordant ones) or by neither; the counts are multinomial. For the mid-p only the discordant ones
matter; the interval also depends on how many both answer wrong. For the bound of the balanced
accuracy all numbers of right answers of each class are gone through.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import gammaln, xlogy
from scipy.stats import binom

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core.digits import rounded
from headstart.judging import skill
from headstart.judging.paired import mcnemar, newcombe

ALPHA = 0.05
IMAGES = (100, 967)
EXPECTED = (1, 2, 3, 4, 6, 8, 10, 13, 15, 20, 30, 50, 100, 200)
# Of the discordant answers those that the baseline has right, and of all images those that both
# answer wrong.
SPLITS = (0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
WRONG = (0.0, 0.01, 0.05, 0.1, 0.25)
CLASSES = ((50, 50), (90, 10), (485, 482), (20, 20, 20), (40, 15, 5))
# What the outcomes left out come to, at each end of each count.
_REST = 1e-8


def errors(images: int, expected: Sequence[int], *, mid: bool) -> list[float]:
    """Returns how often the test sees a difference of models that have none."""
    counts = np.arange(images + 1)
    one, discordant = np.meshgrid(counts, counts)
    possible = one <= discordant
    one = np.where(possible, one, 0)
    seen = possible & (mcnemar(one, discordant - one, mid=mid) < ALPHA)
    given = np.where(seen, binom.pmf(one, discordant, 0.5), 0).sum(axis=1)
    return [rounded((binom.pmf(counts, images, d / images) * given).sum()) for d in expected]


def interval(images: int, expected: int, split: float, wrong: float) -> tuple[float, float]:
    """Returns how often the 95 % interval holds the gain, and how often it contradicts the test."""
    apart = expected / images
    shares = [split * apart, (1 - split) * apart, wrong]
    ends = [binom.ppf([_REST, 1 - _REST], images, share).astype(int) for share in shares]
    counts = np.meshgrid(*[np.arange(low, high + 1) for low, high in ends], indexing="ij")
    baseline, transfer, neither = (some[sum(counts) <= images] for some in counts)
    both = images - baseline - transfer - neither
    chance = gammaln(images + 1)
    for count, share in zip(
        (baseline, transfer, neither, both), (*shares, 1 - apart - wrong), strict=True
    ):
        chance = chance + xlogy(count, share) - gammaln(count + 1)
    chance = np.exp(chance)
    low, high = newcombe(both, baseline, transfer, neither, confidence=1 - ALPHA)
    gain = (1 - 2 * split) * apart
    # A hair of rounding at both ends.
    holds = (low <= gain + 1e-12) & (gain - 1e-12 <= high)
    decided = mcnemar(baseline, transfer, mid=True) < ALPHA
    contradicts = decided != ((low > 0) | (high < 0))
    return rounded(chance[holds].sum()), rounded(chance[contradicts].sum())


def learned(total: Sequence[int]) -> tuple[float, float]:
    """Returns how often guessing passes for learning, at worst, and the accuracy seen in 80 %.

    Guessing is any recalls whose sum is 1; the accuracy is one recall of all classes.
    """
    classes = len(total)
    others = np.stack(np.meshgrid(*[np.arange(n + 1) for n in total[:-1]], indexing="ij"), axis=-1)
    # The bound rises with the right answers of the last class: from how many on it passes.
    low, high = np.zeros(others.shape[:-1], int), np.full(others.shape[:-1], total[-1] + 1)
    while (low < high).any():
        middle = (low + high) // 2
        right = np.concatenate([others, np.minimum(middle, total[-1])[..., None]], axis=-1)
        bound = skill.bound(right, np.array(total), confidence=1 - ALPHA)
        passes = (bound > 1 / classes) & (middle <= total[-1])
        high = np.where(passes, middle, high)
        low = np.where(passes | (low >= high), low, middle + 1)

    def chance(recalls: Sequence[float]) -> float:
        some = binom.pmf(others, total[:-1], recalls[:-1]).prod(axis=-1)
        return float((some * binom.sf(high - 1, total[-1], recalls[-1])).sum())

    grid = np.linspace(0, 1, 201 if classes == 2 else 41)
    guesses = (
        (*some, max(1 - sum(some), 0))
        for some in product(grid, repeat=classes - 1)
        if sum(some) <= 1 + 1e-9
    )
    worst = max(map(chance, guesses))
    enough = next(recall for recall in np.linspace(0, 1, 1001) if chance([recall] * classes) >= 0.8)
    return rounded(worst), rounded(float(enough))


def rows() -> Iterator[tuple[int, int, float, float]]:
    """Yields what `interval` takes, for all that images and shares allow."""
    for images, expected, split, wrong in product(IMAGES, EXPECTED, SPLITS, WRONG):
        if expected / images + wrong < 1:
            yield images, expected, split, wrong


def measure() -> dict[str, Any]:
    """Returns all that is enumerated."""
    return {
        "errors": [
            [images, int(mid), *errors(images, range(1, min(images, 200) + 1), mid=mid)]
            for images, mid in product(IMAGES, (True, False))
        ],
        "intervals": [[*row, *interval(*row)] for row in rows()],
        "learned": [[*total, *learned(total)] for total in CLASSES],
    }


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    """Returns what docs/metrics.md shows."""
    erring = {(row[0], bool(row[1])): row[2:] for row in sitting.measured["errors"]}
    found = sitting.measured["intervals"]

    def told(share: float) -> str:
        return f"{share:.1%}".replace("%", " %")

    def of(images: int, expected: int, mid: bool) -> str:
        values = erring[images, mid]
        return told(values[expected - 1]) if expected <= len(values) else ""

    def spread(some: list[list[float]]) -> str:
        covered = [row[4] for row in some]
        return f"{told(min(covered))} to {told(max(covered))}"

    lines = []
    for expected in EXPECTED:
        here = [row for row in found if row[1] == expected]
        equal = max(row[5] for row in here if row[2] == 0.5)
        lines.append(
            [
                f"{expected}",
                *(of(images, expected, mid) for images in IMAGES for mid in (True, False)),
                spread(here),
                told(equal),
                told(max(row[5] for row in here)),
            ]
        )
    most = {images: max(erring[images, True]) for images in IMAGES}
    fewer = max(erring[100, True][:-1])
    many = [row for row in found if row[1] >= 13]
    worst = max(many, key=lambda row: row[5])
    equal = max(row[5] for row in many if row[2] == 0.5)
    worst_below = max(row[5] for row in found if row[1] < 13)
    sentences = (
        f"The mid-p errs in at most {told(most[967])} of all test sets of 967 images, looked at up "
        f"to {len(erring[967, True])} expected discordant answers, and in at most {told(fewer)} of "
        f"those of 100 ({told(most[100])} where all 100 are discordant). "
        "From 13 expected discordant answers on, the interval covers the gain in "
        f"{spread(many)} of all test sets, below in "
        f"{spread([row for row in found if row[1] < 13])}. Also from 13 on, it contradicts the "
        f"test in at most {told(equal)} where the models are equally good, and in at most "
        f"{told(worst[5])} otherwise: where {worst[1]} are expected, {told(worst[2])} of them "
        f"right by the baseline, and both are wrong on {told(worst[3])} of the {worst[0]} images. "
        f"Below 13 it contradicts in up to {told(worst_below)}.\n"
    )
    head = ["expected discordant"]
    head += [f"{test} errs, n = {n}" for n in IMAGES for test in ("mid-p", "exact p")]
    head += ["interval covers", "contradicts, equal models", "contradicts, at most"]
    classes = [
        [" and ".join(f"{n:g}" for n in row[:-2]), told(row[-2]), f"{row[-1]:.3f}"]
        for row in sitting.measured["learned"]
    ]
    bound = ["test images of the classes", "guessing passes, at most", "seen in 80 % from"]
    return {
        "verdict": sittings.table(head, lines) + "\n" + sentences,
        "learned": sittings.table(bound, classes),
    }


if __name__ == "__main__":
    chosen = sittings.parser(__doc__).parse_args()
    sittings.finish("verdict", measure(), parts, write=chosen.write, packages=("numpy", "scipy"))
