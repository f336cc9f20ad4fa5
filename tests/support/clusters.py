"""A study on a Ray cluster of two nodes on this machine, in a process of its own.

python clusters.py RAW FOLDER STUDY.yaml [--kill] [--gpus]

Writes the study's tables and pictures to FOLDER, where networks from elsewhere lie. With --kill the
second node is killed, without warning, once a third of the groups is done. With --gpus each node
says that it has a GPU, whatever there is, and FOLDER/seen has a line a group: what trained it, in
which process, and which GPUs that sees.
"""

import argparse
import os
from pathlib import Path
from typing import Any


def noted(name: str, file: Path) -> Any:
    """Returns what the engine calls `name`, which notes its process and what that sees."""

    def train(*asked: Any) -> Any:
        from headstart.study import ray

        done = getattr(ray, name)(*asked)
        with file.open("a") as lines:
            lines.write(f"{name} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')!r}\n")
        return done

    return train


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("raw", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("study", type=Path)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--gpus", action="store_true")
    asked = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Servers stay on loopback.
    from ray.cluster_utils import Cluster
    from studies import data

    from headstart.study import outputs, parameters, prepare, ray, run, store

    small: dict[str, Any] = {"object_store_memory": 200_000_000}
    # The head keeps the books and trains nothing: both workers are nodes that can be lost.
    nodes = Cluster(
        initialize_head=True,
        head_node_args=small | {"num_cpus": 0, "include_dashboard": False},
    )
    os.environ["RAY_ADDRESS"] = nodes.address
    try:
        owned = small | {"num_cpus": 2, "num_gpus": int(asked.gpus)}
        workers = [nodes.add_node(**owned) for _ in range(2)]
        study = parameters.parse(asked.study.read_text(), str(asked.study))
        prepared = prepare.prepare(study.grid, study.replicas, data(asked.raw))
        kept = store.Store(asked.folder / "kept", store.common(prepared.data, instructions="avx2"))

        if asked.gpus:
            for name in ("_train_group", "_train_sources", "_train_on_gpu"):
                setattr(ray, name, noted(name, asked.folder / "seen"))

        def engine(runner: Any, groups: Any) -> Any:
            for number, one in enumerate(ray.outcomes(runner, groups)):
                yield one
                # Once, in the largest of the engine's calls.
                if asked.kill and len(workers) == 2 and number == len(groups) // 3 > 2:
                    nodes.remove_node(workers.pop(), allow_graceful=False)
                    print("killed a node", flush=True)

        runner = run.Runner(prepared, kept, print, engine, root=asked.folder)
        outputs.write(asked.folder / "tables", runner.run(), study.grid, study.statistics)
    finally:
        import ray as cluster

        cluster.shutdown()
        nodes.shutdown()


if __name__ == "__main__":
    main()
