"""Which published networks there are: Keras' applications, trained on ImageNet, headless.

Keras is not imported, and downloads nothing: files come as those of datasets do.
"""

import codecs
import contextlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError, WrongValue
from headstart.data import download, verify
from headstart.data.catalogue import Published, PublishedFile

FOLDER = Path("data/raw/networks")
"""Where the download stage puts the weights that `source_training.from` names."""
SCHEME = "keras:"
PUBLISHED = "as Keras publishes it"
"""What tells that a network takes its `preprocessing`."""

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
# Of a file whose size nobody has published: the weights are four bytes each, and HDF5 adds a few
# kilobytes a layer.
_BYTES_A_WEIGHT = 4
_HDF5_BYTES = 16_000_000
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class PublishedNetwork:
    """A network of `keras.applications` and the file of its weights.

    Attributes:
        name: What comes after `keras:` in `source_training.from`.
        application: The function in `keras.applications`; `options` are what it takes.
        address: The web folder of `file`, in whose name {size} stands for the input size.
        md5, sha256: The sum that Keras holds; where it holds none, both are None.
        licence: Of the weights.
        parameters: All weights without the head, batch statistics counted.
        flops: Floating-point operations of a forward pass without the head, for one image of the
            usual size, as `headstart.learning.flops` counts them.
        preprocessing: How Keras' own `preprocess_input` brings images in 0 to 255 to its input;
            `raw` where the network does it inside.
        sizes: Sides in pixels of the images that it was trained on, the usual one last.
    """

    name: str
    application: str
    address: str
    file: str
    licence: str
    parameters: int
    flops: int
    preprocessing: str
    md5: str | None = None
    sha256: str | None = None
    sizes: tuple[int, ...] = (224,)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def megabytes(self) -> int:
        """About how large its file is."""
        return round(_BYTES_A_WEIGHT * self.parameters / 1e6)

    def side(self, input_size: tuple[int, int] | str) -> int:
        """Returns for which side, of those published, the weights for `input_size` are."""
        height, width = (0, 0) if isinstance(input_size, str) else input_size
        return height if height == width and height in self.sizes else self.sizes[-1]

    def seen(self, input_size: tuple[int, int] | str) -> tuple[int, int]:
        """Returns the height and width of what it sees: `input_size`, or the usual for "auto"."""
        usual = self.sizes[-1]
        return (usual, usual) if isinstance(input_size, str) else input_size

    def published(
        self, input_size: tuple[int, int] | str = "auto", *, sha256: str | None = None
    ) -> PublishedFile:
        """Returns the file of the weights for `input_size`, with `sha256` where no sum is known.

        Raises:
            WrongValue: Another sum than `sha256` is published.
        """
        if sha256 and self.sha256 and sha256 != self.sha256:
            raise WrongValue(
                "sha256", f"{self.name} is published with {self.sha256}; set it to null"
            )
        return PublishedFile(
            self.file.format(size=self.side(input_size)),
            None,
            self.sha256 or (None if self.md5 else sha256),
            md5=self.md5,
            most=_BYTES_A_WEIGHT * self.parameters * 5 // 4 + _HDF5_BYTES,
            least=_BYTES_A_WEIGHT * self.parameters,
            hdf5=True,
        )


def _mobilenet_v2(alpha: float, parameters: int, flops: int) -> PublishedNetwork:
    return PublishedNetwork(
        "MobileNetV2" if alpha == 1.0 else f"MobileNetV2_{alpha}",
        "MobileNetV2",
        f"{_KERAS}mobilenet_v2/",
        f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{{size}}_no_top.h5",
        "Apache-2.0",
        parameters,
        flops,
        "tf",
        # The wide ones were trained at one size alone.
        sizes=(96, 128, 160, 192, 224) if alpha <= 1 else (224,),
        options={"alpha": alpha},
    )


