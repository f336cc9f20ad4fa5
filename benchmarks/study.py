"""The study's grid: beside a plain loop over `fit`, on Ray, and on many machines.

    python benchmarks/study.py [--write]      after the download stage; half an hour

For docs/benchmarks.md and docs/scale.md, all of one sitting, each measurement in a process of its
own:

- every group of the default grid, trained from nothing by the local engine;
- a plain loop: Keras' `fit` on one network after another, the source shared and frozen features
  computed once as in the grid. One seed of every epochs=5 row; of the steps=2000 rows, a third of
  the label budgets, times three. All times twenty seeds;
- a part of the grid by the local engine and by Ray on the same cores, in turn;
- many machines, computed and not measured: the groups' seconds, sources first, each group to the
  first machine that is free, plus what Ray cost here.
"""

import argparse
import contextlib
import heapq
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core import runtime
from headstart.data import raw_data, selection
from headstart.params import reading
from headstart.params.networks import output_units
from headstart.study import parameters, plan, prepare, ray, run, store
from headstart.study.budget import Budget

ROUNDS = 3
# A third of the default grid's budgets and a tenth of its steps, all arms and seeds.
PART = {"labels": (20, 200, "all"), "training": (Budget(steps=200),)}
MACHINES = (1, 2, 5, 10, 20, 50, 100)
ENGINES = ("local", "ray")
PACKAGES = ("numpy", "tensorflow", "keras", "ray")


# The label budgets of the plain loop's sample under steps=2000: a third of them.
SAMPLED = (20, 200, 2000)


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(MEASURES[asked.measure]()))
        return
    measured: dict[str, Any] = {"grid": apart("groups"), "loop": apart("loop")}
    measured |= {engine: [] for engine in ENGINES}
    for _ in range(ROUNDS):
        for engine in ENGINES:
            measured[engine].append(apart(engine))
    sittings.finish("study", measured, parts, write=asked.write, packages=PACKAGES)


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    grid, loop = sitting.measured["grid"], sitting.measured["loop"]
    middle = {
        engine: {
            key: statistics.median(one[key] for one in sitting.measured[engine])
            for key in ("whole", "ready", "groups")
        }
        for engine in ENGINES
    }
    ready = middle["ray"]["ready"]
    begin, rest = (
        middle["ray"][key] - middle["local"][key] - less
        for key, less in (("ready", 0.0), ("whole", ready - middle["local"]["ready"]))
    )
    sending = max(0.0, rest) / middle["ray"]["groups"]
    return {
        "study-grid": f"{sitting.opening}.\n\n{_beside_loop(grid, loop)}",
        "study-ray": _engines(middle)
        + f"\nRay's own, medians of {ROUNDS} rounds in turn: {begin:.1f} s more to begin, and "
        f"{rest:.1f} s for its worker's start (TensorFlow once more) and for sending, "
        f"{sending:.2f} s a group. Sent once a machine: {grid['megabytes']:.0f} MB of data; to a "
        f"group of a transferred arm {grid['source_megabytes']:.1f} MB of weights; back "
        f"{grid['result_kilobytes']:.0f} kB a group.\n",
        "study-machines": _machines(grid, ready, sending, where=sitting.machine),
    }


def _beside_loop(grid: dict[str, Any], loop: dict[str, float]) -> str:
    sources = sum(grid["sources"].values())
    groups = sum(seconds for _, seconds, _ in grid["groups"])
    first = sum(seconds for _, seconds, seed in grid["groups"] if seed == 0)
    rest = loop["whole"] - loop["sources"]
    whole = sources + groups
    rows = [
        ("the grid", f"{sources:.0f} s", f"{groups:.0f} s", f"{whole:.0f} s"),
        ("plain loop", f"{loop['sources']:.0f} s", f"{rest:.0f} s", f"{loop['whole']:.0f} s"),
        (
            "times faster",
            f"{loop['sources'] / sources:.1f}",
            f"{rest / groups:.1f}",
            f"{loop['whole'] / whole:.1f}",
        ),
    ]
    return sittings.table(["", "source networks", "trainings", "whole"], rows) + (
        f"\nThe grid's process took {grid['megabytes_at_peak']:.0f} MB at its peak. The first ten "
        f"seeds trained in {first:.0f} s (tracing of the graphs counted), the next ten in "
        f"{groups - first:.0f} s.\n"
    )


