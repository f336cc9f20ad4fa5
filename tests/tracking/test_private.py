"""MLflow's private surfaces: what `tracking/private.py` leans on is there in this version."""

import contextlib
import importlib.metadata
import inspect
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from headstart.tracking import private

TABLES = {
    "experiments": {"name", "artifact_location"},
    "runs": {"run_uuid", "lifecycle_stage", "artifact_uri"},
    "registered_model_aliases": {"name", "alias"},
}


def gone(surface: str) -> str:
    """What to read where a surface is not as it was."""
    import mlflow

    return (
        f"MLflow {mlflow.__version__} has no longer {surface}, which tracking/private.py uses as "
        f"it was in {private.READ_FROM}: read the new version, mend private.py and raise READ_FROM"
    )


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_the_database_have_the_columns_that_are_read_and_written(
    fresh_store: Path, table: str
) -> None:
    with contextlib.closing(sqlite3.connect(fresh_store)) as opened:
        columns = {row[1] for row in opened.execute(f"PRAGMA table_info({table})")}
    lost = TABLES[table] - columns
    assert not lost, gone(f"the columns {lost} of the table {table}")


def test_store_can_be_made_in_a_file_of_our_choice() -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    first, second, *_ = list(inspect.signature(SqlAlchemyStore).parameters.values())
    assert (first.name, second.name) == ("db_uri", "default_artifact_root"), gone(
        "SqlAlchemyStore(db_uri, default_artifact_root)"
    )
    assert "artifact_location" in inspect.signature(SqlAlchemyStore.create_experiment).parameters, (
        gone("SqlAlchemyStore.create_experiment(artifact_location=)")
    )
    assert "self.engine" in inspect.getsource(SqlAlchemyStore.__init__), gone(
        "SqlAlchemyStore.engine"
    )


def test_served_model_can_take_its_input_as_it_comes() -> None:
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    signature: Any = ModelSignature(inputs=Schema([ColSpec("long")]))
    name = "_is_signature_from_type_hint"
    assert hasattr(signature, name), gone(f"ModelSignature.{name}")
    private.take_input_as_it_comes(signature)
    assert signature._is_signature_from_type_hint
    # Read, not imported: it warns of its own type hints.
    server = Path(mlflow.__file__).parent / "pyfunc/scoring_server/__init__.py"
    assert name in server.read_text(), gone(f"{name} where it serves")


def test_version_that_was_read_is_one_that_may_be_installed() -> None:
    from packaging.requirements import Requirement

    needs = [Requirement(text) for text in importlib.metadata.requires("headstart") or ()]
    (mlflow,) = (need for need in needs if need.name == "mlflow")
    assert private.READ_FROM in mlflow.specifier