NETWORKS: dict[str, PublishedNetwork] = {
    network.name: network
    for network in (
        _mobilenet_v2(0.35, 410_208, 116_011_616),
        _mobilenet_v2(0.5, 706_224, 191_703_680),
        _mobilenet_v2(0.75, 1_382_064, 415_579_584),
        _mobilenet_v2(1.0, 2_257_984, 598_988_544),
        _mobilenet_v2(1.3, 3_766_048, 1_015_421_120),
        _mobilenet_v2(1.4, 4_363_712, 1_160_807_648),
        PublishedNetwork(
            "MobileNetV3Small",
            "MobileNetV3Small",
            f"{_KERAS}mobilenet_v3/",
            "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
            "Apache-2.0",
            939_120,
            109_793_152,
            "raw",
            md5="d3e8ec802a04aa4fc771ee12a9a9b836",
        ),
        PublishedNetwork(
            "EfficientNetB0",
            "EfficientNetB0",
            "https://storage.googleapis.com/keras-applications/",
            "efficientnetb0_notop.h5",
            "Apache-2.0",
            4_049_571,
            769_069_504,
            "raw",
            md5="50bc09e76180e00e4465e1a485ddc09d",
        ),
        PublishedNetwork(
            "EfficientNetV2B0",
            "EfficientNetV2B0",
            f"{_KERAS}efficientnet_v2/",
            "efficientnetv2-b0_notop.h5",
            "Apache-2.0",
            5_919_312,
            1_433_612_352,
            "raw",
            md5="893217f2bb855e2983157299931e43ff",
        ),
        PublishedNetwork(
            "ResNet50",
            "ResNet50",
            f"{_KERAS}resnet/",
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "MIT",
            23_587_712,
            7_711_850_496,
            "caffe",
            md5="4d473c1dd8becc155b73f8504c6f6626",
        ),
        PublishedNetwork(
            "ResNet50V2",
            "ResNet50V2",
            f"{_KERAS}resnet/",
            "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "BSD-3-Clause",
            23_564_800,
            6_960_414_720,
            "tf",
            md5="fac2f116257151a9d068a22e544a4917",
        ),
        PublishedNetwork(
            "DenseNet121",
            "DenseNet121",
            f"{_KERAS}densenet/",
            "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "BSD-3-Clause",
            7_037_504,
            5_666_275_328,
            "torch",
            md5="30ee3e1110167f948a6b9946edeeb738",
        ),
        PublishedNetwork(
            "ConvNeXtTiny",
            "ConvNeXtTiny",
            f"{_KERAS}convnext/",
            "convnext_tiny_notop.h5",
            "MIT",
            27_820_128,
            8_911_671_552,
            "raw",
            sha256="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        ),
    )
}


def named(source: str | None) -> PublishedNetwork | None:
    """Returns the network that `source` names, None where it is a file or nothing."""
    if source is None or not source.startswith(SCHEME):
        return None
    return NETWORKS[source.removeprefix(SCHEME)]


def keep(
    source: str | None,
    folder: Path,
    *,
    input_size: tuple[int, int] | str,
    sha256: str | None,
    environment: Mapping[str, str],
) -> download.Arrival | None:
    """Makes `folder` hold the weights that `source` names, and nothing else; returns what came.

    Where no sum is known beforehand, it tells that of what came, to be enforced from then on.

    Raises:
        UserError: As `fetch`.
    """
    network = named(source)
    file = network.published(input_size, sha256=sha256) if network else None
    folder.mkdir(parents=True, exist_ok=True)
    if network:
        # It may be that of what goes here.
        refuse_sum_of_another(network, folder, input_size=input_size, sha256=sha256)
    for path in folder.iterdir():
        if file is None or path.name != file.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if network is None or file is None:
        return None
    there = folder / file.name
    if not file.sums and there.is_file() and not _carried(file.name, environment):
        # Trusted when it came: a file comes whole or not at all.
        sha256 = verify.sha256(there)
    arrival, sum_ = fetch(
        network, folder, input_size=input_size, sha256=sha256, environment=environment
    )
    if not file.sums:
        verify.say(
            f"{file.name}: trusted on first use; source_training.sha256: {sum_} in params.yaml "
            "enforces it from now on"
        )
    return arrival


def fetch(
    network: PublishedNetwork,
    folder: Path,
    *,
    input_size: tuple[int, int] | str,
    sha256: str | None,
    environment: Mapping[str, str],
) -> tuple[download.Arrival, str]:
    """Puts the weights of `network` for `input_size` into `folder`; returns what came, its SHA-256.

    `sha256` is enforced. Where neither Keras nor it knows a sum, one in FILE.sha256 beside the
    file in a folder that HEADSTART_MIRROR names counts, and else only https is trusted.

    Raises:
        UserError: As `download.download`; the key of a refused value is `from` or `sha256`.
    """
    refuse_sum_of_another(network, folder, input_size=input_size, sha256=sha256)
    file = network.published(input_size, sha256=sha256)
    if not file.sums:
        file = network.published(input_size, sha256=_carried(file.name, environment))
    side = network.side(input_size)
    size = f" --input-size {side}" if side != network.sizes[-1] else ""
    advice = (
        f"On a machine that has the web: `headstart networks fetch {network.name} --to FOLDER"
        f"{size}`; bring the folder here and set HEADSTART_MIRROR=FOLDER."
    )
    if not file.sums:
        advice += (
            f" No sum of {file.name} is published: one over https:// is trusted, one in a folder "
            f"needs {file.name}.sha256 beside it, and one over http:// its SHA-256 in sha256 "
            "(source_training.sha256 in params.yaml)."
        )
    if sha256:
        advice += (
            " The sum in sha256 (source_training.sha256 in params.yaml) is of one file: for "
            "another, set it to null."
        )
    (arrival,) = download.download(
        Published(network.name, (file,)),
        [network.address],
        folder,
        environment=environment,
        key="from",
        advice=advice,
    )
    refuse_sum_of_another(network, folder, input_size=input_size, sha256=sha256)
    return arrival, verify.sha256(folder / arrival.name)


def refuse_sum_of_another(
    network: PublishedNetwork,
    folder: Path,
    *,
    input_size: tuple[int, int] | str,
    sha256: str | None,
) -> None:
    """Raises WrongValue where what is published or lies in `folder` shows that a sum is another's.

    What has the published MD5 is the network's; there `sha256` decides nothing, and may be wrong.
    """
    file = network.published(input_size, sha256=sha256)
    if sha256 is None:
        return
    for path in sorted(folder.glob("*.h5")):
        if path.name != file.name and verify.sha256(path) == sha256:
            raise WrongValue(
                "sha256",
                f"is that of {path.name}, and {network.name} is {file.name}; set it to null",
            )
    path = folder / file.name
    if network.md5 and verify.verified(path, file) and (has := verify.sha256(path)) != sha256:
        raise WrongValue(
            "sha256",
            f"is not that of {network.name}: {path} has {has}, and the MD5 that Keras publishes; "
            "set it to null",
        )


def _carried(name: str, environment: Mapping[str, str]) -> str | None:
    """Returns the SHA-256 that lies beside the file `name` in a folder named by HEADSTART_MIRROR.

    Raises:
        UserError: What lies there is no such sum.
    """
    mirror = environment.get("HEADSTART_MIRROR", "").strip()
    path = Path(mirror, f"{name}.sha256")
    with contextlib.suppress(RuntimeError):  # there is no home
        path = path.expanduser()
    if not mirror or not path.is_file():
        return None
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    words = content.decode("utf-16" if wide else "utf-8-sig", errors="replace").lower().split()
    if not words or not _SHA256.fullmatch(words[0]):
        raise UserError(
            f"{path}: begins with no SHA-256 in hex; write `SUM  {name}` into it, as sha256sum does"
        )
    return words[0]
