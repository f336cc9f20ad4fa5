"""Arms that start from networks from elsewhere: rows of their own beside those trained here.

`frozen of keras:MobileNetV2`, and its control `random_frozen of keras:MobileNetV2`, train heads on
features; `finetune`, `gradual`, `last:N` and `scratch_same` train the network. Keras is not
imported.
"""

import contextlib
import functools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core import code
from headstart.core.errors import UserError, WrongValue
from headstart.data import verify, weights
from headstart.learning.calls import Call
from headstart.params.networks import output_units
from headstart.params.strategies import OF, Strategy, of_arm
from headstart.study import plan
from headstart.study.parameters import Source

FETCHED = Path(".headstart/networks")
"""Where weights come that no download stage brings: those of further sources of a study."""

# What decides the bytes of all that starts from elsewhere and of the counts that are kept of it,
# besides what decides those of every training. What else they reach fetches and describes files,
# whose hash is in the keys.
_ACTING = (
    "learning/applications.py", "learning/backbones.py", "learning/blocks.py",
    "learning/features.py", "learning/flops.py", "learning/model_file.py",
    "learning/pretrained.py", "study/adopt.py",
)  # fmt: skip
# Besides those, of heads on features and of networks that train.
_ACTING_ON_FEATURES = ("study/on_features.py",)
_ACTING_BY_FIT = ("learning/fit.py", "study/by_fit.py", "transfer/parts.py")
# Kept of each head, for its cost.
WIDTH, FLOPS = "width", "flops"
# The same of each network that trains: its uses of layers, and its weights, by block.
CALLS, PARAMETERS = "calls", "parameters"
# For a network that nobody has looked into: so many features, operations of a forward pass,
# weights, and blocks.
_USUAL_WIDTH, _USUAL_FLOPS, _USUAL_PARAMETERS, _USUAL_BLOCKS = 1280, 6e8, 2_300_000, 20


@dataclass(frozen=True)
class FromElsewhere(plan.Group):
    """Networks of one row of the grid, some seeds, that start from one from elsewhere.

    With what it learned, or, in the controls, weights that each seed draws anew.
    """

    origin: Source = field(kw_only=True)

    @property
    def strategy(self) -> Strategy:
        """As of any group, but that no source network of ours has to be trained before it."""
        return replace(of_arm(self.row.arm), from_source=False)

    @property
    def untrained(self) -> bool:
        """Whether each seed draws the network's weights anew."""
        return not of_arm(self.row.arm).from_source

    @property
    def units(self) -> int:
        """The outputs of a head."""
        return output_units(len(self.question.target.names))


class OnFeatures(FromElsewhere):
    """Heads on what a network from elsewhere makes of images, many at a time."""


class ByFit(FromElsewhere):
    """Networks from elsewhere that train, whole or their last blocks, one after another."""


@dataclass(frozen=True)
class Counted:
    """What a network computes of an image, and what of it can train.

    Attributes:
        calls: Its uses of layers, by block from the input, the head last.
        parameters: The weights of each block, and of the head.
    """

    calls: tuple[Call, ...]
    parameters: tuple[int, ...]

    @property
    def forward(self) -> int:
        """Operations of a forward pass, as far as they are known."""
        return sum(call.flops or 0 for call in self.calls)


@dataclass(frozen=True)
class Seen:
    """What a network from elsewhere makes of an image: so many features, and what that costs.

    `flops` is NaN where the operations are not known.
    """

    width: int
    flops: float


def counterparts(group: plan.Group, sources: Sequence[Source]) -> Iterator[FromElsewhere]:
    """Yields a group's counterparts of networks from elsewhere."""
    values: dict[str, Any] = {each.name: getattr(group, each.name) for each in fields(group)}
    kind = OnFeatures if of_arm(group.row.arm).head_alone else ByFit
    for source in sources:
        row = replace(group.row, arm=f"{group.row.arm}{OF}{source.label}")
        yield kind(**values | {"row": row}, origin=source)


def expected(source: Source) -> Seen:
    """Returns about what a network makes of an image, before anybody has looked into it."""
    network = weights.named(source.from_)
    return Seen(_USUAL_WIDTH, float(network.flops) if network else _USUAL_FLOPS)


def packed(missing: Iterable[plan.Group], size: int) -> list[plan.Group]:
    """Returns groups of at most `size` seeds, as `plan.packed`, those of a network together.

    What trains by `fit` takes long, and gains nothing from company: each is a group of its own.
    """
    by_bench: dict[tuple[Source | None, bool], list[plan.Group]] = {(None, False): []}
    for group in missing:
        origin = group.origin if isinstance(group, FromElsewhere) else None
        by_bench.setdefault((origin, isinstance(group, ByFit)), []).append(group)
    return [
        piece
        for (_, alone), groups in by_bench.items()
        for piece in plan.packed(groups, 1 if alone else size)
    ]


