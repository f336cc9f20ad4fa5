"""What a run compares, in words: its two arms, and of what a difference would speak."""

from dataclasses import dataclass

from headstart.params.networks import Network
from headstart.params.sections import Params, adopted_in_words
from headstart.params.strategies import ARMS, BASELINE


@dataclass(frozen=True)
class Compared:
    """Both arms of a run.

    Attributes:
        baseline: Its architecture, and where its weights come from.
        transfer: The same of the transfer arm.
        control: Whether the transfer arm has learned nothing elsewhere.
        network: The network from elsewhere whose architecture the transfer arm has, as
            `source_training.from` names it; None where both arms have the same.
    """

    baseline: str
    transfer: str
    control: bool
    network: str | None

    @property
    def contender(self) -> str:
        """The transfer arm in a sentence."""
        return "the control" if self.control else "transfer"


def compared(settings: Params) -> Compared:
    """Returns what a run with these parameters compares."""
    strategy, chosen = settings.transfer.strategy, settings.source_training
    architecture = _architecture(settings.network)
    if chosen.from_ is None:
        transfer = f"{architecture}, as the baseline: {strategy.words}"
    else:
        origin = "none of its weights"
        if strategy.from_source:
            origin = "trained on ImageNet" if chosen.published else "from elsewhere"
        network, cut, size = adopted_in_words(
            chosen.from_, layer=chosen.layer, input_size=chosen.input_size
        )
        transfer = (
            f"{network}, {origin}, {cut}, {size}: {strategy.words}; another architecture than the "
            "baseline's, so that a difference is not of what was learned alone"
        )
    return Compared(
        baseline=f"{architecture}: {ARMS[BASELINE].words}",
        transfer=transfer,
        control=not strategy.from_source,
        network=chosen.from_,
    )


def _architecture(network: Network) -> str:
    """Returns a network of params.yaml in words: its name, and all else that it lists."""
    parts = (
        f"{key} {', '.join(map(str, value)) or 'none'}" if isinstance(value, tuple) else str(value)
        for key, value in network.model_dump(exclude={"name"}).items()
    )
    return f"{network.name.upper()} ({'; '.join(parts)})"
