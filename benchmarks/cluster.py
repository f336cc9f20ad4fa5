"""What Ray costs against the local engine on the same machine, and what more machines would give.

    python benchmarks/cluster.py      after the download stage, whose files it reads

Trains a part of the default grid from nothing with either engine, in turn, each in a process of
its own; prints tables for docs/benchmarks.md and docs/scale.md. The seconds for many machines
are computed and not measured: the groups' measured seconds, sources first, each group to the
first machine that is free, plus what Ray cost here.
"""

import argparse
import dataclasses
import heapq
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from headstart import datasets
from headstart.study import cluster, parameters, run, store
from headstart.study.parameters import TRANSFERRED

ROUNDS = 3
# A third of the default grid's budgets and a tenth of its steps, all arms and seeds.
PART = {"labels": (20, 200, "all"), "training": (parameters.Budget(steps=200),)}
MACHINES = (1, 2, 5, 10, 20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", choices=("local", "ray", "groups"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured(asked.measure)))
        return
    found: dict[str, list[dict[str, Any]]] = {"local": [], "ray": []}
    for _ in range(ROUNDS):
        for engine, each in found.items():
            each.append(apart(engine))
    middle = {
        engine: {key: statistics.median(one[key] for one in each) for key in each[0]}
        for engine, each in found.items()
    }
    print("| engine | whole | ready to train | training and sending |\n|---|---|---|---|")
    for engine, one in middle.items():
        print(
            f"| {engine} | {one['whole']:.1f} s | {one['ready']:.1f} s | "
            f"{one['whole'] - one['ready']:.1f} s |"
        )
    groups = apart("groups")
    sending = max(
        0.0,
        (middle["ray"]["whole"] - middle["ray"]["ready"])
        - (middle["local"]["whole"] - middle["local"]["ready"]),
    ) / int(middle["ray"]["groups"])
    print(
        f"\nData sent once a machine: {groups['megabytes']:.0f} MB; source networks of a group "
        f"{groups['source_megabytes']:.1f} MB; a group's results {groups['result_kilobytes']:.0f} "
        f"kB; {1000 * sending:.0f} ms a group over the local engine.\n"
    )
    print("| machines | seconds | times faster |\n|---|---|---|")
    alone = spread(groups, 1, middle["ray"]["ready"], sending)
    for count in MACHINES:
        seconds = spread(groups, count, middle["ray"]["ready"], sending)
        print(f"| {count} | {seconds:.0f} | {alone / seconds:.1f} |")


def apart(what: str) -> dict[str, Any]:
    """Measures in a process of its own."""
    command = [sys.executable, __file__, "--measure", what]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(what: str) -> dict[str, Any]:
    """Returns the seconds of one engine on the part; or of each group of the whole grid."""
    study = parameters.load(ROOT / "study/params.yaml")
    grid = study.grid if what == "groups" else study.grid.model_copy(update=PART)
    dataset = datasets.FASHION_MNIST
    published = datasets.load(dataset, ROOT / "data/raw" / dataset.name)
    prepared = run.prepare(study, grid, dataset, published)
    with tempfile.TemporaryDirectory() as folder:
        common = store.common(arrays=[], threads=study.replicas.threads)
        runner = run.Runner(
            prepared,
            store.Store(Path(folder), common),
            lambda _: None,
            lambda: run.start(study.replicas.threads),
            cluster.outcomes if what == "ray" else run.local,
        )
        return each_group(runner) if what == "groups" else whole(runner)


def whole(runner: run.Runner) -> dict[str, Any]:
    """Trains everything; `ready` is the time until the engine could begin."""
    began = time.monotonic()
    if runner.engine is cluster.outcomes:
        cluster.connect()
    else:
        runner.start()
    ready = time.monotonic() - began
    runner.run()
    return {
        "whole": time.monotonic() - began,
        "ready": ready,
        "groups": len(runner.prepared.groups),
    }


def each_group(runner: run.Runner) -> dict[str, Any]:
    """Returns the seconds of sources and groups of the grid, trained here one after another."""
    seconds: list[tuple[str, float]] = []
    sources: dict[str, float] = {}
    runner.start()
    sent = 0
    for group in runner.prepared.groups:
        source = group.source.name
        if group.row.arm in TRANSFERRED and source not in sources:
            began = time.monotonic()
            runner.bench(group)
            weights = runner.sources(group.source)
            sources[source] = time.monotonic() - began
            sent = sum(weight.nbytes for weight in weights)
        began = time.monotonic()
        arrays = runner.train(group)
        seconds.append((source if group.row.arm in TRANSFERRED else "", time.monotonic() - began))
    parts = runner.prepared.parts.values()
    return {
        "sources": sources,
        "groups": seconds,
        "megabytes": sum(part.images.nbytes + part.labels.nbytes for part in parts) / 1e6,
        "source_megabytes": sent / 1e6,
        "result_kilobytes": sum(array.nbytes for array in arrays.values()) / 1e3,
    }


@dataclasses.dataclass(order=True)
class _Machine:
    free: float


def spread(groups: dict[str, Any], machines: int, ready: float, sending: float) -> float:
    """Returns when the last group ends: sources first, then groups as their source is there."""
    free = [_Machine(ready) for _ in range(machines)]

    def work(seconds: float, after: float = 0.0) -> float:
        machine = heapq.heappop(free)
        machine.free = max(machine.free, after) + seconds + sending
        heapq.heappush(free, machine)
        return machine.free

    there = {name: work(seconds) for name, seconds in groups["sources"].items()}
    # As the driver sends them: what needs no source first.
    order: Iterator[Sequence[Any]] = iter(sorted(groups["groups"], key=lambda one: one[0] != ""))
    return max(work(seconds, there.get(source, 0.0)) for source, seconds in order)


if __name__ == "__main__":
    main()
