"""How long a whole run will take and what it takes of memory, from what was measured here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.judging.cost import Work
from headstart.params.sections import Params, rates
from headstart.params.strategies import HEAD_ALONE
from headstart.project.timing import Found, Measured, frozen_share

# Of a cold run beside trainings, in starts of Python with TensorFlow and Keras, so that a slow
# machine stays slow: four stages begin with one, and DVC, the other imports, pictures and page take
# as long as the rest (benchmarks/pipeline.py).
_STARTS = 8.5
# Raw and prepared images are written, hashed by DVC, and copied into its cache.
_BYTES_A_SECOND = 2e8
# Loading and saving take about what building takes, by model: of a network from elsewhere the
# source is saved, loaded, and loaded once more by evaluate; and the transfer saved and loaded.
_LOADS = {"source": 3, "transfer": 2, "baseline": 1}
# The transfer shows a network from elsewhere its first images, and asks what leaves it.
_SHOWN = 64
# Images are read as chunks of at most so many bytes, and TensorFlow may hold a copy.
_CHUNK_BYTES, _COPIES = 1 << 26, 2


@dataclass(frozen=True)
class Estimate:
    """A whole run with nothing kept from before: seconds by what they go to, and bytes at most."""

    seconds: Mapping[str, float]
    memory: int | None

    @property
    def total(self) -> float:
        """All seconds."""
        return sum(self.seconds.values())


def estimate(
    settings: Params,
    found: Found,
    works: Mapping[str, Work],
    *,
    images: Mapping[tuple[str, str], int],
    pixels: int,
    decoding: float,
) -> Estimate:
    """Returns what a run will take on this machine, without downloads.

    Args:
        settings: As `params.yaml` has them.
        found: What was measured.
        works: The trainings by model.
        images: Number by role and part, as in ("target", "train").
        pixels: Numbers in an image.
        decoding: Seconds that decoding all photographs takes.
    """
    networks = found.networks
    unfrozen = len(rates(settings.transfer.unfrozen_learning_rate))
    seconds = dict.fromkeys(("starts of the stages", "data", "training"), 0.0)
    seconds |= dict.fromkeys(("features", "evaluation"), 0.0)
    seconds["starts of the stages"] = _STARTS * found.start
    total = sum(images.values())
    seconds["data"] = decoding + 5 * pixels * total / _BYTES_A_SECOND
    for name, work in works.items():
        trained, computed = _training(
            work,
            networks[name],
            tried=(len(settings.trainings[name].rates), unfrozen),
            valid=images["source" if name == "source" else "target", "valid"],
        )
        seconds["training"] += trained
        seconds["features"] += computed
        tested = images["source" if name == "source" else "target", "test"]
        seconds["evaluation"] += networks[name].trace + tested * networks[name].forward
    seconds["evaluation"] += sum(_LOADS[name] * network.build for name, network in networks.items())
    if settings.source_training.from_ is not None:
        seconds["features"] += networks["source"].trace + _SHOWN * networks["source"].forward
        if HEAD_ALONE in settings.transfer.strategy.trains:
            # Features come from a network of its own, without the head.
            seconds["features"] += networks["source"].build + networks["source"].trace
    grown = [network.memory for network in networks.values()]
    memory = None
    if found.memory is not None and None not in grown:
        held = _COPIES * min(4 * pixels * total, _CHUNK_BYTES)
        memory = found.memory + max(bytes_ or 0 for bytes_ in grown) + held
    return Estimate(seconds, memory)


def _training(
    work: Work, network: Measured, *, tried: tuple[int, int], valid: int
) -> tuple[float, float]:
    """Returns the seconds of a training, and those of the features that it computes before.

    `tried` is at how many learning rates each phase trains; each has graphs of its own.
    """
    trained = features = 0.0
    steps = math.ceil(work.images / work.batch_size)
    for phase, taken, (_, _, frozen), count in zip(
        work.phases, network.phases, work.passes(), tried[: len(work.phases)], strict=True
    ):
        share = frozen_share(network.calls, phase, frozen)
        features += (work.images + valid) * network.forward * share
        batch = work.batch_size * network.forward * (1 - share)
        validated = math.ceil(valid / work.batch_size) * min(batch, taken.step)
        trained += count * taken.setup + phase.amount * (steps * taken.step + validated)
    return trained, features
