"""What spoils a comparison before it starts is told or refused: duplicates, blank images."""

from pathlib import Path

import numpy as np
import pytest
from images import save
from own_data import gathered

from headstart.core.errors import UserError
from headstart.core.parts import Drawn
from headstart.data import digits, quality, raw_data


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
    assert "max_duplicates: 0, and 1 images stand in more than one" in str(refused.value)
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


def test_digits_are_those_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits.write(tmp_path)
    raw = raw_data.read("digits", tmp_path, classes="auto")
    images = raw_data.normalise(np.asarray(raw.parts["all"].images), white=raw.white)
    np.testing.assert_array_equal(images, (load_digits().images / 16).astype(np.float32))
    np.testing.assert_array_equal(raw.parts["all"].labels, load_digits().target)


def test_digits_hold_no_image_twice(tmp_path: Path) -> None:
    digits.write(tmp_path)
    images = raw_data.read("digits", tmp_path, classes="auto").parts["all"].images
    thirds = {str(part): (images, np.arange(part, 1797, 3)) for part in range(3)}
    assert quality.duplicates(thirds) == (0, [])
