"""Answers a section of study/params.yaml, `grid` or `claims`: the study at many seeds and budgets.

Reads params.yaml, study/params.yaml and data/raw/<dataset>/; writes metrics/study/SECTION/.
"""

import sys
from pathlib import Path

import _checkout  # noqa: F401

from headstart.core.errors import UserError, reported, warn
from headstart.study import stage


def main(section: str) -> None:
    stage.answer(section)
    try:
        from headstart.tracking import studies

        studies.publish(Path.cwd(), section)
    except UserError as error:
        again = f"headstart study publish --section {section}"
        warn(f"MLflow lacks this study: {error}; `{again}` sends it")


if __name__ == "__main__":
    with reported():
        main(sys.argv[1])
