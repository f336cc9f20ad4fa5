"""What trains groups of each kind, here and in a cluster's workers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.learning import features
from headstart.study import by_fit, cells, on_features, plan, sources

if TYPE_CHECKING:
    from headstart.study.prepare import Prepared

Bench = cells.Bench | on_features.Bench | by_fit.Bench


def bench(
    group: plan.Group,
    prepared: "Prepared",
    source: Callable[[plan.SourceGroup], cells.Weights],
    root: Path,
) -> Bench:
    """Returns the bench for a group and all others of its kind, question and network.

    `source` gives source networks' stacked weights; networks from elsewhere lie below `root`.
    """
    threads, kept = prepared.replicas.threads, features.shared(root)
    if isinstance(group, sources.OnFeatures):
        most = prepared.most_labels(group.question)
        data = cells.data(prepared.data, group.question)
        return on_features.Bench(
            group, data, prepared.grid, threads=threads, root=root, folder=kept, most=most
        )
    if isinstance(group, sources.ByFit):
        data = cells.data(prepared.data, group.question)
        # Heads train on a processor, and would find what a GPU has rounded.
        own = None if by_fit.on_gpu() else kept
        return by_fit.Bench(group, data, prepared.grid, threads=threads, root=root, folder=own)
    return cells.bench(group, prepared.data, prepared.grid, source, threads)


def serves(bench: Bench, group: plan.Group) -> bool:
    """Tells whether a bench is of a group's kind, question and network."""
    if isinstance(bench, cells.Bench) and isinstance(group, sources.FromElsewhere):
        return False
    return bench.serves(group)


def train(bench: Bench, group: plan.Group) -> dict[str, np.ndarray]:
    """Trains a group and returns what is kept of it; see `cells.train`."""
    if isinstance(bench, cells.Bench):
        return cells.train(bench, group)
    if isinstance(bench, on_features.Bench) and isinstance(group, sources.OnFeatures):
        return on_features.train(bench, group)
    if isinstance(bench, by_fit.Bench) and isinstance(group, sources.ByFit):
        return by_fit.train(bench, group)
    raise TypeError(f"{group.name}: is not of this bench")
