"""Cost: exact counts, by hand."""

from typing import Any

import pytest
from projects import ROOT

from headstart.core.errors import UserError
from headstart.judging import cost
from headstart.judging.metrics import Costs
from headstart.params import reading
from headstart.params.strategies import ALL_LAYERS, HEAD_ALONE, STRATEGIES, Phase

# 784-300-100-50-50-50-1: multiply-adds of the kernels, two operations each.
BACKBONE = 2 * (784 * 300 + 300 * 100 + 100 * 50 + 50 * 50 + 50 * 50)


def work(*trained: tuple[int, int | None], **changes: Any) -> cost.Work:
    """A training on the notebook's network, by epochs and layers that train."""
    values: dict[str, Any] = {
        "forward": (BACKBONE - 5000, 5000, 100),
        "phases": tuple(Phase(*phase) for phase in trained),
        "images": 5125,
        "batch_size": 32,
    }
    return cost.Work(**(values | changes))


def test_full_training_costs_three_forward_passes_an_image_and_epoch() -> None:
    whole = work((5, ALL_LAYERS))
    assert whole.flops == whole.flops_as_notebook == 3 * 5 * 5125 * (BACKBONE + 100)
    assert whole.updates == 5 * 161


def test_frozen_layers_cost_one_forward_pass_an_image_with_features_computed_once() -> None:
    frozen = work((5, HEAD_ALONE))
    assert frozen.flops == 5125 * BACKBONE + 3 * 5 * 5125 * 100
    assert frozen.flops_as_notebook == 5 * 5125 * BACKBONE + 3 * 5 * 5125 * 100


def test_two_phases_are_both_paid_for() -> None:
    gradual = work((2, HEAD_ALONE), (3, ALL_LAYERS))
    assert gradual.flops == 5125 * (BACKBONE + 3 * (5 * 100 + 3 * BACKBONE))
    deeper = work((2, HEAD_ALONE), (3, 2))
    below = BACKBONE + BACKBONE - 5000
    assert deeper.flops == 5125 * (below + 3 * (5 * 100 + 3 * 5000))


def test_steps_are_batches_whatever_the_images() -> None:
    steps = work((2000, HEAD_ALONE), images=10, in_steps=True)
    assert steps.updates == 2000
    assert steps.flops == 10 * BACKBONE + 3 * 2000 * 10 * 100


def test_layers_from_elsewhere_that_cannot_be_counted_are_told() -> None:
    assert work((5, ALL_LAYERS)).counted
    assert not work((5, ALL_LAYERS), forward=(None, 100)).counted


@pytest.mark.parametrize(
    ("strategy", "epochs", "fraction", "phases"),
    [
        ("frozen", 5, 0.5, ((5, HEAD_ALONE),)),
        ("random_frozen", 5, 0.5, ((5, HEAD_ALONE),)),
        ("finetune", 5, 0.5, ((5, ALL_LAYERS),)),
        ("gradual", 4, 0.5, ((2, HEAD_ALONE), (2, ALL_LAYERS))),
        ("gradual", 2, 0.01, ((1, HEAD_ALONE), (1, ALL_LAYERS))),
        ("gradual", 2, 0.99, ((1, HEAD_ALONE), (1, ALL_LAYERS))),
    ],
)
def test_phases_follow_the_strategy(
    strategy: str, epochs: int, fraction: float, phases: tuple[tuple[int, int | None], ...]
) -> None:
    found = STRATEGIES[strategy].phases(epochs, frozen_fraction=fraction)
    assert found == tuple(Phase(*phase) for phase in phases)


def test_two_phases_in_one_epoch_are_refused() -> None:
    with pytest.raises(UserError, match="gradual needs at least 2 epochs"):
        STRATEGIES["gradual"].phases(1, frozen_fraction=0.5)


def test_source_share_is_told_apart_and_a_random_backbone_has_none() -> None:
    forward = {name: {"dense_1": BACKBONE, "head": 100} for name in ("baseline", "transfer")}
    forward["source"] = {"dense_1": BACKBONE, "head": 800}

    def costs(strategy: str) -> Costs:
        settings = reading.load(ROOT / "params.yaml")
        transfer = settings.transfer.model_copy(update={"strategy": STRATEGIES[strategy]})
        return cost.costs(
            settings.model_copy(update={"transfer": transfer}),
            forward=forward,
            parameters=dict.fromkeys(forward, (1, 2)),
            images={"source": 19875, "target": 5125},
        )

    used = costs("frozen")
    assert used.source.flops == 3 * 5 * 19875 * (BACKBONE + 800)
    assert used.transfer.flops is not None
    assert used.transfer.flops_with_source == used.transfer.flops + used.source.flops
    unused = costs("random_frozen").transfer
    assert unused.flops_with_source == unused.flops == used.transfer.flops
