"""YAML read strictly, as DVC wrote it, and edited with its comments."""

import pytest
import yaml
from projects import ROOT

from headstart.core.errors import UserError
from headstart.params import yaml_text


@pytest.mark.parametrize("word", ["yes", "off", "1e-3", "1.5e3", "010", "0x10", "1_000", "12:30"])
def test_words_that_yaml_1_1_and_1_2_read_differently_are_refused(word: str) -> None:
    with pytest.raises(UserError, match=rf"p\.yaml, line 2, column 4: '{word}' means different"):
        yaml_text.parameters(f"a: 1\nb: {word}\n", "p.yaml")
    assert yaml_text.parameters(f"b: '{word}'", "p.yaml") == {"b": word}


def test_words_that_both_read_alike_keep_their_type() -> None:
    values = yaml_text.parameters("[1, -2, 0.5, .5, 1.0e-05, True, null, sandal, '7']", "p.yaml")
    assert values == [1, -2, 0.5, 0.5, 1e-05, True, None, "sandal", "7"]


def test_dvc_lock_is_read_as_dvc_wrote_it() -> None:
    assert yaml_text.written_by_dvc("rate: 1e-05\nother: 1.0e-05", "dvc.lock") == {
        "rate": 1e-05,
        "other": 1e-05,
    }


def test_conflict_left_in_a_lock_is_told_with_its_line() -> None:
    with pytest.raises(UserError, match=r"dvc\.lock, line 3"):
        yaml_text.written_by_dvc("a: 1\n<<<<<<< HEAD\nb: 2\n", "dvc.lock")


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "study/params.yaml", "study/dvc.yaml"])
def test_committed_files_pass_an_edit_of_nothing_unchanged(name: str) -> None:
    text = (ROOT / name).read_text()
    assert yaml_text.edited(text, {}) == text


def test_edit_changes_the_value_alone() -> None:
    text = (
        "# head\na:\n  b: 1 # one\n  c:\n    - x # of c\n    - y # of c too\n  # on d\n  d: 'q'\n"
    )
    assert yaml_text.edited(text, {"a.b": "0.5", "a.c": "[z]"}) == (
        "# head\na:\n  b: 0.5 # one\n  c: [z]\n  # on d\n  d: 'q'\n"
    )
    edited = yaml_text.edited(text, {"a": "{e: 1}"})
    assert yaml.safe_load(edited) == {"a": {"e": 1}}
