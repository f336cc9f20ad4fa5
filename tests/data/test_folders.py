"""Folders of one's own: the right arrays, or one message that names the culprit."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images import blobs, png_that_claims, save
from own_data import PIXELS, gathered, refusal

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.data import own, raw_data


def test_images_are_ordered_by_file_name_across_classes_then_by_class(tmp_path: Path) -> None:
    names = ["b/1.png", "a/1.png", "b/0.png", "a/2.PNG"]
    for pixels, name in zip(PIXELS, names, strict=False):
        save(tmp_path / "own" / name, pixels)
    raw = gathered(tmp_path / "own")
    assert raw.classes == ("a", "b")
    assert raw.parts["all"].labels.tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(raw.parts["all"].images, PIXELS[[2, 1, 0, 3]])
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
    assert "image_size: auto, but " in refusal(photos)
    images = gathered(photos, image_size=(8, 10)).parts["all"].images
    assert images.shape == (37, 8, 10)
    assert (images == 77).reshape(37, -1).all(axis=1).sum() == 1


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
    path = save(photos / "bee" / "cut.png", PIXELS.reshape(-1)[:144].reshape(12, 12))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _bomb(photos: Path) -> None:
    (photos / "bee" / "bomb.png").write_bytes(png_that_claims(30000, 30000))


def _link_out(photos: Path) -> None:
    outside = save(photos.parent / "outside.png", PIXELS[0])
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
    assert "cat is no class; add it there" in refusal(photos, classes=["ant", "bee"])
    names = ["ant", "bee", "cat", "dog"]
    assert "there is no folder for the class 'dog'" in refusal(photos, classes=names)


def test_what_is_not_there_or_no_data_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"path: there is no folder or file {tmp_path / 'none'}"
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt is neither a folder of images nor an .npz" in refusal(tmp_path / "notes.txt")


def test_survey_tells_what_the_arrays_will_be(photos: Path) -> None:
    save(photos / "ant" / "wide.png", np.zeros((6, 9, 3), np.uint8))
    told = own.survey(photos)
    assert told.classes == ["ant", "bee", "cat"]
    assert told.totals == {"all": 37}
    assert told.counts == {"all": [13, 12, 12]}
    assert set(told.sizes) == {(12, 12), (6, 9)}
    assert told.channels == 3


def test_name_that_is_not_text_is_named(photos: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("macOS refuses to make such a name")
    (photos / "bee" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    assert "the name is not UTF-8" in refusal(photos)


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
