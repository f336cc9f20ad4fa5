"""Artefacts: whole or not at all, and equal content gives equal bytes."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headstart.core import artefacts
from headstart.core.errors import UserError
from headstart.core.parts import Part


@example(["a\rb", "a\nb", "a,b", 'a"b', " "])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_text_of_any_characters_comes_back_from_a_table(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        artefacts.write_table(path, ({"first": text, "last": "x"} for text in texts))
        assert [row["first"] for row in artefacts.read_table(path)] == texts
        assert path.read_bytes().startswith(b"first,last\n")


def test_what_some_epochs_alone_tell_is_a_column_that_others_leave_empty(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "learning_rate": 0.01}]
    artefacts.write_history(path, rows)
    assert path.read_text() == "epoch,loss,learning_rate\n1,0.5,\n2,0.25,0.01\n"
    assert artefacts.read_history(path) == rows
    artefacts.write_history(path, [])
    assert path.read_text() == "epoch,loss,accuracy,val_loss,val_accuracy\n"
    assert artefacts.read_history(path) == []


def test_failed_write_leaves_what_was_there_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    artefacts.write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        artefacts.write_json(path, {"new": float("nan")})
    with pytest.raises(OSError, match="full"), artefacts.replacing(path) as part:
        _half_write(part)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def _half_write(part: Path) -> None:
    part.write_text("half")
    raise OSError("disk full")


def test_written_files_have_the_users_ordinary_mode(tmp_path: Path) -> None:
    artefacts.write_json(tmp_path / "a.json", {})
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_parts_come_back_memory_mapped(tmp_path: Path) -> None:
    part = Part(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([0, 1, 0]))
    artefacts.write_array(tmp_path / "train_images.npy", part.images)
    artefacts.write_array(tmp_path / "train_labels.npy", part.labels)
    back = artefacts.read_part(tmp_path, "train")
    assert isinstance(back.images, np.memmap)
    np.testing.assert_array_equal(back.images, part.images)
    np.testing.assert_array_equal(back.labels, part.labels)


def test_pickles_and_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "train_images.npy"
    np.save(path, np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"train_images\.npy"):
        artefacts.read_array(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"train_images\.npy"):
        artefacts.read_array(path)
    with pytest.raises(UserError, match="there is no such file"):
        artefacts.read_array(tmp_path / "none.npy")


def test_history_comes_back_as_it_was(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 1e-9}]
    artefacts.write_history(tmp_path / "h.csv", rows)
    assert artefacts.read_history(tmp_path / "h.csv") == rows


class Chancy:
    """Saves as Keras does: with the time and with ids that differ from run to run."""

    def __init__(self, day: int, first_id: int) -> None:
        self.day, self.first_id = day, first_id

    def save(self, filepath: str | Path, **options: Any) -> None:
        shared = {"shared_object_id": self.first_id}
        config = {"layers": [{**shared, "n": 1}, {"shared_object_id": self.first_id + 7}, shared]}
        with zipfile.ZipFile(filepath, "w") as archive:
            for name, content in {
                "metadata.json": json.dumps({"keras_version": "3", "date_saved": str(self.day)}),
                "config.json": json.dumps(config),
                "model.weights.h5": "weights",
            }.items():
                archive.writestr(zipfile.ZipInfo(name, (2024, 1, self.day, 0, 0, 0)), content)


def test_equal_models_give_equal_files_whatever_the_day_and_the_ids(tmp_path: Path) -> None:
    artefacts.write_model(tmp_path / "a.keras", Chancy(1, 140))
    artefacts.write_model(tmp_path / "b.keras", Chancy(2, 977))
    assert artefacts.md5(tmp_path / "a.keras") == artefacts.md5(tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        ids = [
            layer["shared_object_id"] for layer in json.loads(archive.read("config.json"))["layers"]
        ]
    assert ids == [0, 1, 0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.keras", "b.keras"]


def test_model_is_written_into_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    artefacts.write_model(tmp_path / "models/model.keras", model)
    assert keras.models.load_model(tmp_path / "models/model.keras").count_params() == 3
