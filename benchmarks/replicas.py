"""Network-steps a second: `fit`, replicas, PyTorch, bare matrix products; and a step's profile.

    python benchmarks/replicas.py [--write] [--torch PYTHON] [--rounds 3] [--only large ...]
                                                            nine minutes, on a machine left alone

PYTHON is the Python of an environment with PyTorch for processors without CUDA, no part of this
project's: `python -m venv /tmp/torch && /tmp/torch/bin/pip install numpy torch`, where the wheel is
one for CPUs (its version ends in +cpu). Without --torch its column stays empty.

One sitting: the measurements take turns, each in a process of its own with its own number of
threads and its own instructions: AVX2 is what the study uses unless told otherwise, native what
the processor has. All sides of a row have the same. "cpu" counts seconds in which a processor
worked for us, times the processors: on a busy machine it says more than "wall".
"""

import functools
import json
import math
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks import sittings
from headstart.core import runtime
from headstart.params.networks import Cnn, Layer, Mlp, Network, layers

BATCH = 32
CORES = os.cpu_count() or 1
MLP = Mlp(name="mlp", units=(300, 100, 50, 50, 50), activation="selu")


@dataclass(frozen=True)
class Kind:
    """What is trained: in words, on images of which shape, how many, steps a repetition."""

    words: str
    shape: tuple[int, ...]
    network: Network | None
    images: int
    steps: int

    def layers(self) -> tuple[Layer, ...]:
        """Returns the layers; without a network the head alone."""
        if self.network:
            return tuple(layers(self.network, self.shape, units=1))
        options = {"units": 1, "activation": "sigmoid"}
        return (Layer("Dense", "head", (1,), options, self.shape[0] + 1),)


def cnn(*filters: int) -> Cnn:
    return Cnn(name="cnn", filters=filters, dense=(50,), activation="relu")


# Few images: each replica has its own, see headstart.study.subspace.
KINDS = {
    "mlp": Kind("MLP", (28, 28), MLP, 5125, 384),
    "small": Kind("CNN, 8 and 16 filters", (28, 28), cnn(8, 16), 5125, 128),
    "large": Kind("CNN, 32 and 64 filters", (28, 28), cnn(32, 64), 5125, 24),
    "colour": Kind("CNN, 16 and 32 filters, 64 x 64 x 3", (64, 64, 3), cnn(16, 32), 512, 10),
    "span": Kind("MLP on 100 images in their span", (100,), MLP, 100, 768),
    "head": Kind("head on 50 features", (50,), None, 5125, 10_240),
}
WITH_PRODUCTS = ("mlp", "small", "large", "colour")
WITH_PROFILE = ("mlp", "large")
WORDS = {
    "fit": "`fit`",
    "fit64": "`fit`, 64 steps an execution",
    "replicas": "replicas",
    "torch": "PyTorch",
    "products": "bare products",
}
# Processes and threads of each.
TORCH = {f"{CORES} processes of 1 thread": (CORES, 1), f"1 process of {CORES} threads": (1, CORES)}
# What holds a side to AVX2. TensorFlow's and XLA's are headstart's own.
HELD = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
# Kernels of a step by what they do; what is left is the time between them.
PARTS = {
    "convolutions": r"Conv2D(?!Backprop)",
    "their gradients": r"Conv2DBackprop",
    "pooling and its gradient": r"MaxPool",
    "dense products": r"MatMul",
    "update of the weights": r"^Sub",
    "gather of the batch": r"Gather",
    "activations": r"Relu|Selu|Sigmoid",
}


def main() -> None:
    parser = sittings.parser(__doc__)
    parser.add_argument("--torch", metavar="PYTHON", help="measure PyTorch too, in this Python")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "KIND", "INSTRUCTIONS"))
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured(*asked.measure)))
        return
    found: dict[str, Any] = {"rates": {}, "profiles": {}, "torch": "", "load": []}
    for turn in range(asked.rounds):
        found["load"].append(round(os.getloadavg()[0], 1))
        for way, kind, instructions in plan(asked.only):
            if way == "profile" and turn:
                continue
            if way == "torch":
                if not asked.torch:
                    continue
                rates = torch(asked.torch, kind, instructions)
                found["torch"] = rates.pop("version")
            else:
                rates = apart(way, kind, instructions)
            if way == "profile":
                found["profiles"][f"{kind} {instructions}"] = rates
            else:
                for name, rate in (rates if way == "torch" else {"": rates}).items():
                    key = " ".join(filter(None, (way, kind, instructions, name)))
                    found["rates"].setdefault(key, []).append(rate)
    packages = ("numpy", "tensorflow", "keras")
    sittings.finish("replicas", found, parts, write=asked.write, packages=packages)


