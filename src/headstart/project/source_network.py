"""What is to be said of a network from elsewhere before it is used, by `init` and `check`."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headstart.core.errors import UserError, located, warn
from headstart.data import verify, weights
from headstart.learning import model_file
from headstart.params import fields
from headstart.params.sections import SourceTrainingSettings


@dataclass(frozen=True)
class Look:
    """What a network is like, as far as its name or file tells without Keras.

    Attributes:
        takes: tf, torch, caffe or raw; None where nothing tells.
        why: What tells it.
        size: Height and width that it was made for; None where that is open and nothing tells,
            so that it sees what `model_file.open_size` says.
        layers: The names that `source_training.layer` can take; empty where only Keras knows.
        ends: What it ends in, in words.
    """

    takes: str | None
    why: str
    size: tuple[int, int] | None
    layers: tuple[str, ...] = ()
    ends: str = "without a head"


def look(source: str, path: Path | None = None) -> Look:
    """Returns what the network `source` is like: `keras:NAME`, or the file at `path`.

    Raises:
        UserError: The file is missing or damaged, is no model of layers, or holds code.
    """
    network = weights.named(source)
    if network:
        sides = (network.sizes[-1], network.sizes[-1])
        return Look(network.preprocessing, weights.PUBLISHED, sides)
    described = model_file.describe(path or Path(source))
    height, width, *_ = (*described.input_shape, None, None)
    side = described.native_side
    size = (height or side, width or side) if len(described.input_shape) > 1 else (None, None)
    return Look(
        described.takes,
        described.why,
        (size[0], size[1]) if size[0] and size[1] else None,
        described.layers,
        f"ends in {described.kinds[-1]}{' over all pixels' * described.pooled}",
    )


def told(
    chosen: SourceTrainingSettings, root: Path, shape: tuple[int, ...]
) -> tuple[list[str], list[str]]:
    """Returns facts and warnings about the network that `chosen` names for images of `shape`.

    Raises:
        UserError: As `look`; or the network has no such layer.
    """
    source = str(chosen.from_)
    path = root / source
    seen = look(source, path)
    if chosen.layer != "auto" and seen.layers and chosen.layer not in seen.layers:
        shown = ", ".join(seen.layers[-12:])
        raise UserError(
            f"params.yaml: source_training.layer: {source} has no layer {chosen.layer!r}; "
            f"{'the last ' * (len(seen.layers) > 12)}{min(len(seen.layers), 12)} are {shown}"
        )
    network = weights.named(source)
    warnings = _sum_warnings(network, chosen, root / weights.FOLDER) if network else []
    given: model_file.Takes = chosen.input_range
    if chosen.preprocessing != "auto":
        given = chosen.preprocessing
    elif network:
        given = network.preprocessing
    size = chosen.input_size
    if isinstance(size, str):
        size = seen.size or model_file.open_size(shape)
    pixels = f"{size[0]} x {size[1]}"
    side = network.side(chosen.input_size) if network else None
    trained = f" (its weights were trained at {side})" if side and size != (side, side) else ""
    fact = (
        f"source network: {source}, {seen.ends}; cut: {chosen.layer}; images reach it as {pixels} "
        f"pixels{trained}, values as {model_file.in_words(given)}; what it cost is unknown"
    )
    facts = [fact]
    if amiss := model_file.misfit(source, takes=seen.takes, why=seen.why, given=given):
        warnings.append(f"source_training: {amiss}")
    elif seen.takes is None and given == (0.0, 1.0):
        facts.append(f"nothing in {source} tells what it takes for black and white: [0, 1] it is")
    if min(shape[0] / size[0], shape[1] / size[1]) < 1:
        warnings.append(
            f"images of {shape[0]} x {shape[1]} pixels are enlarged to {pixels} for {source}; "
            "where they were shrunk, dataset.image_size keeps more of them"
        )
    if not network and (root / "dvc.yaml").is_file() and not Path(f"{path}.dvc").is_file():
        warnings.append(
            f"{source} is in no cache yet: `dvc add {shlex.quote(source)}` lets a team have it"
        )
    return facts, warnings


def _sum_warnings(
    network: weights.PublishedNetwork, chosen: SourceTrainingSettings, folder: Path
) -> list[str]:
    """Returns what is to be said of `sha256` and the file that is there.

    Raises:
        UserError: The sum is known to be another network's.
    """
    size, sha256 = chosen.input_size, chosen.sha256
    with located("params.yaml: source_training."):
        weights.refuse_sum_of_another(network, folder, input_size=size, sha256=sha256)
    published = network.published(size, sha256=sha256)
    path = folder / published.name
    if not path.is_file() or not published.sums or verify.verified(path, published):
        return []
    gives = "Keras publishes" if network.published().sums else "source_training.sha256 gives"
    return [f"{path}: has not the sum that {gives}: `download` fetches it again"]


def weights_are_there(chosen: SourceTrainingSettings, root: Path) -> bool:
    """Tells whether Keras can read the network that `chosen` names."""
    source = str(chosen.from_)
    network = weights.named(source)
    if network is None:
        return (root / source).is_file()
    return (root / weights.FOLDER / network.published(chosen.input_size).name).is_file()


def asked_for(
    source_model: str | Path | None,
) -> tuple[str | None, Look | None]:
    """Returns what `source_training.from` will be, and what the network is like."""
    if source_model is None:
        return None, None
    text, path = str(source_model), Path(source_model)
    if text.startswith(weights.SCHEME):
        if text.removeprefix(weights.SCHEME) not in weights.NETWORKS:
            known = ", ".join(weights.NETWORKS)
            raise UserError(f"--source-model: there is no {text}; there are {known}")
        return text, look(text)
    if path.suffix not in fields.MODEL_SUFFIXES or not path.is_file():
        raise UserError(
            f"{path}: is no {', '.join(fields.MODEL_SUFFIXES)} file, and no keras:NAME "
            "(`headstart networks` lists the names)"
        )
    return f"models/own/{path.name}", look(text, path)


def preprocessing(network: str | None, seen: Look | None, asked: str) -> str:
    """Returns what the network is given for pixels, as YAML: asked for, or as it tells itself."""
    if asked != "auto" or network is None or seen is None or weights.named(network):
        return asked
    if seen.takes:
        return seen.takes
    warn(
        f"nothing in {network} tells what it takes for black and white: [0, 1] is assumed; "
        "--preprocessing says otherwise (tf, torch, caffe, raw, or [BLACK, WHITE])"
    )
    return "auto"


def summary(
    network: str,
    seen: Look,
    values: Mapping[str, str],
    size: tuple[int, int] | None,
) -> str:
    """Returns a line that says what was chosen for a network."""
    takes = values["source_training.preprocessing"]
    takes = seen.takes or "[0, 1]" if takes == "auto" else takes
    pixels = f"{size[0]} x {size[1]} pixels" if size else "open in size"
    return f"source network: {network}, {seen.ends}; it sees {pixels}, values as {takes}"


def unpublished_sum(network: str, input_size: int | None, folder: Path) -> str | None:
    """Returns the SHA-256 of weights whose sum nobody publishes, fetched into `folder`."""
    published = weights.named(network)
    size = (input_size, input_size) if input_size else "auto"
    if published is None or published.published(size).sums:
        return None
    try:
        _, sum_ = weights.fetch(
            published, folder, input_size=size, sha256=None, environment=os.environ
        )
    except UserError as error:
        warn(f"source_training.sha256 stays null: {error}")
        return None
    return sum_
