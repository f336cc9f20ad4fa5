"""Answers a section of study/params.yaml: the study at many seeds and label budgets.

Reads params.yaml, study/params.yaml and data/raw/<dataset>/; writes metrics/study/SECTION/.
"""

import os
import sys
from pathlib import Path

import _checkout  # noqa: F401

from headstart import tracking
from headstart.core.errors import reported
from headstart.study import stage


def main(section: str) -> None:
    stage.answer(section)
    tracking.publish_study(Path.cwd(), section)
    if note := os.environ.get("HEADSTART_SHOWN"):
        Path(note).write_text("shown\n")


if __name__ == "__main__":
    with reported():
        main(sys.argv[1])
