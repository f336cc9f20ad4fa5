"""What tests of the study share."""

from pathlib import Path

import pytest
from projects import edit_params
from studies import DIGITS, TINY, write_parameters

from headstart.data import digits as published_digits


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with the handwritten digits, in which a tiny study asks for 3 or 8."""
    published_digits.write(tmp_path / "data/raw/digits")
    write_parameters(tmp_path, DIGITS, target_tasks=["3", "8"], **TINY)
    edit_params(tmp_path / "params.yaml", {"tasks.target_classes": "['3', '8']"})
    monkeypatch.chdir(tmp_path)
    return tmp_path
