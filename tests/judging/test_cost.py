"""Cost: exact counts, by hand."""

import pytest
from projects import ROOT

from headstart.core.errors import UserError
from headstart.judging import cost
from headstart.judging.metrics import Costs
from headstart.params import reading
from headstart.transfer import strategies

# 784-300-100-50-50-50-1: multiply-adds of the kernels, two operations each.
BACKBONE = 2 * (784 * 300 + 300 * 100 + 100 * 50 + 50 * 50 + 50 * 50)


def work(**changes: int) -> cost.Work:
    values = {
        "backbone_flops": BACKBONE,
        "head_flops": 100,
        "images": 5125,
        "batch_size": 32,
        "epochs": 5,
        "frozen_epochs": 0,
    }
    return cost.Work(**(values | changes))


def test_full_training_costs_three_forward_passes_an_image_and_epoch() -> None:
    assert work().flops == work().flops_as_notebook == 3 * 5 * 5125 * (BACKBONE + 100)
    assert work().updates == 5 * 161


def test_frozen_layers_cost_one_forward_pass_an_image_with_features_computed_once() -> None:
    frozen = work(frozen_epochs=5)
    assert frozen.flops == 5125 * BACKBONE + 3 * 5 * 5125 * 100
    assert frozen.flops_as_notebook == 5 * 5125 * BACKBONE + 3 * 5 * 5125 * 100


def test_gradual_pays_for_both_phases() -> None:
    gradual = work(frozen_epochs=2)
    assert gradual.flops == 5125 * (BACKBONE + 3 * (5 * 100 + 3 * BACKBONE))


@pytest.mark.parametrize(
    ("strategy", "epochs", "fraction", "frozen"),
    [
        ("frozen", 5, 0.5, 5),
        ("random_frozen", 5, 0.5, 5),
        ("finetune", 5, 0.5, 0),
        ("gradual", 4, 0.5, 2),
        ("gradual", 2, 0.01, 1),
        ("gradual", 2, 0.99, 1),
    ],
)
def test_frozen_epochs_follow_the_strategy(
    strategy: str, epochs: int, fraction: float, frozen: int
) -> None:
    assert strategies.frozen_epochs(strategy, epochs, frozen_fraction=fraction) == frozen


def test_gradual_in_one_epoch_is_refused() -> None:
    with pytest.raises(UserError, match="gradual needs at least 2 epochs"):
        strategies.frozen_epochs("gradual", 1, frozen_fraction=0.5)


def test_source_share_is_told_apart_and_a_random_backbone_has_none() -> None:
    forward = {name: {"dense_1": BACKBONE, "head": 100} for name in ("baseline", "transfer")}
    forward["source"] = {"dense_1": BACKBONE, "head": 800}

    def costs(strategy: str) -> Costs:
        settings = reading.load(ROOT / "params.yaml")
        transfer = settings.transfer.model_copy(update={"strategy": strategy})
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
