"""How often intervals and verdicts of a study with several splits err: simulated.

    python benchmarks/splits.py [--write]    some minutes

300 images, 60 of which test, in five splits. First with gains that are normal, whose variance
comes from the images, from the splits, from the training images that splits share, from the seeds
and from the rest in known shares; a whole family of such gains for the verdicts. Then with real
images, 300 of Fashion-MNIST's pullovers and coats drawn again and again, and classifiers that are
fitted in a millisecond: there nobody knows the shares, and what is true is the mean over all draws.
"""

import functools
import math
import sys
from collections.abc import Iterator
from itertools import combinations as combinations_of
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core import seeds as seeds_of
from headstart.core.digits import rounded
from headstart.data import raw_data
from headstart.study import crossed, verdicts

IMAGES, TESTED, SPLITS = 300, 60, 5
SEEDS = (5, 20)
RUNS = 2000
# Of the variance of the mean.
SHARES = (0.0, 0.1, 0.5, 0.9)
OF_TRAINING = (0.1, 0.3)
COMPARISONS = 8
# What gains of one family have in common.
CORRELATION = 0.5
ALPHA = 0.05
_AT_A_TIME = 100

POOLS = 100
LABELS = (10, 60, 240)
_CLASSES = ("pullover", "coat")
_RIDGE = 5.0
_DIRECTIONS, _UNITS = 15, 100


