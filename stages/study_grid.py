"""Answers the section `grid` of study/params.yaml: the question for the target task at hand.

Reads study/params.yaml and data/raw/<dataset>/; writes metrics/study/grid/.
"""

from pathlib import Path

import _checkout  # noqa: F401

from headstart.core.errors import UserError, reported, warn
from headstart.study import stage


def main() -> None:
    stage.answer("grid")
    try:
        from headstart.tracking import studies

        studies.publish(Path.cwd(), "grid")
    except UserError as error:
        warn(f"MLflow lacks this study: {error}; `headstart study publish --section grid` sends it")


if __name__ == "__main__":
    with reported():
        main()
