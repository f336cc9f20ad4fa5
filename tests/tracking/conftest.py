"""What several tests of the lab book share."""

from pathlib import Path

import labbooks
import pytest


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; making one takes seconds, so tests copy it."""
    return labbooks.new_store(tmp_path_factory.mktemp("store") / "mlflow.db")
