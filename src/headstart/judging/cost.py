"""What a training costs: parameters, updates, floating-point operations. Arithmetic only."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from headstart.judging.metrics import Cost, Costs, PerImage, TransferCost
from headstart.learning.calls import Call
from headstart.params.sections import Params, rates
from headstart.params.strategies import ARMS, BASELINE, Phase

# What each model computes of an image.
Calls = Mapping[str, Sequence[Call]]


@dataclass(frozen=True)
class Work:
    """A training on so many distinct images, as far as its cost goes.

    `calls` are the network's uses of layers, the last that of the head. `in_steps` is whether
    phases count updates of whole batches, and not epochs.
    """

    calls: Sequence[Call]
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
        return all(call.flops is not None for call in self.calls)

    @property
    def flops(self) -> int:
        """Operations as headstart runs it: what leaves frozen layers is computed once an image."""
        return sum(seen * trained + self.images * frozen for seen, trained, frozen in self.passes())

    @property
    def flops_as_notebook(self) -> int:
        """Operations as the notebook runs it: frozen layers computed anew in every epoch."""
        return sum(seen * (trained + frozen) for seen, trained, frozen in self.passes())

    @property
    def per_image(self) -> PerImage:
        """Operations of a forward pass, and of a training step in the last phase, for one image."""
        if not self.counted:
            return PerImage(None, None)
        *_, (_, trained, _) = self.passes()
        return PerImage(sum(call.flops or 0 for call in self.calls), trained)

    def passes(self) -> Iterator[tuple[int, int, int]]:
        """Yields each phase's images with repetitions, and the operations of its two parts.

        A layer costs its forward pass; once more for the gradient of its weights, where they
        train; and once more for that of its inputs, where they depend on weights that train:
        nobody computes a gradient of pixels. Validation is left out.
        """
        each = min(self.batch_size, self.images) if self.in_steps else self.images
        layers = range(1 + max((call.layer for call in self.calls), default=-1))
        for phase in self.phases:
            lowest = len(phase.parts(layers)[0])
            trained = frozen = 0
            for call in self.calls:
                gradients = (call.layer >= lowest) + (call.below >= lowest)
                if gradients:
                    trained += (1 + gradients) * (call.flops or 0)
                else:
                    frozen += call.flops or 0
            yield phase.amount * each, trained, frozen


def works(settings: Params, *, calls: Calls, images: Mapping[str, int]) -> dict[str, Work]:
    """Returns the trainings of a run, by model: three, or two where the source is from elsewhere.

    Where a learning rate is chosen from a list, the training at each of them is part of the cost.
    `images` are the training images by task: source, target.
    """
    arms = {BASELINE: ARMS[BASELINE], "transfer": settings.transfer.strategy}
    unfrozen = rates(settings.transfer.unfrozen_learning_rate)
    return {
        name: Work(
            calls=calls[name],
            phases=tuple(
                replace(phase, amount=phase.amount * len(tried))
                for phase, tried in zip(
                    arms.get(name, ARMS[BASELINE]).phases(
                        training.epochs, frozen_fraction=settings.transfer.frozen_fraction
                    ),
                    (training.rates, unfrozen),
                    strict=False,
                )
            ),
            images=images["source" if name == "source" else "target"],
            batch_size=training.batch_size,
        )
        for name, training in settings.trainings.items()
    }


def costs(
    settings: Params,
    *,
    calls: Calls,
    parameters: Mapping[str, tuple[int, int]],
    images: Mapping[str, int],
) -> Costs:
    """Returns the cost part of the run's record; what a source from elsewhere cost is unknown.

    `parameters` are trainable and total by model; `images` as in `works`.
    """
    counted = works(settings, calls=calls, images=images)
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


def per_image(settings: Params, *, calls: Calls, images: Mapping[str, int]) -> dict[str, PerImage]:
    """Returns the operations of one image by model; of a source from elsewhere no step's."""
    counted = {
        name: work.per_image for name, work in works(settings, calls=calls, images=images).items()
    }
    forward = [call.flops for call in calls["source"]]
    whole = None if None in forward else sum(flops or 0 for flops in forward)
    return {"source": PerImage(whole, None)} | counted


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
