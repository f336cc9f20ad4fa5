"""README.md's numbers are those of the committed run."""

import sys

from projects import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import readme


def test_results_are_those_of_the_committed_run() -> None:
    text = (ROOT / "README.md").read_text()
    assert readme.page(text) == text
