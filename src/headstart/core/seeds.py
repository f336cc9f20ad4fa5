"""Every random draw, keyed by seed and name and never by what was drawn before."""

import hashlib

import numpy as np


def sequence(seed: int, *names: str | int) -> np.random.SeedSequence:
    """Returns the named child of `seed`, the same whatever else was drawn.

    Names are hashed into the spawn key (four words of SHA-256), so that no list of
    names has to be kept in order. See NumPy's "Parallel random number generation".
    """
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    key = tuple(int(word) for word in np.frombuffer(digest[:16], dtype="<u4"))
    return np.random.SeedSequence(seed, spawn_key=key)


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Returns the NumPy generator of the named child of `seed`."""
    return np.random.Generator(np.random.PCG64(sequence(seed, *names)))


def integer(seed: int, *names: str | int) -> int:
    """Returns a whole number in [0, 2**31) for libraries that take nothing else (Keras)."""
    return int(sequence(seed, *names).generate_state(1)[0] >> 1)


def epoch_order(epoch: int, *, count: int, seed: int, task: str) -> np.ndarray:
    """Returns the order of `count` samples in `epoch` (from 1) as an int64 permutation.

    Depends on seed, task ("source" or "target") and epoch alone: both arms see the same batches.
    """
    return generator(seed, task, "order", epoch).permutation(count)
