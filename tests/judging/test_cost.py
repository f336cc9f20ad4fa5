"""Cost, by hand: parameters, updates and operations of the notebook's network and of others."""

from typing import Any

import pytest
from projects import ROOT

from headstart.core.errors import UserError
from headstart.judging import cost
from headstart.judging.metrics import Costs, PerImage
from headstart.learning.calls import Call
from headstart.params import reading
from headstart.params.strategies import ALL_LAYERS, HEAD_ALONE, STRATEGIES, Phase

# 784-300-100-50-50-50-1: multiply-adds of the kernels, two operations each.
PIXELS = 2 * 784 * 300
HIDDEN = 2 * (300 * 100 + 100 * 50 + 50 * 50)
LAST = 2 * 50 * 50
BELOW_HEAD = PIXELS + HIDDEN + LAST
HEAD = 2 * 50
# Forward, the weights' gradients, and those of the inputs of all but the first.
STEP = 3 * (BELOW_HEAD + HEAD) - PIXELS
CALLS = (Call(0, -1, PIXELS), Call(1, 0, HIDDEN), Call(2, 1, LAST), Call(3, 2, HEAD))


def work(*trained: tuple[int, int | None], **changes: Any) -> cost.Work:
    """A training on the notebook's network, by epochs and layers that train."""
    values: dict[str, Any] = {
        "calls": CALLS,
        "phases": tuple(Phase(*phase) for phase in trained),
        "images": 5125,
        "batch_size": 32,
    }
    return cost.Work(**(values | changes))


def test_full_training_costs_three_forward_passes_save_the_gradient_of_the_pixels() -> None:
    whole = work((5, ALL_LAYERS))
    assert STEP == 1_181_100
    assert whole.flops == whole.flops_as_notebook == 5 * 5125 * STEP == 30_265_687_500
    assert whole.updates == 5 * 161


def test_frozen_layers_cost_one_forward_pass_an_image_with_features_computed_once() -> None:
    frozen = work((5, HEAD_ALONE))
    # The head is the first layer that trains: its inputs need no gradient.
    assert frozen.flops == 5125 * BELOW_HEAD + 2 * 5 * 5125 * HEAD
    assert frozen.flops_as_notebook == 5 * 5125 * BELOW_HEAD + 2 * 5 * 5125 * HEAD


def test_two_phases_are_both_paid_for_each_by_its_own_rule() -> None:
    gradual = work((2, HEAD_ALONE), (3, ALL_LAYERS))
    assert gradual.flops == 5125 * (BELOW_HEAD + 2 * 2 * HEAD + 3 * STEP)
    assert gradual.flops_as_notebook == 5125 * (2 * BELOW_HEAD + 2 * 2 * HEAD + 3 * STEP)
    deeper = work((2, HEAD_ALONE), (3, 2))
    frozen = BELOW_HEAD + PIXELS + HIDDEN
    assert deeper.flops == 5125 * (frozen + 2 * 2 * HEAD + 3 * (2 * LAST + 3 * HEAD))


def test_frozen_layer_above_one_that_trains_passes_its_gradient_on() -> None:
    # The layer 0 is used again on what the layer 1 gives.
    again = (Call(0, -1, 10), Call(1, 0, 100), Call(0, 1, 10), Call(2, 1, 1000))
    step = work((1, 2), calls=again, images=1)
    assert step.flops == 10 + 2 * 100 + 2 * 10 + 3 * 1000


def test_steps_are_batches_whatever_the_images() -> None:
    steps = work((2000, HEAD_ALONE), images=10, in_steps=True)
    assert steps.updates == 2000
    assert steps.flops == 10 * BELOW_HEAD + 2 * 2000 * 10 * HEAD


def test_layers_from_elsewhere_that_cannot_be_counted_are_told() -> None:
    assert work((5, ALL_LAYERS)).counted
    assert not work((5, ALL_LAYERS), calls=(Call(0, -1, None), Call(1, 0, 100))).counted


def test_one_image_costs_a_forward_pass_and_what_trains_last_a_step() -> None:
    assert work((5, ALL_LAYERS)).per_image == PerImage(BELOW_HEAD + HEAD, STEP)
    assert work((5, HEAD_ALONE)).per_image == PerImage(BELOW_HEAD + HEAD, 2 * HEAD)
    assert work((2, HEAD_ALONE), (3, ALL_LAYERS)).per_image.step == STEP
    unknown = work((5, ALL_LAYERS), calls=(Call(0, -1, None), Call(1, 0, 100)))
    assert unknown.per_image == PerImage(None, None)


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
    calls = dict.fromkeys(("baseline", "transfer"), CALLS)
    calls["source"] = (*CALLS[:-1], Call(3, 2, 8 * HEAD))

    def costs(strategy: str) -> Costs:
        settings = reading.load(ROOT / "params.yaml")
        transfer = settings.transfer.model_copy(update={"strategy": STRATEGIES[strategy]})
        return cost.costs(
            settings.model_copy(update={"transfer": transfer}),
            calls=calls,
            parameters=dict.fromkeys(calls, (1, 2)),
            images={"source": 19875, "target": 5125},
        )

    used = costs("frozen")
    assert used.source.flops == 5 * 19875 * (STEP + 3 * 7 * HEAD) == 117_580_500_000
    assert used.transfer.flops is not None
    assert used.transfer.flops_with_source == used.transfer.flops + used.source.flops
    unused = costs("random_frozen").transfer
    assert unused.flops_with_source == unused.flops == used.transfer.flops


def test_trainings_at_all_learning_rates_are_paid_for_and_features_once() -> None:
    settings = reading.load(ROOT / "params.yaml")
    several = settings.target_training.model_copy(update={"learning_rate": (0.1, 0.01, 0.001)})
    calls = dict.fromkeys(("source", "baseline", "transfer"), CALLS)
    images = {"source": 19875, "target": 5125}

    def works(**changes: Any) -> dict[str, cost.Work]:
        chosen = settings.model_copy(update={"target_training": several} | changes)
        return cost.works(chosen, calls=calls, images=images)

    found = works()
    assert found["baseline"].updates == 3 * 5 * 161
    assert found["baseline"].flops == 3 * 5 * 5125 * STEP
    assert found["transfer"].flops == 5125 * BELOW_HEAD + 3 * 2 * 5 * 5125 * HEAD
    assert found["source"].updates == 5 * 622
    gradual = settings.transfer.model_copy(
        update={"strategy": STRATEGIES["gradual"], "unfrozen_learning_rate": (0.1, 0.01)}
    )
    # Two epochs of the head at three rates, then three of all layers at two.
    assert works(transfer=gradual)["transfer"].updates == (2 * 3 + 3 * 2) * 161
