"""The transfer strategies: what trains when, and what comes from the source network."""

from headstart.core.errors import UserError

BASELINE = "baseline"
# The arms whose backbone comes from a source network, and those whose head learns on features.
TRANSFERRED = ("frozen", "finetune", "gradual")
ON_FEATURES = ("frozen", "random_frozen")


def frozen_epochs(strategy: str, epochs: int, *, frozen_fraction: float) -> int:
    """Returns for how many of the epochs a strategy keeps the backbone frozen.

    `gradual` keeps it for `frozen_fraction` of them, at least one and never all.

    Raises:
        UserError: `gradual` with one epoch, which leaves nothing to divide.
    """
    if strategy == "finetune":
        return 0
    if strategy != "gradual":
        return epochs
    if epochs < 2:
        raise UserError(
            "params.yaml: transfer.strategy: gradual needs at least 2 epochs in target_training "
            f"(or transfer.overrides); there is {epochs}"
        )
    return min(max(round(frozen_fraction * epochs), 1), epochs - 1)
