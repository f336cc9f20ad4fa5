"""What a training costs: parameters, updates, floating-point operations. Arithmetic only."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headstart.judging.metrics import Cost, Costs, TransferCost
from headstart.params.sections import Params
from headstart.params.strategies import ARMS, BASELINE, Phase

# Operations of one image's forward pass by model and layer; the last is the head.
Forward = Mapping[str, Mapping[str, int | None]]


@dataclass(frozen=True)
class Work:
    """A training on so many distinct images, as far as its cost goes.

    `forward` are the operations of one image's forward pass, by layer with weights, the head last;
    None is a layer from elsewhere that cannot be counted. `in_steps` is whether phases count
    updates of whole batches, and not epochs.
    """

    forward: tuple[int | None, ...]
    phases: tuple[Phase, ...]
    images: int
    batch_size: int
    in_steps: bool = False

    @property
    def updates(self) -> int:
        """Number of gradient steps."""
        epoch = 1 if self.in_steps else math.ceil(self.images / self.batch_size)
        return epoch * sum(phase.amount for phase in self.phases)

    @property
    def counted(self) -> bool:
        """Whether every layer can be counted; else the operations below are too few."""
        return None not in self.forward

    @property
    def flops(self) -> int:
        """Operations as headstart runs it: what leaves frozen layers is computed once an image."""
        return sum(
            3 * seen * trained + self.images * frozen for seen, trained, frozen in self._passes()
        )

    @property
    def flops_as_notebook(self) -> int:
        """Operations as the notebook runs it: frozen layers computed anew in every epoch."""
        return sum(seen * (3 * trained + frozen) for seen, trained, frozen in self._passes())

    def _passes(self) -> Iterator[tuple[int, int, int]]:
        """Yields each phase's images with repetitions, and the operations of its two parts.

        A layer that trains costs one forward and, backward, twice that (Kaplan et al. 2020,
        "Scaling Laws for Neural Language Models", section 2.1). Validation is left out.
        """
        each = min(self.batch_size, self.images) if self.in_steps else self.images
        flops = [layer or 0 for layer in self.forward]
        for phase in self.phases:
            frozen, trained = phase.parts(flops)
            yield phase.amount * each, sum(trained), sum(frozen)


def works(settings: Params, *, forward: Forward, images: Mapping[str, int]) -> dict[str, Work]:
    """Returns the trainings of a run, by model: three, or two where the source is from elsewhere.

    `images` are the training images by task: source, target.
    """
    arms = {BASELINE: ARMS[BASELINE], "transfer": settings.transfer.strategy}
    return {
        name: Work(
            forward=tuple(forward[name].values()),
            phases=arms.get(name, ARMS[BASELINE]).phases(
                training.epochs, frozen_fraction=settings.transfer.frozen_fraction
            ),
            images=images["source" if name == "source" else "target"],
            batch_size=training.batch_size,
        )
        for name, training in settings.trainings.items()
    }


def costs(
    settings: Params,
    *,
    forward: Forward,
    parameters: Mapping[str, tuple[int, int]],
    images: Mapping[str, int],
) -> Costs:
    """Returns the cost part of the run's record; what a source from elsewhere cost is unknown.

    `parameters` are trainable and total by model; `images` as in `works`.
    """
    counted = works(settings, forward=forward, images=images)
    spent = {name: _spent(work, *parameters[name]) for name, work in counted.items()}
    source = spent.get("source") or Cost(total_parameters=parameters["source"][1])
    # A backbone that was never trained has no share in the source's training.
    share = source.flops if settings.transfer.strategy.from_source else 0
    own = spent["transfer"]
    return Costs(
        baseline=spent["baseline"],
        transfer=TransferCost(
            **dict(own),
            flops_with_source=_sum(own.flops, share),
            flops_as_notebook_with_source=_sum(own.flops_as_notebook, share),
        ),
        source=source,
    )


def _spent(work: Work, trainable: int, total: int) -> Cost:
    return Cost(
        trainable_parameters=trainable,
        total_parameters=total,
        updates=work.updates,
        flops=work.flops if work.counted else None,
        flops_as_notebook=work.flops_as_notebook if work.counted else None,
    )


def _sum(own: int | None, share: int | None) -> int | None:
    return None if own is None or share is None else own + share
