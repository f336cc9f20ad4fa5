"""Network-steps a second: `fit`, `fit` with steps_per_execution, replicas, bare matrix products.

    python benchmarks/replicas.py [--quick]

One sitting: the measurements take turns, each in a process of its own with its own number of
threads; the table gives best and median over the rounds. "cpu" counts seconds in which a
processor worked for us, times the processors: on a busy machine it says more than "wall".
"""

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.params.networks import Cnn, Mlp, Network

BATCH = 32
MLP = Mlp(name="mlp", units=(300, 100, 50, 50, 50), activation="selu")
IMAGES = 5125
WORDS = {
    "fit-mlp": "MLP, fit",
    "fit64-mlp": "MLP, fit with steps_per_execution=64",
    "replicas-mlp": "MLP, replica trainer",
    "replicas-span": "MLP, replicas on 100 images in their span",
    "products-mlp": "MLP, bare matrix products",
    "fit-cnn": "CNN, fit",
    "replicas-cnn": "CNN, replica trainer",
    "replicas-head": "head on features, replica trainer",
}
# Steps of one network in one repetition.
STEPS = {"mlp": 256, "span": 256, "cnn": 32, "head": 10_240}
# Images of a small label budget: each replica has its own, see headstart.study.subspace.
FEW = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--measure", choices=WORDS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured(asked.measure, repetitions=2 if asked.quick else 6)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WORDS}
    for _ in range(1 if asked.quick else 3):
        for name in WORDS:
            found[name].append(apart(name, quick=asked.quick))
    show(found)


def apart(name: str, *, quick: bool) -> dict[str, float]:
    """Measures in a process of its own: TensorFlow's threads are fixed once a process."""
    command = [sys.executable, __file__, "--measure", name] + ["--quick"] * quick
    threads = {"OPENBLAS_NUM_THREADS": "1"}  # One product a core, as the replica trainer has it.
    done = subprocess.run(
        command, env=os.environ | threads, check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(name: str, *, repetitions: int) -> dict[str, float]:
    """Returns network-steps a second by the wall and by the processors' clock, best of all."""
    way, kind = name.split("-")
    cores = os.cpu_count() or 1
    if way == "products":
        work, steps = products(cores)
    else:
        from headstart.core import runtime

        if way == "replicas":
            runtime.fix(0, intra_op_threads=1, inter_op_threads=cores)
        else:
            runtime.fix(0)
        work, steps = (
            replica_trainer(kind, cores)
            if way == "replicas"
            else keras_fit(kind, steps_per_execution=64 if way == "fit64" else 1)
        )
    work()
    wall, cpu = [], []
    for _ in range(repetitions):
        began, worked = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"wall": steps / min(wall), "cpu": cores * steps / min(cpu), "memory": memory}


def network(kind: str) -> Any:
    import keras

    from headstart.learning import networks

    if kind == "head":
        head = keras.layers.Dense(1, activation="sigmoid")
        return keras.Sequential([keras.layers.Input((50,)), head])
    if kind == "span":
        return networks.build((FEW,), MLP, units=1, activation="sigmoid")
    backbones: dict[str, Network] = {
        "mlp": MLP,
        "cnn": Cnn(name="cnn", filters=(32, 64), dense=(50,), activation="relu"),
    }
    return networks.build((28, 28), backbones[kind], units=1, activation="sigmoid")


def data(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.random((IMAGES, *shape), dtype=np.float32), draw.integers(0, 2, IMAGES)


def keras_fit(kind: str, *, steps_per_execution: int) -> tuple[Callable[[], Any], int]:
    model = network(kind)
    images, labels = data(model.input_shape[1:])
    count = STEPS[kind] * BATCH
    chosen = np.random.default_rng(1).integers(0, IMAGES, count)
    model.compile(
        optimizer="sgd",
        loss="binary_crossentropy",
        steps_per_execution=steps_per_execution,
        jit_compile=False,
    )
    images, labels = images[chosen], labels[chosen]
    return lambda: model.fit(images, labels, batch_size=BATCH, verbose=0), STEPS[kind]


def replica_trainer(kind: str, cores: int) -> tuple[Callable[[], Any], int]:
    from headstart.learning import replicas

    model = network(kind)
    count, steps = 2 * cores, STEPS[kind]
    images, labels = data(model.input_shape[1:])
    if kind == "span":
        images, labels = np.stack([images[:FEW]] * count), np.stack([labels[:FEW]] * count)
    weights = [np.stack([weight] * count) for weight in model.get_weights()]
    there = FEW if kind == "span" else IMAGES
    orders = np.random.default_rng(1).integers(0, there, (count, steps, BATCH), dtype=np.int32)
    trainer = replicas.Trainer(model, optimizer="sgd", threads=cores)
    rates = np.full(count, 0.001)
    return (
        lambda: trainer.train(weights, images, labels, orders, learning_rates=rates),
        count * steps,
    )


def products(cores: int) -> tuple[Callable[[], Any], int]:
    """The MLP's products of one step with NumPy (OpenBLAS), one network on each core.

    Forward, gradient of the kernel, and gradient of the input save for the first layer.
    """
    from concurrent.futures import ThreadPoolExecutor

    widths = (784, 300, 100, 50, 50, 50, 1)
    steps = STEPS["mlp"]
    draw = np.random.default_rng(0)

    def one(_: int) -> None:
        for _ in range(steps):
            for layer, kernel in enumerate(kernels):
                inputs, outputs = values[layer], values[layer + 1]
                inputs @ kernel
                inputs.T @ outputs
                if layer:
                    outputs @ kernel.T

    values = [draw.random((BATCH, width), dtype=np.float32) for width in widths]
    kernels = [draw.random(shape, dtype=np.float32) for shape in itertools.pairwise(widths)]

    def work() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(one, range(2 * cores)))

    return work, 2 * cores * steps


def show(found: dict[str, list[dict[str, float]]]) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, batch {BATCH}")
    print(f"load {os.getloadavg()[0]:.1f}; network-steps a second")
    print(f"{'':40}{'wall best':>10}{'median':>10}{'cpu best':>10}{'median':>10}{'GB':>6}")
    for name, rounds in found.items():
        wall, cpu = ([one[clock] for one in rounds] for clock in ("wall", "cpu"))
        print(
            f"{WORDS[name]:40}{max(wall):10.0f}{statistics.median(wall):10.0f}"
            f"{max(cpu):10.0f}{statistics.median(cpu):10.0f}"
            f"{max(one['memory'] for one in rounds) / 1e9:6.1f}"
        )
    for clock in ("wall", "cpu"):
        best = {name: max(one[clock] for one in rounds) for name, rounds in found.items()}
        print(
            f"by {clock} (best): replicas / fit {best['replicas-mlp'] / best['fit-mlp']:.1f}, "
            f"in the span / fit {best['replicas-span'] / best['fit-mlp']:.1f}, "
            f"replicas / bare products {best['replicas-mlp'] / best['products-mlp']:.2f}, "
            f"CNN replicas / fit {best['replicas-cnn'] / best['fit-cnn']:.1f}"
        )


if __name__ == "__main__":
    main()
