"""Keras' published networks, built from files that were verified; nothing comes from the web."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
from keras.src.utils import file_utils

from headstart.core.errors import UserError, WrongValue
from headstart.data.weights import PublishedNetwork


def build(network: PublishedNetwork, weights: Path | None, *, size: tuple[int, int]) -> keras.Model:
    """Returns `network` without its head for images of `size` (height, width) and three channels.

    Without `weights` it is untrained: good for what it costs, and of other answers.

    Raises:
        UserError: The file `weights` is missing, or holds no weights of this network.
    """
    if weights is not None and not weights.is_file():
        raise UserError(f"{weights}: there is no such file; `dvc repro download` brings it")
    make = getattr(keras.applications, network.application)
    try:
        with _given(weights), warnings.catch_warnings():
            # Of sizes that have no weights of their own; ours were chosen by the table.
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            model: keras.Model = make(
                include_top=False,
                # Not the file's path: EfficientNet scales its input a second time under this name
                # alone, as its weights need it.
                weights=weights and "imagenet",
                input_shape=(*size, 3),
                **network.options,
            )
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "at least" in reason:
            raise WrongValue(
                "input_size", f"{network.name} takes 32 pixels a side or more"
            ) from error
        raise UserError(
            f"{weights}: cannot be read as weights of {network.name} ({reason[:200]}); delete it, "
            "and set source_training.sha256 to null if that is its sum: the next run fetches anew"
        ) from error
    return model


@contextlib.contextmanager
def _given(weights: Path | None) -> Iterator[None]:
    """Lets Keras find `weights` where it would look for its own download.

    Its `get_file` goes to the web whenever a file is missing or of another hash than it knows.
    """
    download = file_utils.get_file
    file_utils.get_file = lambda *_, **__: str(weights)
    try:
        yield
    finally:
        file_utils.get_file = download
