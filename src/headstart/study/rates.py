"""The learning rate of a row, chosen for every arm by the same rule."""

import math
from collections.abc import Iterable, Mapping, Sequence

from headstart.core import digits
from headstart.study.parameters import Grid

# By seed, the losses of all labels that validate.
Losses = Sequence[Iterable[float]]


def criterion(losses: Losses) -> float:
    """Returns the mean loss over labels, then over seeds, to six significant digits.

    What is not a number, as of a training that diverged, counts as infinite.
    """
    means = [math.fsum(own) / len(own) for own in map(list, losses)]
    mean = digits.rounded(math.fsum(means) / len(means))
    return math.inf if math.isnan(mean) else mean


def best(losses: Mapping[float, Losses]) -> float:
    """Returns the rate with the lowest criterion, of equals the lower rate."""
    return min(losses, key=lambda rate: (criterion(losses[rate]), rate))


def at_edge(grid: Grid, rate: float) -> bool:
    """Tells whether a searched rate stands at an end of the list: a better one may lie beyond."""
    return grid.searched and rate in (min(grid.learning_rates), max(grid.learning_rates))
