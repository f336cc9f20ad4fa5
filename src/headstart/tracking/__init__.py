"""The lab book: MLflow as a projection of what DVC and git keep.

The only package that knows MLflow. Importing it costs nothing: MLflow itself is imported by a
child process (`recorder`, `publisher`) or when something is published.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.core.errors import UserError, warn
from headstart.core.runtime import quick_imports
from headstart.tracking.last_publication import published
from headstart.tracking.spawn import publisher, recorder, switched_on
from headstart.tracking.store import address, project_root

if TYPE_CHECKING:
    from headstart.tracking.labbook import Summary

# Read by MLflow when it is imported, wherever in this folder that happens first.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

__all__ = [
    "address",
    "project_root",
    "publish",
    "publish_all",
    "publish_study",
    "published",
    "publisher",
    "recorder",
]


def publish(root: Path, *, rev: str | None = None) -> "Summary":
    """Makes the MLflow store match the project; returns what was written and what was there.

    Args:
        root: The project's top folder.
        rev: A commit, branch or tag to publish from what lies in git, without checking it out;
            the workspace when None.

    Raises:
        UserError: The store cannot be reached, or there is no complete result to publish.
    """
    with quick_imports():
        from headstart.tracking import publication

    return publication.publish(root, rev=rev)


def publish_all(root: Path) -> "dict[str, Summary | str]":
    """Publishes every branch and tag; returns what became of each, or why there was nothing.

    Raises:
        UserError: The store cannot be reached, or `root` is in no git repository.
    """
    with quick_imports():
        from headstart.tracking import publication

    return publication.publish_all(root)


def publish_study(root: Path, section: str) -> None:
    """Writes the study of a section to MLflow at the end of its stage; trouble is one warning."""
    if not switched_on():
        return
    try:
        with quick_imports():
            from headstart.tracking import publication

        publication.publish_study(root, section)
    except UserError as error:
        again = f"headstart study publish --section {section}"
        warn(f"MLflow lacks this study: {error}; `{again}` sends it")
