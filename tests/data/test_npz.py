""".npz files of one's own: the right arrays, or one message that names the culprit."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_data import FUZZ, PIXELS, gathered, refusal, spoiled

from headstart.core.errors import UserError
from headstart.data import own


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


LABELS = np.arange(40) % 4


def test_npz_gives_its_images_labels_and_classes(tmp_path: Path) -> None:
    names = np.array(["w", "x", "y", "z"])
    raw = gathered(npz(tmp_path / "own.npz", images=PIXELS, labels=LABELS, classes=names))
    assert raw.classes == ("w", "x", "y", "z")
    np.testing.assert_array_equal(raw.parts["all"].images, PIXELS)
    np.testing.assert_array_equal(raw.parts["all"].labels, LABELS)


def test_npz_as_keras_names_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(
        path,
        x_train=PIXELS[:30, ..., None],
        y_train=LABELS[:30, None].astype(np.uint8),
        x_test=PIXELS[30:, ..., None],
        y_test=LABELS[30:, None].astype(np.uint8),
    )
    raw = gathered(path)
    assert raw.classes == ("0", "1", "2", "3")
    np.testing.assert_array_equal(raw.parts["train"].images, PIXELS[:30])
    np.testing.assert_array_equal(raw.parts["test"].labels, LABELS[30:])


def test_given_classes_number_the_names_in_an_npz(tmp_path: Path) -> None:
    words = np.array(["red", "green", "blue", "grey"])
    path = npz(tmp_path / "own.npz", images=PIXELS, labels=LABELS, classes=words)
    order = ["grey", "blue", "green", "red"]
    raw = gathered(path, classes=order)
    assert raw.classes == tuple(order)
    assert [order[label] for label in raw.parts["all"].labels] == words[LABELS].tolist()
    textual = npz(tmp_path / "words.npz", images=PIXELS, labels=words[LABELS])
    assert gathered(textual).classes == ("blue", "green", "grey", "red")
    raw = gathered(textual, classes=order)
    assert [order[label] for label in raw.parts["all"].labels] == words[LABELS].tolist()
    assert "label 'green' at position 1 of all is no class" in refusal(
        textual, classes=["red", "blue", "grey", "Green"]
    )
    assert "classes: red, blue; " in refusal(path, classes=["red", "blue"])


def test_survey_tells_what_the_arrays_will_be(tmp_path: Path) -> None:
    told = own.survey(npz(tmp_path / "own.npz", images=PIXELS[..., None], labels=LABELS))
    assert (told.classes, told.totals) == (["0", "1", "2", "3"], {"all": 40})
    assert told.counts == {"all": [10] * 4}
    assert (told.sizes, told.channels) == ([(6, 5)], 1)


def test_npz_images_are_brought_to_the_size_asked(tmp_path: Path) -> None:
    path = npz(tmp_path / "own.npz", images=PIXELS, labels=LABELS)
    assert gathered(path, image_size=(3, 4)).parts["all"].images.shape == (40, 3, 4)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pictures": PIXELS}, "holds pictures; images and labels are needed"),
        ({"images": PIXELS, "labels": LABELS[:9]}, "images.npy has 40 rows for 9 labels"),
        ({"images": PIXELS, "labels": LABELS - 1}, "label -1 at 0 is out of range"),
        (
            {"images": PIXELS, "labels": LABELS, "classes": np.array(["a", "b"])},
            "label 2 at position 2 of all is no class (a, b)",
        ),
        ({"images": PIXELS * np.nan, "labels": LABELS}, "images.npy: image 0 holds NaN"),
        ({"images": PIXELS / 255, "labels": LABELS}, "images.npy: image 0 holds fractions"),
        ({"images": PIXELS.astype(int) + 1, "labels": LABELS}, "holds values out of range"),
        ({"images": PIXELS > 9, "labels": LABELS}, "images.npy are bool"),
        ({"images": PIXELS[:, 0], "labels": LABELS}, "has the shape (40, 5)"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "is empty"),
        ({"images": PIXELS, "labels": LABELS * 0}, "two or more classes"),
        ({"images": PIXELS, "labels": LABELS * 0.5}, "whole numbers or names are expected"),
    ],
)
def test_npz_that_cannot_be_right_is_refused(tmp_path: Path, arrays: Any, said: str) -> None:
    assert said in refusal(npz(tmp_path / "own.npz", **arrays))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    trap = np.empty(40, dtype=object)
    trap[:] = Trap()
    path = npz(tmp_path / "own.npz", images=PIXELS, labels=trap)
    assert "holds Python objects" in refusal(path)
    (tmp_path / "own.npz").write_bytes(pickle.dumps(Trap()))
    assert "is no .npz file" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def _packed_otherwise(path: Path, method: int) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in (("images", PIXELS), ("labels", LABELS)):
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_packing_of_any_kind_is_read_and_refused_where_it_is_damaged(
    tmp_path: Path, method: int
) -> None:
    path = tmp_path / "own.npz"
    _packed_otherwise(path, method)
    np.testing.assert_array_equal(gathered(path).parts["all"].images, PIXELS)
    content = bytearray(path.read_bytes())
    content[60:120] = bytes(60)
    path.write_bytes(content)
    assert "is no .npz file, or damaged" in refusal(path)


@pytest.mark.parametrize("header", [b"{'descr': (", b"", b"{'descr': '|u1'}", b"\xff" * 40])
def test_header_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        for name in ("images.npy", "labels.npy"):
            size = len(header).to_bytes(2, "little")
            archive.writestr(name, b"\x93NUMPY\x01\x00" + size + header)
    assert "is no .npz file, or damaged" in refusal(tmp_path / "own.npz")


def test_header_that_claims_terabytes_is_refused_before_a_byte_is_read(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = (10**9, 1000, 1000)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
        archive.writestr("labels.npy", header.getvalue())
    assert "claims" in refusal(tmp_path / "own.npz")


@FUZZ
@given(data=st.data(), packed=st.booleans())
def test_any_npz_bytes_give_arrays_or_a_clean_refusal(
    tmp_path: Path, data: st.DataObject, packed: bool
) -> None:
    file = io.BytesIO()
    save_npz = np.savez_compressed if packed else np.savez
    save_npz(file, images=PIXELS[:4], labels=LABELS[:4])
    path = tmp_path / "own.npz"
    path.write_bytes(spoiled(data, file.getvalue()))
    try:
        raw = gathered(path)
    except UserError as error:
        refused = str(error)
    else:
        part = raw.parts["all"]
        assert part.images.dtype == np.uint8
        assert len(part.images) == len(part.labels)
        return
    assert "own.npz" in refused
