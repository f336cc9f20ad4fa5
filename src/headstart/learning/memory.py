"""What training many networks at once takes of memory, by arithmetic: no Keras."""

# Steps in one call into the graph. What a call costs vanishes; progress is still told often.
CHUNK = 256
# What a thread holds of its network's size: weights before and after, and gradients; for Adam
# two moments before and after and what leads to them.
COPIES = {"sgd": 3, "adam": 10}
# Forward values, their gradients, and what convolutions unfold.
_COPIES_OF_ACTIVATIONS = 12
_FLOAT = 4
_ORDER = 8


def of_replicas(
    *,
    parameters: int,
    activations: int,
    optimizer: str,
    replicas: int,
    threads: int,
    batch: int,
    images: int = 0,
) -> int:
    """Returns about how many bytes a training takes beside what its caller holds.

    Args:
        parameters, activations: Of one network: weights, and values from its layers for an image.
        optimizer: "sgd" or "adam".
        replicas, threads: Number of networks, and of those trained at the same time.
        batch: Samples an update.
        images: Bytes of the images of one replica, where each has its own.
    """
    weights = _FLOAT * parameters
    of_a_batch = _COPIES_OF_ACTIVATIONS * _FLOAT * batch * activations + _ORDER * CHUNK * batch
    own = COPIES[optimizer] * weights + of_a_batch + images
    return replicas * weights + min(threads, replicas) * own
