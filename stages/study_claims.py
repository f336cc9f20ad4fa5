"""Answers the section `claims` of study/params.yaml: the notebook's claims on several tasks.

Reads study/params.yaml and data/raw/<dataset>/; writes metrics/study/claims/.
"""

from pathlib import Path

import _checkout  # noqa: F401

from headstart.core.errors import UserError, reported, warn
from headstart.study import stage


def main() -> None:
    stage.answer("claims")
    try:
        from headstart.tracking import studies

        studies.publish(Path.cwd(), "claims")
    except UserError as error:
        warn(
            f"MLflow lacks this study: {error}; `headstart study publish --section claims` sends it"
        )


if __name__ == "__main__":
    with reported():
        main()
