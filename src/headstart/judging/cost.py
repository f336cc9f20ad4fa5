"""What a training costs: parameters, updates, floating-point operations. Arithmetic only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    source_images: int,
    target_images: int,
) -> dict[str, Work]:
    """Returns the trainings of a run, by model: three, or two where the source is from elsewhere.

    Args:
        settings: The run's parameters.
        forward: Operations of one image's forward pass by model and layer; the last is the head.
        source_images: Training images of the source task.
        target_images: Training images of the target task.
    """
    trainings = {
        "baseline": (settings.baseline_training, target_images),
        "transfer": (settings.transfer_training, target_images),
        "source": (settings.source_training, source_images),
    }
    if settings.source_training.from_ is not None:
        del trainings["source"]
    found = {}
    for name, (training, images) in trainings.items():
        *backbone, head = forward[name].values()
        found[name] = Work(
            backbone_flops=sum(flops or 0 for flops in backbone),
            head_flops=head or 0,
            uncounted=backbone.count(None),
            images=images,
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
    return found


def record(
    works: Mapping[str, Work],
    *,
    parameters: Mapping[str, tuple[int, int]],
    transfer_uses_source: bool,
) -> dict[str, dict[str, Any]]:
    """Returns the cost part of the run's record, by model: whole numbers, None where unknown.

    Args:
        works: The trainings by model; the transfer's without the source's share. Without
            "source", what it cost elsewhere is unknown.
        parameters: Trainable and total parameters by model.
        transfer_uses_source: False where the transfer's backbone was never trained.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, work in works.items():
        trainable, total = parameters[name]
        found[name] = {
            "trainable_parameters": trainable,
            "total_parameters": total,
            "updates": work.updates,
            "flops": None if work.uncounted else work.flops,
            "flops_as_notebook": None if work.uncounted else work.flops_as_notebook,
        }
    if "source" not in works:
        found["source"] = dict.fromkeys(found["baseline"])
        found["source"]["total_parameters"] = parameters["source"][1]
    share = found["source"]["flops"] if transfer_uses_source else 0
    for key in ("flops", "flops_as_notebook"):
        own = found["transfer"][key]
        together = None if own is None or share is None else own + share
        found["transfer"][f"{key}_with_source"] = together
    return found
