"""What `replicas.instructions: native` would save on this machine, measured on a study's networks.

    python -m headstart.study.native avx2|native

reads networks from its input, as JSON, and prints the processor time of a step of each.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from headstart.core import runtime
from headstart.core.errors import located
from headstart.params.networks import Network, labels, layers
from headstart.study import gpu
from headstart.study.parameters import Study

# A few steps of each are enough to tell a tenth from a half.
_BATCH, _IMAGES, _STEPS, _ROUNDS = 32, 256, 64, 5
_NETWORK: TypeAdapter[Network] = TypeAdapter(Network)


def savings(study: Study, shape: tuple[int, ...]) -> str:
    """Returns one line: what native instructions would save each network on images of `shape`.

    Where the processor offers nothing beyond AVX2 nothing is measured; else it takes some seconds.

    Raises:
        UserError: The images are too small for a network.
    """
    grids = {name: study.section(name) for name in ("grid", "claims") if getattr(study, name)}
    for name, grid in grids.items():
        with located(f"study/params.yaml: {name}.", **{"network.filters": "networks"}):
            for network in grid.networks:
                layers(network, shape, units=1)
    if not runtime.beyond_avx2():
        return "replicas.instructions: native would save nothing: the processor stops at AVX2"
    networks = tuple(dict.fromkeys(network for grid in grids.values() for network in grid.networks))
    asked = {"shape": shape, "networks": [network.model_dump() for network in networks]}
    capped, native = (_apart(how, asked) for how in (runtime.AVX2, runtime.NATIVE))
    shares = ", ".join(
        f"{label} {100 * (1 - quick / slow):.0f} %"
        for label, slow, quick in zip(labels(networks), capped, native, strict=True)
    )
    return (
        f"replicas.instructions: native would save about this much of a training: {shares} (and "
        f"give other last digits than other processors); chosen is {study.replicas.instructions}"
    )


def _apart(instructions: str, asked: Mapping[str, Any]) -> list[float]:
    """Measures in a process of its own: TensorFlow chooses its kernels once a process."""
    done = subprocess.run(
        [sys.executable, "-m", "headstart.study.native", instructions],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return list(json.loads(done.stdout))


def _measured(shape: tuple[int, ...], networks: Sequence[Network]) -> list[float]:
    """Returns the seconds of processor time of a step of each network, the best of five."""
    from headstart.learning import networks as keras_networks
    from headstart.learning import replicas

    draw = np.random.default_rng(0)
    images = draw.random((_IMAGES, *shape), dtype=np.float32)
    answers = draw.integers(0, 2, _IMAGES)
    orders = draw.integers(0, _IMAGES, (1, _STEPS, _BATCH))
    found = []
    for network in networks:
        model = keras_networks.build(shape, network, units=1, activation="sigmoid")
        trainer = replicas.Trainer(model, optimizer="sgd", threads=1)
        weights = [weight[None] for weight in model.get_weights()]

        def spent(
            trainer: replicas.Trainer = trainer, weights: replicas.Weights = weights
        ) -> float:
            began = time.process_time()
            trainer.train(weights, images, answers, orders, learning_rates=np.full(1, 0.001))
            return (time.process_time() - began) / _STEPS

        spent()  # Traces the graph.
        found.append(min(spent() for _ in range(_ROUNDS)))
    return found


def main() -> None:
    """Answers one question of `savings`."""
    runtime.fix_for_replicas(1, sys.argv[1])
    gpu.hide()
    asked = json.load(sys.stdin)
    networks = [_NETWORK.validate_python(network) for network in asked["networks"]]
    print(json.dumps(_measured(tuple(asked["shape"]), networks)))


if __name__ == "__main__":
    main()
