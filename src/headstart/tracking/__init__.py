"""The lab book: MLflow as a projection of what DVC and git keep, and the only package that knows it.

Importing this package costs nothing: MLflow is imported by a child process (`recorder`,
`publisher`) or when `publish` is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from headstart.tracking.recorder import publisher, recorder
from headstart.tracking.store import address, masked, project_root

if TYPE_CHECKING:
    from headstart.tracking.labbook import Summary

__all__ = ["address", "masked", "project_root", "publish", "publisher", "recorder"]


def publish(root: Path, *, rev: str | None = None) -> "Summary":
    """Makes the MLflow store match the project at `root`; returns what was written and what was there.

    Args:
        root: The project's top folder.
        rev: A commit, branch or tag to publish from what lies in git, without checking it out;
            the workspace when None.

    Raises:
        UserError: The store cannot be reached, or there is no complete result to publish.
    """
    from headstart.tracking import labbook

    return labbook.publish(root, rev=rev)
