"""Answers the section `claims` of study/params.yaml: the notebook's claims on several tasks.

Reads study/params.yaml and data/raw/<dataset>/; writes metrics/study/claims/.
"""

import _checkout  # noqa: F401

from headstart.errors import reported
from headstart.study import stage

if __name__ == "__main__":
    with reported():
        stage.answer("claims")
