"""A network from elsewhere as a study's arms use it: read, cut and fitted to its images."""

from collections.abc import Iterable
from pathlib import Path

import keras

from headstart.core.errors import WrongValue
from headstart.learning import blocks, pretrained
from headstart.params.strategies import Strategy
from headstart.study import sources
from headstart.study.parameters import Source


def network(source: Source, root: Path, shape: tuple[int, ...]) -> keras.Model:
    """Returns a network of the project at `root` as a backbone for images of `shape`.

    Raises:
        UserError: As `pretrained.adopt_as`.
    """
    file = sources.path(source, root)
    return pretrained.adopt_as(
        source,
        root=root,
        image_shape=shape,
        # Good for what it costs, which is asked before it is fetched.
        untrained=source.published and not file.is_file(),
        folder=file.parent,
    ).backbone


def check(
    source: Source, strategies: Iterable[Strategy], *, root: Path, shape: tuple[int, ...]
) -> None:
    """Raises WrongValue where a network cannot be used, or has fewer blocks than a strategy trains.

    The key is `sources` or `arms`.
    """
    with sources.refused(source):
        backbone = network(source, root, shape)
    counting = [strategy for strategy in strategies if strategy.counts_blocks]
    if counting:
        count = len(blocks.groups(backbone))
        for strategy in counting:
            check_blocks(strategy, source, count)


def check_blocks(strategy: Strategy, source: Source, count: int) -> None:
    """Raises WrongValue where a strategy trains more than the `count` blocks of the network."""
    try:
        strategy.check_blocks(count)
    except WrongValue as error:
        raise WrongValue("arms", f"{source.label}: {error.reason}") from error
