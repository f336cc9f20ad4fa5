"""Training on few images in the directions that they span: the same steps, less work.

The gradient of a dense layer's kernel is its inputs' transpose times what comes from above, so
SGD moves the kernel on the pixels only within the span of the images that it trains on. With Q
(pixels, images) an orthonormal basis of that span, a network on the coordinates `x Q` that
starts from `Q' W` takes the very steps of a network on `x` that starts from `W`, and ends where
that one does, but for rounding. Ten images have ten coordinates instead of 784 pixels.

Adam scales every weight for itself and does not commute with a change of basis; convolutions
see patches, not images. Both train on the pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Span:
    """The directions of some images: Q, float64 (pixels, images), and the images in that basis.

    `coordinates` are float32 (images, images).
    """

    basis: np.ndarray
    coordinates: np.ndarray


def span(images: np.ndarray) -> Span:
    """Returns the span of images (n, ...), n at most their pixels. Dependent ones are no harm."""
    flat = np.asarray(images, dtype=np.float64).reshape(len(images), -1)
    # TensorFlow's, not NumPy's: its bytes do not depend on how many cores BLAS finds.
    basis, triangle = tf.linalg.qr(flat.T)
    return Span(basis.numpy(), triangle.numpy().T.astype(np.float32))


def enter(kernels: np.ndarray, spans: Sequence[Span]) -> np.ndarray:
    """Returns the kernels on coordinates, (replicas, images, units), of those on pixels."""
    return np.stack(
        [_product(one.basis.T, kernel) for kernel, one in zip(kernels, spans, strict=True)]
    ).astype(np.float32)


def leave(
    kernels: np.ndarray, entered: np.ndarray, trained: np.ndarray, spans: Sequence[Span]
) -> np.ndarray:
    """Returns the kernels on pixels, (replicas, pixels, units), after training on coordinates.

    `entered` is what `enter` made of `kernels`, `trained` the same after the training.
    """
    moved = trained.astype(np.float64) - entered
    return np.stack(
        [
            kernel + _product(one.basis, way)
            for kernel, way, one in zip(kernels, moved, spans, strict=True)
        ]
    ).astype(np.float32)


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    product: np.ndarray = tf.linalg.matmul(left, right.astype(np.float64)).numpy()
    return product
