"""IDX files are read strictly, labels are checked, pixels become floats in one way."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.data import catalogue, idx, raw_data


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some-idx"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder with six training and four test images of 3 x 2 pixels under published names."""
    images = np.arange(60, dtype=np.uint8).reshape(10, 3, 2)
    labels = np.arange(10, dtype=np.uint8)
    for file, array in zip(
        catalogue.FASHION_MNIST.files,
        (images[:6], labels[:6], images[6:], labels[6:]),
        strict=True,
    ):
        (tmp_path / file.name).write_bytes(idx_bytes(array))
    return tmp_path


@pytest.mark.parametrize("shape", [(5,), (2, 3), (4, 3, 2), (2, 2, 2, 3)])
def test_idx_gives_values_and_shape_of_its_header(path: Path, shape: tuple[int, ...]) -> None:
    expected = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path.write_bytes(idx_bytes(expected))
    array = idx.read_idx(path)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)


GOOD = idx_bytes(np.arange(24).reshape(4, 3, 2))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "two zero bytes"),
        (b"\0\0\x08", "two zero bytes"),
        (b"\x1f\x8b" + GOOD[2:], "two zero bytes"),
        (b"\0\1" + GOOD[2:], "two zero bytes"),
        (b"\0\0\x0d" + GOOD[3:], "type 0x0d"),
        (b"\0\0\x08\0" + GOOD[4:], "0 dimensions"),
        (b"\0\0\x08\5" + GOOD[4:], "5 dimensions"),
        (GOOD[:15], "ends within its header"),
        (GOOD[:-1], "make 40 bytes, the file has 39"),
        (GOOD + b"\0", "make 40 bytes, the file has 41"),
        (b"\0\0\x08\1\0\0\0\0", "is empty"),
        (b"\0\0\x08\4" + b"\xff" * 16, "more than 8589934592"),
    ],
)
def test_damaged_idx_is_refused_with_file_and_reason(
    path: Path, content: bytes, words: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"some-idx.*{re.escape(words)}.*dvc repro"):
        idx.read_idx(path)


def test_idx_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(UserError, match="some-idx: there is no such file"):
        idx.read_idx(path)


@settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.one_of(
        st.binary(max_size=64),
        st.builds(
            lambda shape, values: (
                struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + values
            ),
            st.lists(st.integers(0, 6) | st.integers(0, 2**32 - 1), min_size=1, max_size=5),
            st.binary(max_size=40),
        ),
        st.builds(
            lambda at, byte: GOOD[:at] + bytes([byte]) + GOOD[at + 1 :],
            st.integers(0, len(GOOD) - 1),
            st.integers(0, 255),
        ),
    )
)
def test_any_bytes_give_the_right_array_or_a_clean_refusal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        array = idx.read_idx(path)
    except UserError:
        return
    assert idx_bytes(array) == content


def test_load_gives_images_and_labels_in_the_published_order(raw: Path) -> None:
    train_images, train_labels, test_images, test_labels = idx.load(catalogue.FASHION_MNIST, raw)
    assert train_images.shape == (6, 3, 2)
    assert test_images.shape == (4, 3, 2)
    assert train_labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert test_labels.tolist() == [6, 7, 8, 9]
    assert test_images[0, 0, 0] == 36


@pytest.mark.parametrize(
    ("file", "array", "words"),
    [
        (1, np.zeros(5), "train-labels.*5 labels for the 6 images in train-images"),
        (3, np.zeros(7), "t10k-labels.*7 labels for the 4 images in t10k-images"),
        (3, np.array([0, 1, 10, 0]), "label 10 at position 2 is no class.*0 to 9"),
        (0, np.zeros(6), "train-images.*1 dimensions, 3 are expected"),
        (1, np.zeros((6, 1, 1)), "train-labels.*3 dimensions, 1 are expected"),
        (2, np.zeros((4, 2, 3)), "t10k-images.*2 x 3 pixels.*3 x 2"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    raw: Path, file: int, array: np.ndarray, words: str
) -> None:
    (raw / catalogue.FASHION_MNIST.files[file].name).write_bytes(idx_bytes(array))
    with pytest.raises(UserError, match=words):
        idx.load(catalogue.FASHION_MNIST, raw)


def test_normalised_pixels_are_the_float32_nearest_to_a_255th() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    images = raw_data.normalise(pixels)
    assert images.dtype == np.float32
    assert images.shape == (4, 8, 8)
    np.testing.assert_array_equal(images, (pixels / 255.0).astype(np.float32))
    assert images.min() == 0
    assert images.max() == 1


@pytest.mark.parametrize(
    ("images", "kind"),
    [
        (np.zeros((2, 2), np.float32), "float32"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.zeros((2, 2), bool), "bool"),
        ([[0, 255]], "list"),
    ],
)
def test_only_raw_pixels_are_normalised(images: object, kind: str) -> None:
    with pytest.raises(UserError, match=f"images are {kind}.*uint8"):
        raw_data.normalise(images)


def test_published_class_names_lead_to_ours() -> None:
    fashion = catalogue.FASHION_MNIST
    assert fashion.classes.index("sandal") == 5
    assert fashion.classes.index("shirt") == 6
    assert len(fashion.classes) == 10
    assert fashion.aliases["t-shirt/top"] == fashion.classes[0]
    assert fashion.aliases["ankle boot"] == fashion.classes[9]
    assert set(fashion.aliases.values()) <= set(fashion.classes)
    assert all(alias == alias.lower() for alias in fashion.aliases)