def gains(
    generator: np.random.Generator,
    runs: int,
    *,
    seeds: int,
    images: float = 0.0,
    splits: float = 0.0,
    training: float = 0.0,
    comparisons: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns gains (runs, comparisons, splits, seeds, images) of mean 0, and what tests share.

    `images`, `splits` and `training` are shares of the variance of the mean, of as many images,
    splits and training images as there are; the seeds have half of what is left, all else half.
    What splits' test parts share is (runs,).
    """
    # A hair of rounding below 0.
    left = max(1 - images - splits - training, 0)

    def drawn(variance: float, *shape: int) -> np.ndarray:
        common, own = (generator.normal(size=(runs, k, *shape)) for k in (1, comparisons))
        together = math.sqrt(CORRELATION) * common + math.sqrt(1 - CORRELATION) * own
        return math.sqrt(variance) * together

    order = np.broadcast_to(np.arange(IMAGES), (runs, SPLITS, IMAGES))
    order = generator.permuted(order, axis=-1)
    tested, trained = order[..., :TESTED], order[:, None, :, TESTED:]
    easy = drawn(images * IMAGES, 1, IMAGES)
    useful = drawn(training * IMAGES, 1, IMAGES)
    of_split = drawn(splits * SPLITS, SPLITS)
    of_split = of_split + np.take_along_axis(useful, trained, axis=-1).mean(axis=-1)
    made = (
        np.take_along_axis(easy, tested[:, None], axis=-1)[..., None, :]
        + of_split[..., None, None]
        + drawn(left / 2 * seeds, 1, seeds, 1)
        + drawn(left / 4 * SPLITS * seeds, SPLITS, seeds, 1)
        + drawn(left / 4 * SPLITS * seeds * TESTED, SPLITS, seeds, TESTED)
    )
    tests = np.zeros((runs, SPLITS, IMAGES))
    np.put_along_axis(tests, tested, 1.0, axis=-1)
    together = np.einsum("rsi,rti->r", tests, tests) - SPLITS * TESTED
    return made, together / (SPLITS * (SPLITS - 1) * TESTED)


def coverage(runs: int, *, seeds: int, **shares: Any) -> float:
    """Returns how often the 95 % interval holds the mean."""
    generator = _generator("coverage", seeds, *shares.items())
    held = 0
    for count in _portions(runs):
        values, shared = gains(generator, count, seeds=seeds, **shares)
        low, high = crossed.mean(values, shared=shared[:, None]).interval(confidence=1 - ALPHA)
        held += int(((low < 0) & (high > 0)).sum())
    return held / runs


def family_wise_error(runs: int, *, seeds: int, **shares: Any) -> float:
    """Returns how often a family of gains has a verdict where none of them is any."""
    generator = _generator("family", seeds, *shares.items())
    wrong = 0
    for count in _portions(runs):
        values, shared = gains(generator, count, seeds=seeds, comparisons=COMPARISONS, **shares)
        for p in crossed.mean(values, shared=shared[:, None]).p():
            wrong += bool(verdicts.holm(p).min() < ALPHA)
    return wrong / runs


def combinations() -> list[tuple[float, float]]:
    """Returns the shares of images and splits that go together."""
    return [(images, splits) for images, splits in product(SHARES, SHARES) if images + splits <= 1]


def _portions(runs: int) -> Iterator[int]:
    while runs > 0:
        yield min(runs, _AT_A_TIME)
        runs -= _AT_A_TIME


def _generator(*about: object) -> np.random.Generator:
    return seeds_of.generator(0, "splits", *map(str, about))


def _pool(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns `count` pullovers and coats as pixels, half of each, and their signs."""
    pixels, signs = _images()[:2]
    rows = np.concatenate(
        [draw.choice(np.flatnonzero(signs == one), count // 2, replace=False) for one in (1, -1)]
    )
    return pixels[rows], signs[rows]


@functools.cache
def _images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns pixels of all pullovers and coats, their signs, and directions of other classes."""
    raw = raw_data.read("fashion_mnist", ROOT / "data/raw/fashion_mnist", classes="auto")
    pixels = np.concatenate(
        [part.images.reshape(len(part.labels), -1) for part in raw.parts.values()]
    )
    labels = np.concatenate([part.labels for part in raw.parts.values()])
    one, other = (raw.classes.index(name) for name in _CLASSES)
    rest = pixels[(labels != one) & (labels != other)][:5000] / 255
    own = (labels == one) | (labels == other)
    _, _, directions = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)
    signs = np.where(labels[own] == one, 1.0, -1.0)
    return pixels[own] / 255 - rest.mean(axis=0), signs, directions[:_DIRECTIONS].T


def pool(number: int, *, seeds: int) -> np.ndarray:
    """Returns what a study of 300 images says: (means, error, freedom) x (scores, labels).

    Scores are the gains of two arms over a baseline, and its accuracy. All classify by ridge
    regression: on pixels, on directions of other classes, on random features of each seed.
    """
    draw = _generator("pool", number)
    pixels, signs = _pool(IMAGES, draw)
    half, tested = IMAGES // 2, TESTED // 2
    random = [np.maximum(pixels @ draw.normal(size=(784, _UNITS)) / 7, 0) for _ in range(seeds)]
    # Which of a class' training images are labelled first, a seed each.
    firsts = [[draw.permutation(half - tested) for _ in (0, 1)] for _ in range(seeds)]
    directed = pixels @ _images()[2]
    kernels = [[own @ own.T for own in (pixels, directed, random[seed])] for seed in range(seeds)]
    right = np.zeros((3, len(LABELS), SPLITS, seeds, TESTED))
    parts = []
    for split in range(SPLITS):
        places = [draw.permutation(half), half + draw.permutation(half)]
        tests = np.concatenate([own[:tested] for own in places])
        parts.append(tests)
        for seed, (at, labels) in product(range(seeds), enumerate(LABELS)):
            order = zip(places, firsts[seed], strict=True)
            train = np.concatenate([own[tested:][first[: labels // 2]] for own, first in order])
            for arm, kernel in enumerate(kernels[seed]):
                gram = kernel[np.ix_(train, train)] + _RIDGE * np.eye(labels)
                answers = kernel[np.ix_(tests, train)] @ np.linalg.solve(gram, signs[train])
                right[arm, at, split, seed] = np.sign(answers) == signs[tests]
    pairs = combinations_of(parts, 2)
    shared = float(np.mean([len(np.intersect1d(*pair)) / TESTED for pair in pairs]))
    told = crossed.mean(np.concatenate([right[1:] - right[0], right[:1]]), shared=shared)
    return np.stack([told.value, told.error, told.freedom])


def on_images(pools: int, *, seeds: int) -> list[list[float]]:
    """Returns how often the interval holds what is true, by score and labels."""
    told = [pool(number, seeds=seeds) for number in range(pools)]
    values, errors, freedom = np.stack(told, axis=1)
    low, high = crossed.Mean(values, errors, freedom).interval(confidence=1 - ALPHA)
    true = values.mean(axis=0)
    held: list[list[float]] = ((low <= true) & (true <= high)).mean(axis=0).tolist()
    return [[rounded(share) for share in row] for row in held]


def measure() -> dict[str, Any]:
    """Returns all that is simulated."""
    return {
        "coverage": [
            [seeds, images, splits, coverage(RUNS, seeds=seeds, images=images, splits=splits)]
            for seeds, (images, splits) in product(SEEDS, combinations())
        ],
        "families": [
            [
                *(seeds, images, splits),
                family_wise_error(RUNS, seeds=seeds, images=images, splits=splits),
            ]
            for seeds, (images, splits) in product(SEEDS, combinations())
        ],
        "training": [
            [seeds, share, coverage(RUNS, seeds=seeds, images=0.4, training=share)]
            for seeds, share in product(SEEDS, OF_TRAINING)
        ],
        "images": on_images(POOLS, seeds=SEEDS[0]),
    }


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    """Returns what docs/study.md shows."""
    measured = sitting.measured

    def told(share: float) -> str:
        return f"{share:.1%}".replace("%", " %")

    def spread(shares: list[float]) -> str:
        return f"{told(min(shares))} to {told(max(shares))}"

    held = {tuple(row[:3]): row[3] for row in measured["coverage"]}
    wrong = {tuple(row[:3]): row[3] for row in measured["families"]}
    lines = [
        [
            *(f"{100 * share:g} %" for share in shares),
            *(told(some[seeds, *shares]) for some in (held, wrong) for seeds in SEEDS),
        ]
        for shares in combinations()
    ]
    head = ["images", "splits"]
    head += [f"interval holds, {seeds} seeds" for seeds in SEEDS]
    head += [f"family errs, {seeds} seeds" for seeds in SEEDS]
    by_share = {
        share: [row[2] for row in measured["training"] if row[1] == share] for share in OF_TRAINING
    }
    *of_arms, of_baseline = measured["images"]
    sentences = (
        f"Over all of these the interval holds the mean in {spread(list(held.values()))}, and a "
        f"family of {COMPARISONS} gains errs in at most {told(max(wrong.values()))}. What the "
        "training parts of splits share stays unseen: where the images that train make "
        + " and ".join(f"{100 * share:g} % of the variance" for share in OF_TRAINING)
        + " (those that test 40 %), it holds it in "
        + " and ".join(spread(by_share[share]) for share in OF_TRAINING)
        + f". On {POOLS} draws of {IMAGES} real pullovers and coats of Fashion-MNIST, with "
        f"{', '.join(map(str, LABELS))} labels, intervals of gains hold the mean over all draws in "
        f"{spread([share for arm in of_arms for share in arm])}, those of the baseline's own "
        f"accuracy in {spread(of_baseline)}.\n"
    )
    return {"splits": sittings.table(head, lines) + "\n" + sentences}


if __name__ == "__main__":
    chosen = sittings.parser(__doc__).parse_args()
    sittings.finish("splits", measure(), parts, write=chosen.write, packages=("numpy", "scipy"))
