"""Measures the seconds that docs/claims.md tells: the notebook's task, trained in four ways.

    python benchmarks/claims.py      after `dvc repro`, whose data it reads

Writes docs/claims-seconds.json with date and machine; `headstart study claims` takes it up.
The best of three rounds, all four in turn in one sitting; building and tracing counted.
"""

import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from headstart.core import artefacts, runtime
from headstart.params import reading, sections
from headstart.params.strategies import HEAD_ALONE, STRATEGIES

ROUNDS = 3


def ways() -> dict[str, Callable[[], Any]]:
    """What is measured, by the name that the page gives it."""
    from headstart.core import seeds
    from headstart.learning import fit, networks
    from headstart.transfer import graft

    settings = reading.load(ROOT / "params.yaml")
    prepared = ROOT / "data/prepared"
    source = [artefacts.read_part(prepared / "source", part) for part in ("train", "valid")]
    target = [artefacts.read_part(prepared / "target", part) for part in ("train", "valid")]
    classes = artefacts.read_json(prepared / "classes.json")
    budget = settings.target_training

    def new(parts: Any, task: str, which: sections.TrainingSettings) -> Any:
        count = len(classes[task]["names"])
        return fit.train_new(
            *parts,
            network=settings.network,
            units=sections.output_units(count),
            activation=sections.output_activation(count),
            settings=which,
            seed=settings.seed,
            task=task,
            on_epoch=lambda _: None,
        )

    trained = networks.load(ROOT / "models/source.keras")
    count = len(classes["target"]["names"])
    head: dict[str, Any] = {
        "units": sections.output_units(count),
        "activation": sections.output_activation(count),
    }

    def grafted() -> Any:
        return graft.train_grafted(
            *target,
            source=trained,
            network=settings.network,
            settings=budget,
            strategy=STRATEGIES["frozen"],
            frozen_fraction=0.5,
            unfrozen_learning_rate=budget.learning_rate,
            seed=settings.seed,
            on_epoch=lambda _: None,
            **head,
        )

    def as_notebook() -> Any:
        model = networks.build(target[0].images.shape[1:], settings.network, **head)
        networks.initialise(model, seed=settings.seed, backbone="target", head="target")
        graft.graft(model, trained)
        graft.set_trainable(model, HEAD_ALONE)
        fit.compile_model(model, optimizer=budget.optimizer, learning_rate=budget.learning_rate)
        return fit.fit(
            model,
            *target,
            batch_size=budget.batch_size,
            order=lambda epoch: seeds.epoch_order(
                epoch, count=len(target[0].labels), seed=settings.seed, task="target"
            ),
            epochs=range(1, budget.epochs + 1),
            on_epoch=lambda _: None,
        )

    return {
        "baseline": lambda: new(target, "target", budget),
        "frozen transfer, features computed once": grafted,
        "frozen transfer, through the frozen layers as in the notebook": as_notebook,
        "source network": lambda: new(source, "source", settings.source_training),
    }


def main() -> None:
    runtime.fix(0)
    seconds: dict[str, float] = {}
    made = ways()
    for _ in range(ROUNDS):
        for name, run in made.items():
            began = time.perf_counter()
            run()
            spent = time.perf_counter() - began
            seconds[name] = min(spent, seconds.get(name, spent))
    seconds["frozen transfer, features computed once, with the source network"] = (
        seconds["frozen transfer, features computed once"] + seconds["source network"]
    )
    found = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    artefacts.write_json(ROOT / "docs/claims-seconds.json", found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
