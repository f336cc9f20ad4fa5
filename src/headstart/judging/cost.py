"""What a training costs: parameters, updates, floating-point operations. Arithmetic only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headstart.judging.metrics import Cost, Costs, TransferCost
from headstart.params.sections import Params
from headstart.transfer import strategies


@dataclass(frozen=True)
class Work:
    """A training as far as its cost goes.

    Attributes:
        backbone_flops: Operations of one image's forward pass below the head.
        head_flops: Operations of one image's forward pass through the head.
        images: Distinct training images.
        batch_size: Images an update.
        epochs: Epochs in all.
        frozen_epochs: How many of them leave the backbone frozen.
        uncounted: Layers from elsewhere that cannot be counted; with any, `flops` is too low.
    """

    backbone_flops: int
    head_flops: int
    images: int
    batch_size: int
    epochs: int
    frozen_epochs: int = 0
    uncounted: int = 0

    @property
    def updates(self) -> int:
        """Number of gradient steps."""
        return self.epochs * math.ceil(self.images / self.batch_size)

    @property
    def flops(self) -> int:
        """Operations as headstart runs it: features of a frozen backbone computed once an image."""
        passes = 1 if self.frozen_epochs else 0
        return self._trained_flops + passes * self.images * self.backbone_flops

    @property
    def flops_as_notebook(self) -> int:
        """Operations as the notebook runs it: frozen layers computed anew in every epoch."""
        return self._trained_flops + self.frozen_epochs * self.images * self.backbone_flops

    @property
    def _trained_flops(self) -> int:
        # A layer that trains costs one forward and, backward, twice that (Kaplan et al. 2020,
        # "Scaling Laws for Neural Language Models", section 2.1). Validation is left out.
        backbone = (self.epochs - self.frozen_epochs) * self.backbone_flops
        return 3 * self.images * (self.epochs * self.head_flops + backbone)


def works(
    settings: Params,
    *,
    forward: Mapping[str, Mapping[str, int | None]],
    images: Mapping[str, int],
) -> dict[str, Work]:
    """Returns the trainings of a run, by model: three, or two where the source is from elsewhere.

    Args:
        settings: The run's parameters.
        forward: Operations of one image's forward pass by model and layer; the last is the head.
        images: Training images by task: source, target.
    """
    counted = {}
    for name, training in settings.trainings.items():
        *backbone, head = forward[name].values()
        counted[name] = Work(
            backbone_flops=sum(flops or 0 for flops in backbone),
            head_flops=head or 0,
            uncounted=backbone.count(None),
            images=images["source" if name == "source" else "target"],
            batch_size=training.batch_size,
            epochs=training.epochs,
            frozen_epochs=strategies.frozen_epochs(
                settings.transfer.strategy,
                training.epochs,
                frozen_fraction=settings.transfer.frozen_fraction,
            )
            if name == "transfer"
            else 0,
        )
    return counted


def costs(
    settings: Params,
    *,
    forward: Mapping[str, Mapping[str, int | None]],
    parameters: Mapping[str, tuple[int, int]],
    images: Mapping[str, int],
) -> Costs:
    """Returns the cost part of the run's record; what a source from elsewhere cost is unknown.

    Args:
        settings: The run's parameters.
        forward: Operations of one image's forward pass by model and layer; the last is the head.
        parameters: Trainable and total parameters by model.
        images: Training images by task: source, target.
    """
    counted = works(settings, forward=forward, images=images)
    spent = {name: _spent(work, *parameters[name]) for name, work in counted.items()}
    source = spent.get("source") or Cost(total_parameters=parameters["source"][1])
    # A backbone that was never trained has no share in the source's training.
    share = source.flops if settings.transfer.strategy != "random_frozen" else 0
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
        flops=None if work.uncounted else work.flops,
        flops_as_notebook=None if work.uncounted else work.flops_as_notebook,
    )


def _sum(own: int | None, share: int | None) -> int | None:
    return None if own is None or share is None else own + share
