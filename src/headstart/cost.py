"""What a training costs: parameters, updates, floating-point operations. Arithmetic only."""

import math
from dataclasses import dataclass


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
    """

    backbone_flops: int
    head_flops: int
    images: int
    batch_size: int
    epochs: int
    frozen_epochs: int = 0

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


def record(
    *,
    source: Work,
    baseline: Work,
    transfer: Work,
    parameters: dict[str, tuple[int, int]],
    transfer_uses_source: bool,
) -> dict[str, dict[str, int]]:
    """Returns the cost part of the run's record, by model.

    Args:
        source: The source network's training.
        baseline: The baseline's training.
        transfer: The transfer's training, without the source's share.
        parameters: Trainable and total parameters by model.
        transfer_uses_source: False where the transfer's backbone was never trained.
    """
    found = {}
    works = {"baseline": baseline, "transfer": transfer, "source": source}
    for name, work in works.items():
        trainable, total = parameters[name]
        found[name] = {
            "trainable_parameters": trainable,
            "total_parameters": total,
            "updates": work.updates,
            "flops": work.flops,
            "flops_as_notebook": work.flops_as_notebook,
        }
    share = source.flops if transfer_uses_source else 0
    found["transfer"]["flops_with_source"] = transfer.flops + share
    found["transfer"]["flops_as_notebook_with_source"] = transfer.flops_as_notebook + share
    return found