def _engines(middle: dict[str, dict[str, float]]) -> str:
    rows = [
        (engine, *(f"{seconds:.1f} s" for seconds in (whole, ready, whole - ready)))
        for engine, own in middle.items()
        for whole, ready in [(own["whole"], own["ready"])]
    ]
    return sittings.table(["engine", "whole", "ready to begin", "rest"], rows)


def _machines(grid: dict[str, Any], ready: float, sending: float, *, where: str) -> str:
    seconds = {count: spread(grid, count, ready, sending) for count in MACHINES}
    rows = [(str(n), f"{own:.0f}", f"{seconds[1] / own:.1f}") for n, own in seconds.items()]
    transferred = sum(needs != "" for needs, _, _ in grid["groups"])
    return (
        f"Measured on one machine ({where}) and computed for more: the seconds of each of the "
        f"default grid's {len(grid['groups'])} groups, sources first, each to the first machine "
        f"that is free, and {sending:.2f} s a group for Ray. A network slower than loopback adds "
        f"{grid['megabytes']:.0f} MB a machine and {grid['source_megabytes']:.0f} MB for each of "
        f"the {transferred} groups of transferred arms. A worker takes "
        f"{grid['megabytes_at_peak'] / 1000:.1f} GB.\n\n"
        + sittings.table(["machines", "seconds", "times faster"], rows)
    )


def apart(what: str) -> dict[str, Any]:
    """Measures in a process of its own."""
    command = [sys.executable, __file__, "--measure", what]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, env=os.environ | quiet, check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def fresh(engine: run.Engine, **changes: Any) -> Iterator[run.Runner]:
    """A runner of the default grid, or of a part of it, whose store is empty."""
    study = parameters.load(ROOT / "study/params.yaml")
    # The plain loop searches no rates.
    unsearched = {"learning_rates": (study.grid.reference_rate,)}
    grid = study.grid.model_copy(update=unsearched | changes)
    settings = reading.load(ROOT / "params.yaml").dataset
    raw, rows = selection.select(settings, ROOT / selection.RAW)
    data = raw.drawn({name: rows[name] for name in ("train", "test")})
    prepared = prepare.prepare(grid, study.replicas, data)
    with tempfile.TemporaryDirectory() as folder:
        kept = store.Store(
            Path(folder), store.common(data, instructions=study.replicas.instructions)
        )
        yield run.Runner(prepared, kept, lambda _: None, engine)


def packed(runner: run.Runner) -> list[plan.Group]:
    """Returns what is trained together where nothing is there yet."""
    return plan.packed(runner.prepared.groups, runner.prepared.replicas.group_size)


def whole(engine: run.Engine) -> dict[str, Any]:
    """Trains the part; `ready` is the time until the engine could begin."""
    with fresh(engine, **PART) as runner:
        began = time.monotonic()
        if engine is ray.outcomes:
            ray.connect()
        else:
            runner.start()
        ready = time.monotonic() - began
        runner.run()
        return {
            "whole": time.monotonic() - began,
            "ready": ready,
            "groups": len(packed(runner)),
        }


def groups() -> dict[str, Any]:
    """Returns the seconds of all sources and groups of the grid, one after another."""
    with fresh(run.local) as runner:
        return each_group(runner)


def each_group(runner: run.Runner) -> dict[str, Any]:
    seconds: list[tuple[str, float, int]] = []
    sources: dict[str, float] = {}
    runner.start()
    sent = 0
    for group in packed(runner):
        source = group.source.name
        if group.strategy.from_source and source not in sources:
            began = time.monotonic()
            runner.bench(group)
            weights = runner.sources(group.source)
            sources[source] = time.monotonic() - began
            sent = sum(weight.nbytes for weight in weights)
        began = time.monotonic()
        arrays = runner.train(group)
        needs = source if group.strategy.from_source else ""
        seconds.append((needs, time.monotonic() - began, group.seeds[0]))
    parts = runner.prepared.data.parts.values()
    return {
        "sources": sources,
        "groups": seconds,
        "megabytes": sum(part.images.nbytes + part.labels.nbytes for part in parts) / 1e6,
        "source_megabytes": sent / 1e6,
        "megabytes_at_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "result_kilobytes": sum(array.nbytes for array in arrays.values()) / 1e3,
    }


