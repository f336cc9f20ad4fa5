"""GPUs of this machine: networks from elsewhere see them while they train, and nothing else does.

A GPU rounds otherwise than a processor, and no key of what is kept tells of it. So small networks,
heads and features stay on the processor, whatever the machine has.
"""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import runtime
from headstart.study import plan, sources

if TYPE_CHECKING:
    from headstart.study.benches import Bench
    from headstart.study.prepare import Prepared
    from headstart.study.time_left import Say

# Trains a group, or source networks.
Train = Callable[[plan.Work], dict[str, Any]]


def count() -> int:
    """Returns how many GPUs TensorFlow finds here; comes after `runtime.fix`."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def hide() -> None:
    """Keeps this process to the processor; comes before TensorFlow computes anything.

    In the environment it would be hidden from other processes too, and from Ray's count.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


@contextlib.contextmanager
def trainer(prepared: "Prepared", root: Path, here: Train, say: "Say") -> Iterator[Train]:
    """Gives what trains works: a process of its own what may see a GPU, where there is one.

    `here` trains all others, in this process.
    """
    if not count():
        yield here
        return
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawning, _begin, (prepared, root)) as pool:
        told = False

        def train(work: plan.Work) -> dict[str, Any]:
            nonlocal told
            if not isinstance(work, sources.ByFit):
                return here(work)
            if not told:
                say("networks that train by fit: on a GPU, which rounds otherwise")
            told = True
            return pool.submit(_train, work).result()

        yield train


# What follows runs in that process, and is kept from one group to the next.
_study: "tuple[Prepared, Path]"
_bench: "Bench | None" = None


def _begin(prepared: "Prepared", root: Path) -> None:
    global _study
    _study = prepared, root
    runtime.fix_for_replicas(prepared.replicas.threads, prepared.replicas.instructions)


def _train(work: plan.Group) -> dict[str, Any]:
    global _bench
    from headstart.study import benches

    prepared, root = _study
    if _bench is None or not benches.serves(_bench, work):
        _bench = None
        _bench = benches.bench(work, prepared, _no_source, root)
    return benches.train(_bench, work)


def _no_source(group: plan.SourceGroup) -> Any:
    raise AssertionError(f"{group.name}: no network from elsewhere starts from it")
