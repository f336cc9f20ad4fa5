"""The transfer strategies: what comes from the source network, and what trains when.

One row of the table is all that a strategy is. Parameters, trainings, costs, the study's arms and
pictures ask it; none of them knows a strategy by its name. `last:N` is a row for every N.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from headstart.core.errors import WrongValue

Item = TypeVar("Item")

HEAD_ALONE = 1
ALL_LAYERS = None


@dataclass(frozen=True)
class Phase:
    """A part of a training: the top `layers` (those with weights; None: all) train for `amount`.

    The layers below are frozen: what comes out of them is computed once an image. A network from
    elsewhere counts by its blocks (`headstart.learning.blocks`), the head is one more.
    """

    amount: int
    layers: int | None

    def parts(self, layers: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
        """Returns which of a network's layers with weights are frozen, and which train."""
        cut = 0 if self.layers is None else len(layers) - self.layers
        return layers[:cut], layers[cut:]


@dataclass(frozen=True)
class Strategy:
    """How an arm learns the target task.

    Attributes:
        name: What parameters and tables call it.
        words: The same for people.
        from_source: Whether the layers below the head start from the source network.
        trains: How many layers train, from the head down, in the one phase of the training or in
            its two. Of two, the first takes `frozen_fraction` of the budget, and the second, of
            which more layers are part, may have a learning rate of its own.
        same_network: Whether it stands for nothing but the architecture of a network from
            elsewhere, so that it needs one.
    """

    name: str
    words: str
    from_source: bool
    trains: tuple[int | None, ...]
    same_network: bool = False

    @property
    def head_alone(self) -> bool:
        """Whether nothing below the head ever trains."""
        return self.trains == (HEAD_ALONE,)

    @property
    def two_phases(self) -> bool:
        """Whether `frozen_fraction` and the learning rate of the second phase act."""
        return len(self.trains) > 1

    @property
    def counts_blocks(self) -> bool:
        """Whether some layers below the head train and some do not."""
        return any(layers not in (ALL_LAYERS, HEAD_ALONE) for layers in self.trains)

    def check_blocks(self, blocks: int) -> None:
        """Raises WrongValue where more blocks train than the `blocks` below the head."""
        asked = max((layers or HEAD_ALONE for layers in self.trains), default=HEAD_ALONE) - 1
        if asked > blocks:
            raise WrongValue(
                "transfer.strategy",
                f"{self.name} trains more blocks than the network has below the head; "
                f"there are {blocks}",
            )

    def phases(self, amount: int, *, frozen_fraction: float) -> tuple[Phase, ...]:
        """Returns the phases of a training of so many epochs or steps: each has one at least.

        Raises:
            WrongValue: There is one epoch or step and two phases.
        """
        if not self.two_phases:
            return (Phase(amount, self.trains[0]),)
        if amount < len(self.trains):
            raise WrongValue(
                "transfer.strategy",
                f"{self.name} needs at least 2 epochs in target_training (or transfer.overrides); "
                f"there is {amount}",
            )
        first = min(max(round(frozen_fraction * amount), 1), amount - 1)
        return tuple(map(Phase, (first, amount - first), self.trains))


BASELINE = "baseline"

STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            "frozen",
            "a new head on the source network's frozen layers",
            from_source=True,
            trains=(HEAD_ALONE,),
        ),
        Strategy(
            "finetune",
            "all layers, from the source network's weights",
            from_source=True,
            trains=(ALL_LAYERS,),
        ),
        Strategy(
            "gradual",
            "the head on the source network's frozen layers, then all layers",
            from_source=True,
            trains=(HEAD_ALONE, ALL_LAYERS),
        ),
        Strategy(
            "random_frozen",
            "the control: a new head on frozen layers that were never trained",
            from_source=False,
            trains=(HEAD_ALONE,),
        ),
        Strategy(
            "scratch_same",
            "the control: the same network from scratch, all layers",
            from_source=False,
            trains=(ALL_LAYERS,),
            same_network=True,
        ),
    )
}
"""What `transfer.strategy` may be, by name, besides `last:N`."""

_LAST = re.compile(r"last:(0|[1-9][0-9]{0,5})")


def named(name: object) -> Strategy:
    """Returns the strategy called `name`; `last:0` is the one that trains the head alone.

    Raises:
        ValueError: There is none.
    """
    if not isinstance(name, str) or not (name in STRATEGIES or _LAST.fullmatch(name)):
        known = ", ".join(map(repr, STRATEGIES))
        raise ValueError(f"is not allowed; allowed are {known}, 'last:N' with N from 0")
    if name in STRATEGIES:
        return STRATEGIES[name]
    blocks = int(name.removeprefix("last:"))
    alone = next(row for row in STRATEGIES.values() if row.from_source and row.head_alone)
    if not blocks:
        return alone
    nearest = "block" if blocks == 1 else f"{blocks} blocks"
    return Strategy(
        name,
        f"a new head and the {nearest} nearest to it, on the source network's frozen layers",
        from_source=True,
        trains=(HEAD_ALONE + blocks,),
    )


ARMS = {
    BASELINE: Strategy(BASELINE, "all layers, from scratch", False, (ALL_LAYERS,)),
    **{name: row for name, row in STRATEGIES.items() if not row.same_network},
}
"""What the study compares, by name; its baseline is the same network from scratch."""

OF = " of "
"""Stands in tables between an arm and the network from elsewhere that it starts from."""


def of_arm(name: str) -> Strategy:
    """Returns the strategy of an arm as the study's tables call it: `frozen of keras:NAME` too."""
    own = name.partition(OF)[0]
    return ARMS[own] if own in ARMS else named(own)


def control_of(arm: str) -> str | None:
    """Returns what the study calls the untrained control of an arm; None of what needs none.

    The same network, of which the same layers train, as nobody has trained it: what an arm gives
    beyond that was learned.
    """
    own, (_, of, network) = of_arm(arm), arm.partition(OF)
    if not own.from_source:
        return None
    control = next(
        name
        for name, row in STRATEGIES.items()
        if not row.from_source and row.head_alone == own.head_alone
    )
    return f"{control}{of}{network}"
