"""The seconds behind docs/claims.md: the notebook's task, trained in four ways.

    python benchmarks/claims.py [--write]      after `dvc repro`, whose data it reads; two minutes

All four in turn in one sitting; building and tracing counted.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core import artefacts, runtime
from headstart.params import reading, sections
from headstart.params.networks import output_activation, output_units
from headstart.params.strategies import HEAD_ALONE, STRATEGIES

ROUNDS = 3
SOURCE, FROZEN = "source network", "frozen transfer, features computed once"


def ways() -> dict[str, Callable[[], Any]]:
    """What is measured, by the name that the page gives it."""
    from headstart.core import seeds
    from headstart.learning import fit, networks
    from headstart.transfer import cut, graft

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
            units=output_units(count),
            activation=output_activation(count),
            settings=which,
            seed=settings.seed,
            task=task,
            on_epoch=lambda _: None,
        )

    trained = networks.load(ROOT / "models/source.keras")
    count = len(classes["target"]["names"])
    head: dict[str, Any] = {
        "units": output_units(count),
        "activation": output_activation(count),
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
        cut.set_trainable(model, HEAD_ALONE)
        fit.compile_model(model, optimizer=budget.optimizer, learning_rate=budget.rates[0])
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
        FROZEN: grafted,
        "frozen transfer, through the frozen layers as in the notebook": as_notebook,
        SOURCE: lambda: new(source, "source", settings.source_training),
    }


def main() -> None:
    asked = sittings.parser(__doc__).parse_args()
    runtime.fix(0)
    made = ways()
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(ROUNDS):
        for name, run in made.items():
            began = time.perf_counter()
            run()
            seconds[name].append(round(time.perf_counter() - began, 2))
    sittings.finish("claims", seconds, parts, write=asked.write)


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    best = {name: min(seconds) for name, seconds in sitting.measured.items()}
    best[f"{FROZEN}, with the source network"] = best[FROZEN] + best[SOURCE]
    rows = [(name, f"{seconds:.2f}") for name, seconds in best.items()]
    rounds = len(sitting.measured[SOURCE])
    return {
        "claims": f"{sitting.opening}. The best of {rounds} rounds in turn, building and tracing "
        f"counted.\n\n{sittings.table(['', 'seconds'], rows)}"
    }


if __name__ == "__main__":
    main()
