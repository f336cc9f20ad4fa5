"""A strategy is a row of one table: nothing else in the house knows one by its name."""

import ast
from pathlib import Path

import pytest
from projects import ROOT

from headstart.params.strategies import STRATEGIES

FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("src/headstart", "stages")
    for path in (ROOT / folder).rglob("*.py")
)


def names(node: ast.AST) -> set[str]:
    """The strategies that a node holds as text."""
    texts = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and text in STRATEGIES}


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_compared_with_the_name_of_a_strategy(path: str) -> None:
    tree = ast.parse(Path(ROOT / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            assert not names(node), f"{path}, line {node.lineno}: ask the table of strategies"
