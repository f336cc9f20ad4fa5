"""Answers the section `grid` of study/params.yaml: the question for the target task at hand.

Reads study/params.yaml and data/raw/<dataset>/; writes metrics/study/grid/.
"""

import _checkout  # noqa: F401

from headstart.errors import reported
from headstart.study import stage

if __name__ == "__main__":
    with reported():
        stage.answer("grid")
