"""Which published datasets there are: files, sums, classes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from headstart.data.survey import Survey


@dataclass(frozen=True)
class PublishedFile:
    """One published file: its name, size and sums (hex), all of the decompressed bytes.

    Where no sum could be verified beforehand, what first comes over https is trusted. A size that
    is not published is None: then `most` bytes are taken. What is trusted must have `least` bytes
    and, with `hdf5`, begin as HDF5 does: a server may send a page in the place of a file.
    """

    name: str
    bytes: int | None
    sha256: str | None
    md5: str | None = None
    most: int = 0
    least: int = 0
    hdf5: bool = False

    @property
    def limit(self) -> int:
        """The bytes that it can have."""
        return self.most if self.bytes is None else self.bytes

    @property
    def sums(self) -> dict[str, str]:
        """The known sums, by algorithm."""
        sums = {"sha256": self.sha256, "md5": self.md5}
        return {algorithm: sum_ for algorithm, sum_ in sums.items() if sum_}


@dataclass(frozen=True)
class Published:
    """Files that are published together, under one name."""

    name: str
    files: tuple[PublishedFile, ...]


@dataclass(frozen=True)
class PublishedDataset(Published):
    """A published dataset of square grey images.

    `files` are the training images, training labels, test images and test labels, in this order.
    `classes` are the names of the classes 0, 1, ... in our files; `aliases` leads from other
    spellings, in lower case, to those names. `sources` are where it is published.
    """

    classes: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict, hash=False)
    sources: tuple[str, ...] = ()

    def survey(self) -> Survey:
        """Returns what the sizes of the files tell: not how many images each class has."""
        images, labels, _, test_labels = (file.limit for file in self.files)
        # IDX: eight bytes before the labels, sixteen before the images.
        totals = {"train": labels - 8, "test": test_labels - 8}
        side = math.isqrt((images - 16) // totals["train"])
        return Survey(self.classes, totals, None, [(side, side)], aliases=self.aliases)


def _files(*sums: str | None) -> tuple[PublishedFile, ...]:
    """Returns the files of MNIST, whose names and sizes its successors took over."""
    names = (
        ("train-images-idx3-ubyte", 47_040_016),
        ("train-labels-idx1-ubyte", 60_008),
        ("t10k-images-idx3-ubyte", 7_840_016),
        ("t10k-labels-idx1-ubyte", 10_008),
    )
    return tuple(PublishedFile(*file, sum_) for file, sum_ in zip(names, sums, strict=True))


_CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip

# The sums of the bytes that Zalando Research publishes; recompressed with the original header
# they have the MD5 sums in the publisher's README.
FASHION_MNIST = PublishedDataset(
    name="fashion_mnist",
    files=_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    classes=_CLOTHES,
    aliases=dict.fromkeys(("t-shirt/top", "tshirt", "top"), "t-shirt")
    | {"trousers": "trouser", "ankle boot": "boot"},
    sources=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "apt:dataset-fashion-mnist",
    ),
)

# LeCun, Cortes and Burges: the database's own site refuses programs, these copies do not.
MNIST = PublishedDataset(
    name="mnist",
    files=_files(None, None, None, None),
    classes=tuple("0123456789"),
    sources=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)

# Clanuwat et al. 2018, "Deep Learning for Classical Japanese Literature".
KMNIST = PublishedDataset(
    name="kmnist",
    files=_files(None, None, None, None),
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    sources=("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
)

DATASETS: Mapping[str, PublishedDataset] = {
    dataset.name: dataset for dataset in (FASHION_MNIST, MNIST, KMNIST)
}
