"""A network from elsewhere as a study's arms use it: read, cut and fitted to its images."""

from collections.abc import Iterable
from pathlib import Path

import keras

from headstart.core.errors import WrongValue
from headstart.data.raw_data import Raw, normalise
from headstart.learning import blocks, features, pretrained
from headstart.params.strategies import Strategy
from headstart.study import sources
from headstart.study.parameters import Source

# The first images, on which a network is looked at: a batch.
_LOOKED_AT = 64


def network(source: Source, root: Path, shape: tuple[int, ...]) -> keras.Model:
    """Returns a network of the project at `root` as a backbone for images of `shape`.

    Raises:
        UserError: As `pretrained.adopt_as`.
    """
    return _adopted(source, root, shape).backbone


def _adopted(source: Source, root: Path, shape: tuple[int, ...]) -> pretrained.Adopted:
    file = sources.path(source, root)
    return pretrained.adopt_as(
        source,
        root=root,
        image_shape=shape,
        # Good for what it costs, which is asked before it is fetched.
        untrained=source.published and not file.is_file(),
        folder=file.parent,
    )


def check(source: Source, strategies: Iterable[Strategy], *, root: Path, data: Raw) -> str | None:
    """Returns what is amiss with how a network sees the first images, None where nothing is.

    Raises:
        WrongValue: It cannot be used, or has fewer blocks than a strategy trains: the key is
            `sources` or `arms`.
    """
    images = normalise(data.parts["train"].images[:_LOOKED_AT], white=data.white)
    with sources.refused(source):
        adopted = _adopted(source, root, images.shape[1:])
    counting = [strategy for strategy in strategies if strategy.counts_blocks]
    if counting:
        count = len(blocks.groups(adopted.backbone))
        for strategy in counting:
            check_blocks(strategy, source, count)
    look = pretrained.features_warning
    return adopted.misfit or features.remembered(
        adopted.backbone, images, features.shared(root), look
    )


def check_blocks(strategy: Strategy, source: Source, count: int) -> None:
    """Raises WrongValue where a strategy trains more than the `count` blocks of the network."""
    try:
        strategy.check_blocks(count)
    except WrongValue as error:
        raise WrongValue("arms", f"{source.label}: {error.reason}") from error