def loop() -> dict[str, float]:
    """Returns the seconds of the plain loop, extrapolated as the module says."""
    with fresh(run.local) as runner:
        runtime.fix(0)
        runner.bench(runner.prepared.groups[0])  # Cuts the data, for both.
        seeds = runner.prepared.grid.seeds
        question, network = runner.prepared.questions[0], runner.prepared.grid.networks[0]
        began = time.monotonic()
        source = fitted_source(runner, question, network)
        sources = time.monotonic() - began
        spent = 0.0
        for group in packed(runner):
            by_steps = group.budget.steps is not None
            if group.seeds[0] or (by_steps and group.row.labels not in SAMPLED):
                continue
            began = time.monotonic()
            fit_one(runner, group, source)
            budgets = len(runner.prepared.grid.labels) / len(SAMPLED) if by_steps else 1
            spent += budgets * (time.monotonic() - began)
        return {"sources": seeds * sources, "whole": seeds * (sources + spent)}


def fitted_source(runner: run.Runner, question: Any, network: Any) -> Any:
    from headstart.data import tasks
    from headstart.learning import networks

    train = tasks.cut(runner.prepared.data.parts["train"], question.source)
    units = output_units(len(question.source.names))
    model = networks.build(train.images.shape[1:], network, units=units, activation="softmax")
    settings = runner.prepared.grid.source_training
    compiled(model, settings.learning_rate)
    images = raw_data.normalise(train.images)
    model.fit(
        images, train.labels, batch_size=settings.batch_size, epochs=settings.epochs, verbose=0
    )
    return model


def compiled(model: Any, learning_rate: float) -> None:
    import keras

    binary = model.output_shape[-1] == 1
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
    )


def fit_one(runner: run.Runner, group: Any, source: Any) -> None:
    """One training of a row as one would write it with Keras, up to its test answers."""
    from headstart.learning import networks
    from headstart.transfer import cut, graft

    bench: Any = runner.bench(group)
    data = bench.data
    model = networks.build(
        data.target_train.images.shape[1:], group.network, units=1, activation="sigmoid"
    )
    if group.strategy.from_source:
        graft.graft(model, source)
    chosen = bench.chosen(group, group.seeds[0])
    images, labels = data.target_train.images[chosen], data.target_train.labels[chosen]
    whole = len(bench.places(group, group.seeds[0]))
    for phase in bench.phases(group):
        learner, seen, tests = model, images, data.target_test.images
        if phase.layers is not None:
            learner = cut.trained_part(model, phase.layers)
            seen = graft.features(model, images, phase.layers)
            tests = graft.features(model, tests, phase.layers)
        fit(learner, seen, labels, group, phase.amount, whole)
    learner.predict(tests, batch_size=1024, verbose=0)


def fit(model: Any, images: Any, labels: Any, group: Any, steps: int, whole: int) -> None:
    """Keras' `fit`: epochs as they are; steps as one long epoch, which is its quickest way."""
    import tensorflow as tf

    compiled(model, group.learning_rate)
    if group.budget.epochs is not None:
        epochs = max(1, round(group.budget.epochs * steps / whole))
        model.fit(images, labels, batch_size=32, epochs=epochs, verbose=0)
        return
    count = len(labels)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(count).repeat()
    model.fit(batches.batch(min(32, count)).prefetch(4), steps_per_epoch=steps, epochs=1, verbose=0)


def spread(groups: dict[str, Any], machines: int, ready: float, sending: float) -> float:
    """Returns when the last group ends: sources first, then groups as their source is there."""
    free = [ready] * machines

    def work(seconds: float, after: float = 0.0) -> float:
        ends = max(heapq.heappop(free), after) + seconds + sending
        heapq.heappush(free, ends)
        return ends

    there = {name: work(seconds) for name, seconds in groups["sources"].items()}
    # As the driver sends them: what needs no source first.
    order = sorted(groups["groups"], key=lambda one: one[0] != "")
    return max(work(seconds, there.get(source, 0.0)) for source, seconds, _ in order)


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "groups": groups,
    "loop": loop,
    "local": lambda: whole(run.local),
    "ray": lambda: whole(ray.outcomes),
}


if __name__ == "__main__":
    main()
