"""Folders and .npz files of one's own: the right arrays, or one message that names the culprit."""

import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from images import blobs, png_that_claims, save
from PIL import Image

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.core.parts import Drawn
from headstart.data import own, quality, raw_data

_PIXELS = np.random.default_rng(3).integers(0, 256, (40, 6, 5), dtype=np.uint8)


def gathered(path: Path, *, classes: Any = "auto", image_size: Any = "auto") -> raw_data.Raw:
    folder = path.parent / "raw"
    own.own(path, folder, classes=classes, image_size=image_size)
    return raw_data.read("own", folder, classes=classes)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        gathered(path, **options)
    assert not list((path.parent / "raw").glob(".*")), "something half-written is left"
    return str(refused.value)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve grey images of each of three classes."""
    return blobs(tmp_path / "photos", ["ant", "bee", "cat"])


# Folders


def test_images_are_ordered_by_file_name_across_classes_then_by_class(tmp_path: Path) -> None:
    names = ["b/1.png", "a/1.png", "b/0.png", "a/2.PNG"]
    for pixels, name in zip(_PIXELS, names, strict=False):
        save(tmp_path / "own" / name, pixels)
    raw = gathered(tmp_path / "own")
    assert raw.classes == ("a", "b")
    assert raw.parts["all"].labels.tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(raw.parts["all"].images, _PIXELS[[2, 1, 0, 3]])
    assert [raw.name("all", row) for row in range(4)] == [names[i] for i in (2, 1, 0, 3)]


def test_given_classes_number_the_folders(photos: Path) -> None:
    raw = gathered(photos, classes=["cat", "ant", "bee"])
    assert raw.classes == ("cat", "ant", "bee")
    assert raw.name("all", int(np.flatnonzero(raw.parts["all"].labels == 0)[0])).startswith("cat/")


def test_train_valid_and_test_folders_stay_apart(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "valid", "test")):
        blobs(tmp_path / "own" / part, ["a", "b"], each=3 + number, seed=number)
    raw = gathered(tmp_path / "own")
    assert {name: len(part.labels) for name, part in raw.parts.items()} == {
        "train": 6,
        "valid": 8,
        "test": 10,
    }


def test_class_may_be_called_train(tmp_path: Path) -> None:
    raw = gathered(blobs(tmp_path / "own", ["train", "tram"]))
    assert raw.classes == ("train", "tram")


def test_colour_of_one_image_makes_all_colour(photos: Path) -> None:
    save(photos / "ant" / "red.png", np.full((12, 12, 3), (255, 0, 0), np.uint8))
    images = gathered(photos).parts["all"].images
    assert images.shape == (37, 12, 12, 3)
    assert (images[..., 0] == images[..., 1]).reshape(37, -1).all(axis=1).sum() == 36


def test_images_of_any_size_are_brought_to_the_size_asked(photos: Path) -> None:
    save(photos / "ant" / "wide.png", np.full((20, 40), 77, np.uint8))
    assert "set dataset.image_size to [height, width]" in refusal(photos)
    images = gathered(photos, image_size=(8, 10)).parts["all"].images
    assert images.shape == (37, 8, 10)
    assert (images == 77).reshape(37, -1).all(axis=1).sum() == 1


@pytest.mark.parametrize(
    ("mode", "pixel", "shown"),
    [
        ("1", 1, 255),
        ("L", 7, 7),
        ("LA", (9, 0), 255),
        ("LA", (9, 255), 9),
        ("I;16", 0x1234, 0x12),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), (255, 255, 255)),
        ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
    ],
)
def test_every_kind_of_png_gives_what_a_viewer_shows(
    tmp_path: Path, mode: str, pixel: Any, shown: Any
) -> None:
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new(mode, (2, 3), pixel).save(tmp_path / "own" / name / "1.png")
    images = gathered(tmp_path / "own").parts["all"].images
    assert (images == np.array(shown)).all()


def test_photo_of_a_camera_on_its_side_stands_upright(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, :16] = 255
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(tmp_path / "own" / name / "1.jpg", exif=exif)
    image = gathered(tmp_path / "own").parts["all"].images[0]
    assert image.shape == (32, 16)
    assert image[:12].min() > 200
    assert image[20:].max() < 50


@pytest.mark.parametrize(
    "name",
    ["a b", 'it\'s "quoted"', "日本語 ß ñ", "$x^2$ <b>&amp;", "n" * 200, "-rf", "new\nline"],
)
def test_class_names_may_be_whatever_a_folder_may(tmp_path: Path, name: str) -> None:
    raw = gathered(blobs(tmp_path / "own", [name, "other"], each=2))
    assert set(raw.classes) == {name, "other"}


def test_files_that_are_no_images_are_told_and_left_out(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "ant" / "notes.txt").write_text("hello")
    (photos / "ant" / ".DS_Store").write_text("hidden")
    assert len(gathered(photos).parts["all"].labels) == 36
    assert "1 files are left out" in capsys.readouterr().err


def _text_file(photos: Path) -> None:
    (photos / "bee" / "fake.png").write_text("this is no image")


def _cut(photos: Path) -> None:
    path = save(photos / "bee" / "cut.png", _PIXELS.reshape(-1)[:144].reshape(12, 12))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _bomb(photos: Path) -> None:
    (photos / "bee" / "bomb.png").write_bytes(png_that_claims(30000, 30000))


def _link_out(photos: Path) -> None:
    outside = save(photos.parent / "outside.png", _PIXELS[0])
    (photos / "bee" / "link.png").symlink_to(outside)


def _folder_link_out(photos: Path) -> None:
    blobs(photos.parent / "elsewhere", ["dog"])
    (photos / "dog").symlink_to(photos.parent / "elsewhere" / "dog")


def _dead_link(photos: Path) -> None:
    (photos / "bee" / "dead.png").symlink_to("nowhere.png")


def _loop(photos: Path) -> None:
    (photos / "bee" / "loop.png").symlink_to("loop.png")


def _empty_class(photos: Path) -> None:
    (photos / "empty").mkdir()


def _folder_in_class(photos: Path) -> None:
    (photos / "bee" / "more").mkdir()


def _pipe(photos: Path) -> None:
    os.mkfifo(photos / "bee" / "pipe.png")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_text_file, "fake.png: is no PNG or JPEG image"),
        (_cut, "cut.png: is no PNG or JPEG image, or damaged"),
        (_bomb, "bomb.png: claims too many pixels|bomb.png: claims 30000 x 30000"),
        (_link_out, "link.png: is a link out of the folder"),
        (_folder_link_out, "dog: is a link out of the folder"),
        (_dead_link, "dead.png: is a link that leads nowhere"),
        (_loop, "loop.png: is a link that leads nowhere"),
        (_empty_class, "empty: holds no .png or .jpg image"),
        (_folder_in_class, "more: is a folder among the images"),
        (_pipe, "pipe.png: is no file"),
    ],
)
def test_spoiled_folder_is_refused_and_the_culprit_named(
    photos: Path, spoil: Any, said: str
) -> None:
    spoil(photos)
    message = refusal(photos)
    assert any(part in message for part in said.split("|")), message


def test_link_within_the_folder_is_an_image_like_any_other(photos: Path) -> None:
    (photos / "bee" / "again.png").symlink_to(photos / "bee" / "bee 000.png")
    assert len(gathered(photos).parts["all"].labels) == 37


def test_folder_that_is_no_class_and_class_without_a_folder_are_named(photos: Path) -> None:
    assert "cat: is no class of dataset.classes" in refusal(photos, classes=["ant", "bee"])
    names = ["ant", "bee", "cat", "dog"]
    assert "there is no folder for the class 'dog'" in refusal(photos, classes=names)


def test_name_that_is_not_text_is_named(photos: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("macOS refuses to make such a name")
    (photos / "bee" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    assert "the name is not UTF-8" in refusal(photos)


# .npz


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


LABELS = np.arange(40) % 4


def test_npz_gives_its_images_labels_and_classes(tmp_path: Path) -> None:
    names = np.array(["w", "x", "y", "z"])
    raw = gathered(npz(tmp_path / "own.npz", images=_PIXELS, labels=LABELS, classes=names))
    assert raw.classes == ("w", "x", "y", "z")
    np.testing.assert_array_equal(raw.parts["all"].images, _PIXELS)
    np.testing.assert_array_equal(raw.parts["all"].labels, LABELS)


def test_npz_as_keras_names_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(
        path,
        x_train=_PIXELS[:30, ..., None],
        y_train=LABELS[:30, None].astype(np.uint8),
        x_test=_PIXELS[30:, ..., None],
        y_test=LABELS[30:, None].astype(np.uint8),
    )
    raw = gathered(path)
    assert raw.classes == ("0", "1", "2", "3")
    np.testing.assert_array_equal(raw.parts["train"].images, _PIXELS[:30])
    np.testing.assert_array_equal(raw.parts["test"].labels, LABELS[30:])


def test_given_classes_number_the_names_in_an_npz(tmp_path: Path) -> None:
    words = np.array(["red", "green", "blue", "grey"])
    path = npz(tmp_path / "own.npz", images=_PIXELS, labels=LABELS, classes=words)
    order = ["grey", "blue", "green", "red"]
    raw = gathered(path, classes=order)
    assert raw.classes == tuple(order)
    assert [order[label] for label in raw.parts["all"].labels] == words[LABELS].tolist()
    textual = npz(tmp_path / "own.npz", images=_PIXELS, labels=words[LABELS])
    assert gathered(textual).classes == ("blue", "green", "grey", "red")


def test_npz_images_are_brought_to_the_size_asked(tmp_path: Path) -> None:
    path = npz(tmp_path / "own.npz", images=_PIXELS, labels=LABELS)
    assert gathered(path, image_size=(3, 4)).parts["all"].images.shape == (40, 3, 4)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pictures": _PIXELS}, "holds pictures; images and labels are needed"),
        ({"images": _PIXELS, "labels": LABELS[:9]}, "9 labels for the 40 of images"),
        ({"images": _PIXELS, "labels": LABELS - 1}, "label -1 at 0 is out of range"),
        (
            {"images": _PIXELS, "labels": LABELS, "classes": np.array(["a", "b"])},
            "label 2 at position 2 of all is no class (0 to 1)",
        ),
        ({"images": _PIXELS * np.nan, "labels": LABELS}, "image 0 of images.npy holds NaN"),
        ({"images": _PIXELS / 255, "labels": LABELS}, "image 0 of images.npy holds fractions"),
        ({"images": _PIXELS.astype(int) + 1, "labels": LABELS}, "holds values out of range"),
        ({"images": _PIXELS > 9, "labels": LABELS}, "images.npy are bool"),
        ({"images": _PIXELS[:, 0], "labels": LABELS}, "has the shape (40, 5)"),
        ({"images": _PIXELS[:0], "labels": LABELS[:0]}, "is empty"),
        ({"images": _PIXELS, "labels": LABELS * 0}, "two or more classes"),
        ({"images": _PIXELS, "labels": LABELS * 0.5}, "whole numbers or names are expected"),
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
    path = npz(tmp_path / "own.npz", images=_PIXELS, labels=trap)
    assert "holds Python objects" in refusal(path)
    (tmp_path / "own.npz").write_bytes(pickle.dumps(Trap()))
    assert "is no .npz file" in refusal(path)
    assert not (tmp_path / "sprung").exists()


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


# What both lead to


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    own.digits(tmp_path)
    raw = raw_data.read("digits", tmp_path, classes="auto")
    images = raw_data.normalise(np.asarray(raw.parts["all"].images), white=raw.white)
    np.testing.assert_array_equal(images, (load_digits().images / 16).astype(np.float32))
    np.testing.assert_array_equal(raw.parts["all"].labels, load_digits().target)


def test_digits_hold_no_image_twice(tmp_path: Path) -> None:
    own.digits(tmp_path)
    images = raw_data.read("digits", tmp_path, classes="auto").parts["all"].images
    thirds = {str(part): (images, np.arange(part, 1797, 3)) for part in range(3)}
    assert quality.duplicates(thirds) == (0, [])


def test_images_in_two_parts_are_counted_named_and_refused_above_the_limit(photos: Path) -> None:
    (photos / "ant" / "zz copy.png").write_bytes((photos / "bee" / "bee 003.png").read_bytes())
    raw = gathered(photos)
    images = raw.parts["all"].images
    last = len(images) - 1
    drawn = {
        "train": Drawn("all", np.arange(30)),
        "valid": Drawn("all", np.arange(30, last)),
        "test": Drawn("all", np.array([last])),
    }
    with pytest.raises(UserError) as refused:
        quality.check(raw, drawn, max_duplicates=0)
    assert "dataset.max_duplicates: 0, and 1 images stand in more than one" in str(refused.value)
    assert "train: bee/bee 003.png = test: ant/zz copy.png" in str(refused.value)
    (warning,) = quality.check(raw, drawn, max_duplicates=1)
    assert "bee/bee 003.png" in warning
    # Twice in one part is no leak.
    assert quality.duplicates({"train": (images, np.arange(last + 1))}) == (0, [])


def test_blank_images_are_told_and_nothing_but_blank_ones_refused(photos: Path) -> None:
    save(photos / "ant" / "black.png", np.zeros((12, 12), np.uint8))
    raw = gathered(photos)
    everything = {"train": Drawn("all", np.arange(37))}
    (warning,) = quality.check(raw, everything, max_duplicates=0)
    assert warning == "1 of 37 images are of one value all over (ant/black.png)"
    only = {"train": Drawn("all", np.flatnonzero(raw.parts["all"].images.max(axis=(1, 2)) == 0))}
    with pytest.raises(UserError, match="nothing to learn from"):
        quality.check(raw, only, max_duplicates=0)


@pytest.mark.parametrize("name", ["about.json", "all_labels.npy", "all_images.npy"])
def test_gathered_data_that_was_damaged_is_refused(photos: Path, name: str) -> None:
    gathered(photos)
    path = photos.parent / "raw" / name
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=f"{name}: .*dvc repro"):
        raw_data.read("own", path.parent, classes="auto")


def test_same_files_give_the_same_bytes(photos: Path) -> None:
    def bytes_of(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    gathered(photos)
    first = bytes_of(photos.parent / "raw")
    gathered(photos)
    assert bytes_of(photos.parent / "raw") == first
    labels = artefacts.read_array(photos.parent / "raw" / "all_labels.npy")
    assert labels.dtype == np.int64
    assert json.loads(first["about.json"])["classes"] == ["ant", "bee", "cat"]


# Any bytes at all


def spoiled(data: st.DataObject, good: bytes) -> bytes:
    """Returns `good` with some bytes changed, cut out or put in."""
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        kind = data.draw(st.sampled_from(["set", "cut", "end", "put"]))
        if kind == "set" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 40))]
        elif kind == "end":
            del content[at:]
        else:
            content[at:at] = data.draw(st.binary(max_size=20))
    return bytes(content)


_FUZZ = settings(
    max_examples=int(os.environ.get("HEADSTART_FUZZ", "60")),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def good_image(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_PIXELS[0]).save(file, format=kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@_FUZZ
@given(data=st.data())
def test_any_image_bytes_give_pixels_or_a_clean_refusal(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    suffix = {"PNG": "png", "JPEG": "jpg"}[kind]
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name / f"1.{suffix}").write_bytes(good_image(kind))
    path = tmp_path / "own" / "a" / f"1.{suffix}"
    path.write_bytes(spoiled(data, path.read_bytes()))
    try:
        raw = gathered(tmp_path / "own", image_size=(6, 5))
    except UserError as error:
        refused = str(error)
    else:
        assert raw.parts["all"].images.shape[:3] == (2, 6, 5)
        return
    assert path.name in refused


@_FUZZ
@given(data=st.data(), packed=st.booleans())
def test_any_npz_bytes_give_arrays_or_a_clean_refusal(
    tmp_path: Path, data: st.DataObject, packed: bool
) -> None:
    file = io.BytesIO()
    save_npz = np.savez_compressed if packed else np.savez
    save_npz(file, images=_PIXELS[:4], labels=LABELS[:4])
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
