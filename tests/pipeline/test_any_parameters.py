"""Whatever parameters are accepted run to a verdict; whatever is refused names its key."""

import functools
import json
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from projects import ROOT

from headstart.core.errors import UserError
from headstart.core.parts import Part
from headstart.data import raw_data, splits, tasks
from headstart.judging import answers, scores, verdict
from headstart.params import reading, sections
from headstart.params.networks import output_activation, output_units
from headstart.params.strategies import STRATEGIES

NUMBERS = st.integers(0, 9)
RATES = st.sampled_from([0.0001, 0.001, 0.01, 0.1])
ACTIVATIONS = st.sampled_from(["selu", "relu", "elu", "gelu", "silu", "tanh", "sigmoid"])
WIDTHS = st.lists(st.integers(1, 12), min_size=1, max_size=3)
MLP = st.fixed_dictionaries({"name": st.just("mlp"), "units": WIDTHS, "activation": ACTIVATIONS})
CNN = st.fixed_dictionaries(
    {
        "name": st.just("cnn"),
        "filters": st.lists(st.integers(1, 4), min_size=1, max_size=4),
        "dense": st.lists(st.integers(1, 8), max_size=2),
        "activation": ACTIVATIONS,
    }
)
TRAINING = st.fixed_dictionaries(
    {
        "epochs": st.integers(1, 2),
        "batch_size": st.sampled_from([16, 64, 1000]),
        "optimizer": st.sampled_from(["sgd", "adam"]),
        "learning_rate": RATES,
    }
)
VERDICTS = (
    verdict.TRANSFER_BETTER,
    verdict.BASELINE_BETTER,
    verdict.EQUIVALENT,
    verdict.NO_DIFFERENCE,
    verdict.INVALID,
)
MARGINS = st.sampled_from([0.0, 0.005, 0.5])
SIZE = st.sampled_from([0.2, 0.25, 0.3, 60, 90, 100])
# What no file may hold at a key, and what a slip of the keyboard makes.
WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, "many", "sigmoid", -1, 1.0, True, [], {}, 1e300, [3, 3], "1e-3"]
)


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters of a small run on digits, possible ones and some that are not."""
    own = {
        "from": None, "layer": "auto", "input_size": "auto", "input_range": [0.0, 1.0],
        "preprocessing": "auto", "sha256": None,
    }  # fmt: skip
    chosen: dict[str, Any] = {
        "seed": draw(st.integers(0, 2**31 - 1)),
        "dataset": {
            "name": "digits",
            "path": None,
            "classes": "auto",
            "image_size": "auto",
            "sources": "published",
            "split": draw(st.sampled_from(["stratified", "published"])),
            "split_seed": draw(st.integers(0, 100)),
            "train_size": draw(SIZE),
            "valid_size": draw(SIZE),
            "test_size": draw(SIZE),
            "max_duplicates": 0,
        },
        "tasks": {
            "target_classes": draw(st.lists(NUMBERS, min_size=2, max_size=4, unique=True)),
            "source_classes": draw(st.sampled_from(["others"] * 4 + [[0, 1], [7, 8, 9]])),
        },
        "network": draw(MLP | CNN),
        "source_training": draw(TRAINING) | own,
        "target_training": draw(TRAINING),
        "train_b": {
            "output_activation": draw(st.sampled_from(["auto", "auto", "auto", "softmax"])),
            "overrides": draw(st.sampled_from([{}, {"epochs": 1}, {"learning_rate": 0.02}])),
        },
        "transfer": {
            "strategy": draw(st.sampled_from([*STRATEGIES, "last:1", "last:2", "last:3"])),
            "frozen_fraction": draw(st.sampled_from([0.01, 0.5, 0.99])),
            "unfrozen_learning_rate": draw(RATES),
            "batch_normalization": "auto",
            "overrides": {},
        },
        "evaluate": {"alpha": 0.05, "confidence": 0.95, "margin": draw(MARGINS)},
    }
    if draw(st.integers(0, 99)) > 79:
        section = draw(st.sampled_from([key for key in chosen if key != "seed"]))
        key = draw(st.sampled_from(sorted(chosen[section])))
        chosen[section][key] = draw(WRONG)
    return chosen


@functools.cache
def digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images[:300].astype(np.uint8), found.target[:300].astype(np.int64)


def run(chosen: sections.Params) -> str:
    """Runs what the stages run, in this process; returns the verdict."""
    from headstart.learning import fit
    from headstart.transfer import graft

    images, labels = digits()
    both = tasks.source_and_target(
        [str(number) for number in range(10)],
        {},
        target_classes=chosen.tasks.target_classes,
        source_classes=chosen.tasks.source_classes,
    )
    sizes = chosen.dataset
    drawn = splits.draw(
        {"all": labels},
        how=sizes.split,
        train_size=sizes.train_size,
        valid_size=sizes.valid_size,
        test_size=sizes.test_size,
        seed=sizes.split_seed,
    )
    data: dict[tuple[str, str], Part] = {}
    for role, task in zip(("source", "target"), both, strict=True):
        for name, some in drawn.items():
            positions, numbers = tasks.positions(labels[some.rows], task)
            tasks.check_classes(Part(numbers, numbers), task, where=f"{role} {name}")
            chosen_images = raw_data.normalise(images[some.rows[positions]], white=16)
            data[role, name] = Part(chosen_images, numbers)
    source, _ = fit.train_new(
        data["source", "train"],
        data["source", "valid"],
        network=chosen.network,
        units=output_units(len(both[0].names)),
        activation=output_activation(len(both[0].names)),
        settings=chosen.source_training,
        seed=chosen.seed,
        task="source",
        on_epoch=lambda row: None,
    )
    classes = len(both[1].names)
    common: dict[str, Any] = {
        "units": output_units(classes),
        "seed": chosen.seed,
        "on_epoch": lambda row: None,
        "network": chosen.network,
    }
    baseline, _ = fit.train_new(
        data["target", "train"],
        data["target", "valid"],
        activation=output_activation(classes, chosen.train_b.output_activation),
        settings=chosen.baseline_training,
        task="target",
        **common,
    )
    strategy = chosen.transfer.strategy
    transfer, _ = graft.train_grafted(
        data["target", "train"],
        data["target", "valid"],
        source=source if strategy.from_source else None,
        activation=output_activation(classes),
        settings=chosen.transfer_training,
        strategy=strategy,
        frozen_fraction=chosen.transfer.frozen_fraction,
        unfrozen_learning_rate=chosen.transfer.unfrozen_learning_rate,
        **common,
    )
    test = data["target", "test"]
    scored, answered = {}, {}
    for arm, model in (("baseline", baseline), ("transfer", transfer)):
        probabilities, loss = fit.score(model, test, batch_size=32)
        scored[arm] = scores.scores(test.labels, probabilities, loss=loss)
        answered[arm] = answers.answered_classes(probabilities)
    return verdict.verdict(
        test.labels, answered, scored, rules=chosen.evaluate, classes=both[1].names
    ).verdict


KEYS = {
    f"{section}.{key}"
    for section, keys in sections.Params.model_fields.items()
    for key in getattr(keys.annotation, "model_fields", {})
} | {"network", "source_training.from", *sections.Params.model_fields}


def check(chosen: dict[str, Any]) -> None:
    """Runs what is accepted to a verdict, and sees what is refused name its key."""
    # JSON is YAML, but for numbers like 1e+300 that PyYAML takes for text: it is refused as such.
    try:
        verdict = run(reading.parse(json.dumps(chosen), "params.yaml"))
    except UserError as error:
        refused = str(error)
        event(f"refused: {refused[:90]}")
    else:
        event(f"ran: {verdict}")
        assert verdict in VERDICTS
        return
    # A class of few images may be missing in a part, which is no key's fault alone.
    assert any(key in refused for key in KEYS) or "holds no image of" in refused, refused


def examples(count: int) -> Any:
    """Settings for `count` sets of parameters, the same in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        # An unchanged tree must not fail.
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# The notebook's bug, which is allowed by name: Keras warns of it too.
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
@examples(12)
@given(chosen=values())
def test_accepted_parameters_run_to_a_verdict_and_refused_ones_name_their_key(
    chosen: dict[str, Any],
) -> None:
    check(chosen)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")
@pytest.mark.timeout(1800)
@examples(int(os.environ.get("HEADSTART_EXAMPLES", "50")))
@given(chosen=values())
def test_fifty_sets_of_parameters_run_to_a_verdict_or_name_their_key(
    chosen: dict[str, Any],
) -> None:
    check(chosen)


def test_every_section_has_keys_to_name() -> None:
    assert {"dataset.train_size", "tasks.target_classes", "network"} <= KEYS
    assert (ROOT / "params.yaml").exists()
