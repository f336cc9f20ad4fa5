"""One process of PyTorch for benchmarks/replicas.py: the plain training loop that a user writes.

It runs in an environment of its own (torch and numpy), takes what to train as JSON, and measures
with channels last and without. It says "ready" when it is warm and begins when it reads a line, so
that several processes measure at once.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found, unused-ignore]
from torch import nn  # type: ignore[import-not-found, unused-ignore]

ACTIVATIONS = {"relu": nn.ReLU, "selu": nn.SELU}


def network(layers: list[list[Any]]) -> Any:
    """Builds what Keras' layers, class and options, would be; the last gives the logit."""
    built: list[Any] = []
    for kind, options in layers:
        if kind == "Conv2D":
            built.append(nn.LazyConv2d(options["filters"], 3, padding=1))
        elif kind == "MaxPooling2D":
            built.append(nn.MaxPool2d(2))
        elif kind == "Flatten":
            built.append(nn.Flatten())
        elif kind == "Dense":
            built.append(nn.LazyLinear(options["units"]))
        if options.get("activation") in ACTIVATIONS:
            built.append(ACTIVATIONS[options["activation"]]())
    return nn.Sequential(*built)


def main() -> None:
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    # Channels first, as PyTorch has them.
    images = torch.from_numpy(draw.random((asked["images"], *asked["shape"]), dtype=np.float32))
    labels = torch.from_numpy(draw.integers(0, 2, (asked["images"], 1)).astype(np.float32))
    orders = torch.from_numpy(draw.integers(0, asked["images"], (asked["steps"], asked["batch"])))
    loss = nn.BCEWithLogitsLoss()

    def loop(layout: Any) -> Any:
        model = network(asked["layers"])
        model(images[:1])
        seen = images.contiguous(memory_format=layout) if images.ndim == 4 else images
        model = model.to(memory_format=layout)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001)

        def work() -> None:
            for order in orders:
                optimizer.zero_grad()
                loss(model(seen[order]), labels[order]).backward()
                optimizer.step()

        return work

    layouts = {"channels first": torch.contiguous_format}
    if any(kind == "Conv2D" for kind, _ in asked["layers"]):
        layouts["channels last"] = torch.channels_last
    loops = {name: loop(layout) for name, layout in layouts.items()}
    for work in loops.values():
        work()
    print("ready", flush=True)
    sys.stdin.readline()
    found: dict[str, Any] = {"version": torch.__version__}
    for name, work in loops.items():
        wall, cpu = [], []
        for _ in range(asked["repetitions"]):
            began, worked = time.perf_counter(), time.process_time()
            work()
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
        found[name] = {"wall": asked["steps"] / min(wall), "cpu": asked["steps"] / min(cpu)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
