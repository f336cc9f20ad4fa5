"""Photographs for the tests of data of one's own."""

from pathlib import Path

import pytest
from images import blobs


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve grey images of each of three classes."""
    return blobs(tmp_path / "photos", ["ant", "bee", "cat"])