def counted(
    group: FromElsewhere, kept: Mapping[str, np.ndarray] | None = None, *, passes: bool = True
) -> Counted:
    """Returns what a network of a group computes of an image, by what is kept of one of them.

    Before there is one, about that. Without `passes` heads count alone, whose features are there.
    """
    seen = expected(group.origin)
    if isinstance(group, ByFit):
        return _kept_by_fit(kept) if kept else _expected_by_fit(group, seen)
    if kept:
        seen = Seen(int(kept[WIDTH]), float(kept[FLOPS]))
    below = None if math.isnan(seen.flops) else round(seen.flops) * passes
    calls = Call(0, -1, below), Call(1, 0, 2 * seen.width * group.units)
    return Counted(calls, (0, (seen.width + 1) * group.units))


def to_keep(counted: Counted) -> dict[str, np.ndarray]:
    """Returns what `counted` reads of a network that trains."""
    calls = [
        (call.layer, call.below, math.nan if call.flops is None else call.flops)
        for call in counted.calls
    ]
    return {
        CALLS: np.array(calls, dtype=np.float64),
        PARAMETERS: np.array(counted.parameters, dtype=np.int64),
    }


def _kept_by_fit(kept: Mapping[str, np.ndarray]) -> Counted:
    calls = tuple(
        Call(int(layer), int(below), None if math.isnan(flops) else int(flops))
        for layer, below, flops in kept[CALLS].tolist()
    )
    return Counted(calls, tuple(kept[PARAMETERS].tolist()))


def _expected_by_fit(group: ByFit, seen: Seen) -> Counted:
    network = weights.named(group.origin.from_)
    parameters = network.parameters if network else _USUAL_PARAMETERS
    blocks = max(_USUAL_BLOCKS, *(layers or 0 for layers in group.strategy.trains))
    each = [Call(number, number - 1, round(seen.flops / blocks)) for number in range(blocks)]
    head = Call(blocks, blocks - 1, 2 * seen.width * group.units)
    sizes = *[parameters // blocks] * blocks, (seen.width + 1) * group.units
    return Counted((*each, head), sizes)


def path(source: Source, root: Path) -> Path:
    """Returns the file of a network's weights, or of the network itself, below `root`."""
    network = weights.named(source.from_)
    if network is None:
        return root / source.from_
    name = network.published(source.input_size).name
    # Further sources of a study are no output of the download stage, whose folder is its own.
    places = [root / folder / name for folder in (weights.FOLDER, FETCHED)]
    return next((place for place in places if place.is_file()), places[-1])


def fetch(source: Source, root: Path) -> None:
    """Has the file of a network there, verified as the download stage does, each time.

    Raises:
        WrongValue: A file of one's own is missing; what is there are not the weights that were
            published, or nobody has them. The key is `sources`.
    """
    network, file = weights.named(source.from_), path(source, root)
    with refused(source):
        if network is None:
            if not file.is_file():
                raise UserError(f"{source.from_} is missing; copy it there")
            return
        published = network.published(source.input_size, sha256=source.sha256)
        weights.refuse_sum_of_another(
            network, file.parent, input_size=source.input_size, sha256=source.sha256
        )
        if file.is_file():
            if published.sums and not verify.verified(file, published):
                raise UserError(
                    f"{file.relative_to(root)}: is not the file whose sum "
                    f"{'sha256 here' if source.sha256 else 'Keras'} gives; remove it and run the "
                    "command again, which fetches it"
                )
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        _, sum_ = weights.fetch(
            network,
            file.parent,
            input_size=source.input_size,
            sha256=source.sha256,
            environment=os.environ,
        )
    if not published.sums:
        verify.say(
            f"{file.name}: trusted on first use; sha256: {sum_} in its entry of sources in "
            "study/params.yaml enforces it from now on"
        )


@contextlib.contextmanager
def refused(source: Source) -> Iterator[None]:
    """Says of what is refused of a network which one it is, of the `sources` of a section."""
    try:
        yield
    except UserError as error:
        raise WrongValue("sources", f"{source.label}: {error}") from error


def about(source: Source, root: Path, *, by_fit: bool = False) -> dict[str, Any]:
    """Returns all of a network from elsewhere that acts on what is trained on it, for keys.

    On its features, or `by_fit` of itself.
    """
    file, network = path(source, root), weights.named(source.from_)
    keys = ("layer", "input_size", "input_range", "preprocessing")
    acting = {key: getattr(source, key) for key in keys}
    if network:
        acting |= {
            "application": network.application,
            "options": dict(network.options),
            "input_size": network.seen(source.input_size),
        }
        if source.preprocessing == "auto":
            acting["preprocessing"] = network.preprocessing
    return {
        "network": _sum(file, file.stat().st_mtime_ns),
        **acting,
        "code": code.hashes((*_ACTING, *(_ACTING_BY_FIT if by_fit else _ACTING_ON_FEATURES))),
    }


def acting() -> dict[str, str]:
    """Returns the hashes of what decides the bytes of all that starts from elsewhere."""
    return code.hashes((*_ACTING, *_ACTING_ON_FEATURES, *_ACTING_BY_FIT))


@functools.cache
def _sum(file: Path, changed: int) -> str:
    return verify.sha256(file)