def plan(kinds: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yields the measurements of a round; `fit` has no more than a stage has, AVX2."""
    for kind in kinds:
        yield "fit", kind, runtime.AVX2
        if kind == "mlp":
            yield "fit64", kind, runtime.AVX2
        for instructions in (runtime.AVX2, *[runtime.NATIVE] * bool(runtime.beyond_avx2())):
            yield "replicas", kind, instructions
            yield "torch", kind, instructions
            if kind in WITH_PRODUCTS:
                yield "products", kind, instructions
            if kind in WITH_PROFILE:
                yield "profile", kind, instructions


def environment(instructions: str, threads: int) -> dict[str, str]:
    held = HELD if instructions == runtime.AVX2 else {}
    counts = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(threads))
    return {**os.environ, **held, **counts}


def apart(way: str, kind: str, instructions: str) -> dict[str, Any]:
    """Measures in a process of its own: threads and kernels are fixed once a process."""
    command = [sys.executable, __file__, "--measure", way, kind, instructions]
    # One product a core, as the replica trainer has it.
    done = subprocess.run(
        command,
        env=environment(instructions, 1),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def torch(python: str, name: str, instructions: str) -> dict[str, Any]:
    """Returns the rates of all ways that PyTorch was run, and its version.

    The best repetitions of processes side by side are added, which favours them a little.
    """
    kind = KINDS[name]
    shape = kind.shape if len(kind.shape) == 1 else (*kind.shape, 1)[2::-1]
    rates: dict[str, Any] = {}
    for words, (processes, threads) in TORCH.items():
        asked = {
            "threads": threads,
            "images": kind.images,
            "shape": shape,
            "steps": min(kind.steps // 3, 1024),
            "batch": BATCH,
            "layers": [[layer.keras, dict(layer.options)] for layer in kind.layers()],
            "repetitions": 3,
        }
        command = [python, str(Path(__file__).with_name("replicas_torch.py")), json.dumps(asked)]
        running = [
            subprocess.Popen(
                command,
                env=environment(instructions, threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n", "PyTorch failed"
        for process in running:
            assert process.stdin
            process.stdin.write("begin\n")
            process.stdin.flush()
        every = [json.loads(process.communicate()[0]) for process in running]
        rates["version"] = every[0].pop("version")
        for layout in every[0]:
            rates[f"{words}, {layout}"] = {
                "wall": sum(one[layout]["wall"] for one in every),
                "cpu": CORES * statistics.mean(one[layout]["cpu"] for one in every),
            }
    return rates


def measured(way: str, kind: str, instructions: str) -> dict[str, Any]:
    """Returns network-steps a second by both clocks, best of all, and memory in bytes."""
    if way == "profile":
        return profile(kind, instructions)
    ways: dict[str, Callable[..., tuple[Callable[[], Any], int]]] = {
        "products": products,
        "replicas": replica_trainer,
        "fit": keras_fit,
        "fit64": functools.partial(keras_fit, steps_per_execution=64),
    }
    work, steps = ways[way](kind, instructions)
    work()
    wall, cpu = [], []
    for _ in range(2):
        began, worked = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"wall": steps / min(wall), "cpu": CORES * steps / min(cpu), "memory": memory}


def keras_network(kind: Kind) -> Any:
    import keras

    from headstart.learning import networks

    if kind.network:
        return networks.build(kind.shape, kind.network, units=1, activation="sigmoid")
    head = keras.layers.Dense(1, activation="sigmoid")
    return keras.Sequential([keras.layers.Input(kind.shape), head])


def data(kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    images = draw.random((kind.images, *kind.shape), dtype=np.float32)
    return images, draw.integers(0, 2, kind.images)


def keras_fit(
    name: str, instructions: str, *, steps_per_execution: int = 1
) -> tuple[Callable[[], Any], int]:
    runtime.fix(0, instructions=instructions)
    kind = KINDS[name]
    model = keras_network(kind)
    images, labels = data(kind)
    steps = min(kind.steps, 256)
    chosen = np.random.default_rng(1).integers(0, kind.images, steps * BATCH)
    model.compile(
        optimizer="sgd",
        loss="binary_crossentropy",
        steps_per_execution=steps_per_execution,
        jit_compile=False,
    )
    images, labels = images[chosen], labels[chosen]
    return lambda: model.fit(images, labels, batch_size=BATCH, verbose=0), steps


def replica_trainer(
    name: str, instructions: str, *, threads: int = CORES
) -> tuple[Callable[[], Any], int]:
    runtime.fix_for_replicas(threads, instructions)
    from headstart.learning import replicas

    kind = KINDS[name]
    model = keras_network(kind)
    images, labels = data(kind)
    count = 2 * threads
    if name == "span":
        images, labels = np.stack([images] * count), np.stack([labels] * count)
    weights = [np.stack([weight] * count) for weight in model.get_weights()]
    draw = np.random.default_rng(1)
    orders = draw.integers(0, kind.images, (count, kind.steps, BATCH), dtype=np.int32)
    trainer = replicas.Trainer(model, optimizer="sgd", threads=threads)
    rates = np.full(count, 0.001)
    return (
        lambda: trainer.train(weights, images, labels, orders, learning_rates=rates),
        count * kind.steps,
    )


def products(name: str, _: str) -> tuple[Callable[[], Any], int]:
    """The products of one step with NumPy (OpenBLAS) in float32, one network on each core.

    Of every layer forward, gradient of the kernel, and gradient of the input save for the first
    layer; a convolution is one product of unfolded images, which are not unfolded here.
    """
    draw = np.random.default_rng(0)
    shapes = [
        (BATCH * math.prod(layer.shape[:-1]), layer.parameters // layer.shape[-1] - 1, layer.shape)
        for layer in KINDS[name].layers()
        if layer.parameters
    ]
    operands = [
        [
            draw.random(size, dtype=np.float32)
            for size in ((rows, inputs), (inputs, units), (rows, units))
        ]
        for rows, inputs, (*_, units) in shapes
    ]
    steps = KINDS[name].steps

    def one(_: int) -> None:
        # What fits a step of the largest network would else be mapped anew by every product.
        outputs = [[np.empty_like(part) for part in layer] for layer in operands]
        for _ in range(steps):
            for number, (inputs, kernel, above) in enumerate(operands):
                of_inputs, of_kernel, forward = outputs[number]
                np.matmul(inputs, kernel, out=forward)
                np.matmul(inputs.T, above, out=of_kernel)
                if number:
                    np.matmul(above, kernel.T, out=of_inputs)

    def work() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(one, range(2 * CORES)))

    return work, 2 * CORES * steps


def profile(kind: str, instructions: str) -> dict[str, float]:
    """Returns microseconds of one replica's step on one thread, by PARTS; "all" is the whole.

    A kernel counts its median, since what runs beside it on a busy machine makes a few of them
    long. Kernels that TensorFlow holds for cheap are not traced: they are in what is left.
    """
    work, steps = replica_trainer(kind, instructions, threads=1)
    work()
    wall = []
    for _ in range(3):
        began = time.process_time()
        work()
        wall.append(time.process_time() - began)
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        work()
        tf.profiler.experimental.stop()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        space.ParseFromString(trace.read_bytes())
    durations: dict[str, list[float]] = {}
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            kernel = plane.event_metadata[event.metadata_id].name
            durations.setdefault(kernel, []).append(event.duration_ps / 1e6)
    found = {"all": 1e6 * min(wall) / steps} | dict.fromkeys(PARTS, 0.0)
    for kernel, times in durations.items():
        operation = re.search(r":(?:_MklNative|_Mkl)?([A-Z]\w*)$", kernel)
        for part, pattern in PARTS.items():
            if operation and re.search(pattern, operation[1]):
                found[part] += statistics.median(times) * len(times) / steps
                break
    return found


def parts(sitting: sittings.Sitting) -> dict[str, str]:
    """Returns what docs/benchmarks.md shows in its place `replicas`."""
    rates, used = sitting.measured["rates"], sitting.measured["torch"]
    rounds = max(len(turns) for turns in rates.values())
    text = (
        f"{sitting.opening}{f', PyTorch {used}' * bool(used)}. Batches of {BATCH}, {rounds} rounds "
        f"in turn; load of the machine before each: {sitting.measured['load']}. The best round, "
        "in parentheses the median; PyTorch in the best of its ways.\n"
    )
    for clock, words in (
        ("wall", "Network-steps a second by the wall's clock:"),
        ("cpu", "By seconds in which a processor worked, times the processors:"),
    ):
        text += f"\n{words}\n\n{_table(rates, clock)}"
    for goal, other, kinds in ((0.85, "products", ("mlp",)), (1.5, "torch", tuple(KINDS))):
        text += _reached(rates, goal, other, kinds)
    return {"replicas": f"{text}\n{_profiles(sitting)}"}


def _turns(rates: Any, way: str, kind: str, instructions: str, clock: str) -> list[float]:
    """Returns every round of a way, of PyTorch's ways the one with the best round."""
    key = f"{way} {kind} {instructions}"
    ways = [
        [turn[clock] for turn in turns]
        for name, turns in rates.items()
        if name == key or name.startswith(f"{key} ")
    ]
    return max(ways, key=max, default=[])


def _table(rates: Any, clock: str) -> str:
    rows = []
    for name, kind in KINDS.items():
        for instructions in (runtime.AVX2, runtime.NATIVE):
            turns = {way: _turns(rates, way, name, instructions, clock) for way in WORDS}
            ours = turns["replicas"]
            if not ours:
                continue
            cells = [
                f"{max(one):,.0f} ({statistics.median(one):,.0f})" if one else ""
                for one in turns.values()
            ]
            ratios = [
                f"{max(ours) / max(turns[way]):.2f}" if turns[way] else ""
                for way in ("fit", "torch", "products")
            ]
            rows.append([kind.words, instructions, *cells, *ratios])
    head = ["network", "instructions", *WORDS.values()]
    return sittings.table([*head, "times `fit`", "times PyTorch", "of the products"], rows)


def _reached(rates: Any, goal: float, other: str, kinds: tuple[str, ...]) -> str:
    """Says which networks reach a goal, by the best rounds of either clock."""
    missed: list[str] = []
    reached: list[str] = []
    for kind in kinds:
        for instructions in (runtime.AVX2, runtime.NATIVE):
            ratios = []
            for clock in ("wall", "cpu"):
                ours, theirs = (
                    _turns(rates, way, kind, instructions, clock) for way in ("replicas", other)
                )
                if ours and theirs:
                    ratios.append(max(ours) / max(theirs))
            if ratios:
                told = " and ".join(f"{ratio:.2f}" for ratio in ratios)
                (reached if min(ratios) >= goal else missed).append(
                    f"{KINDS[kind].words} ({instructions}: {told})"
                )
    if not missed + reached:
        return ""
    asked = " and ".join(KINDS[kind].words for kind in kinds)
    return (
        f"\nAsked of {asked}: {goal} of {WORDS[other]}, by the wall and by the processors. "
        f"Reached: {'; '.join(reached) or 'nowhere'}. Missed: {'; '.join(missed) or 'nowhere'}.\n"
    )


def _profiles(sitting: sittings.Sitting) -> str:
    """Returns where a step's time goes, beside the bare products of the same layers."""
    profiles, rates = sitting.measured["profiles"], sitting.measured["rates"]
    if not profiles:
        return ""
    rows = []
    for key, found in profiles.items():
        kind, instructions = key.split()
        rest = found["all"] - sum(found[part] for part in PARTS)
        bare = CORES * 1e6 / max(_turns(rates, "products", kind, instructions, "cpu"))
        microseconds = [found["all"], *(found[part] for part in PARTS), max(rest, 0.0), bare]
        rows.append([KINDS[kind].words, instructions, *(f"{time:,.0f}" for time in microseconds)])
    head = ["network", "instructions", "step", *PARTS, "cheap operations and between"]
    return (
        "Where one replica's step goes, in microseconds of one processor (kernels by their "
        "median):\n\n" + sittings.table([*head, "bare products"], rows)
    )


if __name__ == "__main__":
    main()
