"""YAML as this project reads and edits it.

PyYAML reads YAML 1.1 and DVC YAML 1.2: some plain words mean different things to the two. Files
that people write are held to what both agree on; `dvc.lock` is read as DVC wrote it.
"""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from headstart.core.errors import UserError

_TAG = "tag:yaml.org,2002:"
# How both versions write a word of this kind.
_UNDISPUTED = {
    f"{_TAG}bool": re.compile(r"true|false", re.IGNORECASE),
    f"{_TAG}int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    f"{_TAG}float": re.compile(
        r"[-+]?[0-9]*\.[0-9]*(e[-+][0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE
    ),
}


class _AsDvcWrote(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's loader, to which 1e-05 is a number."""


class _Strict(yaml.SafeLoader):
    """PyYAML's loader, with doubled keys and disputed words refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refused(f"the key {key!r} is not text", key_node)
            if key in keys:
                # PyYAML keeps the last one in silence.
                raise _refused(f"the key '{key}' stands here a second time", key_node)
            keys.add(key)
        return super().construct_mapping(node, deep)

    def construct_undisputed(self, node: yaml.ScalarNode) -> Any:
        if not _UNDISPUTED[node.tag].fullmatch(node.value):
            raise _refused(
                f"'{node.value}' means different things to YAML readers; write a plain decimal "
                "number such as 0.001, true or false, or text in quotes",
                node,
            )
        return yaml.SafeLoader.yaml_constructors[node.tag](self, node)


for _loader in (_AsDvcWrote, _Strict):
    _loader.add_implicit_resolver(
        f"{_TAG}float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )
for _tag in _UNDISPUTED:
    _Strict.add_constructor(_tag, _Strict.construct_undisputed)


def _refused(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def parameters(text: str, name: str) -> Any:
    """Returns the values of a file that people write; `name` stands for it in messages.

    Raises:
        UserError: It is not YAML, a key stands there twice or is no text, or a word is one that
            readers of YAML disagree on (yes, 1e-3, 010): with its line.
    """
    return _loaded(text, name, _Strict)


def written_by_dvc(text: str, name: str) -> Any:
    """Returns the values of a `dvc.lock`; `name` stands for it in messages.

    Raises:
        UserError: It is not YAML: with its line.
    """
    return _loaded(text, name, _AsDvcWrote)


def _loaded(text: str, name: str, loader: Callable[[str], Any]) -> Any:
    try:
        return yaml.load(text, Loader=loader)  # type: ignore[arg-type]  # noqa: S506 (safe loaders)
    except RecursionError as error:
        raise UserError(f"{name}: is nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}, line {mark.line + 1}, column {mark.column + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error)
        if "'\\t'" in problem:
            problem = "a tab stands where YAML allows only spaces; indent with spaces"
        raise UserError(f"{where}: {problem}") from error


def edited(text: str, values: Mapping[str, str]) -> str:
    """Returns `text` with values replaced, and its comments, order and quotes kept.

    Values are YAML by dotted key; the sections on the way must be there.
    """
    from ruamel.yaml.error import CommentMark

    document = round_trip(text)
    for key, value in values.items():
        *sections, last = key.split(".")
        place = document
        for section in sections:
            place = place[section]
        comment = _comment_below(place.get(last))
        place[last] = round_trip(value)
        if comment:
            place.ca.items[last] = [None, None, comment, None]
        if beside := place.ca.items.get(last, [None] * 3)[2]:
            # One space after the value, not the column where the comment began.
            beside.start_mark = CommentMark(0)
    return as_text(document)


def round_trip(text: str) -> Any:
    """Returns YAML as dicts and lists that keep comments, for `as_text`."""
    return _editor().load(text)


def as_text(document: Any) -> str:
    """Returns the text of what `round_trip` gave, as this project lays it out."""
    stream = io.StringIO()
    _editor().dump(document, stream)
    return stream.getvalue()


def _editor() -> Any:
    # Slow to import, and needed only to edit.
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Writes null where ruamel writes nothing."""

    Representer.add_representer(
        type(None), lambda self, _: self.represent_scalar(f"{_TAG}null", "null")
    )
    editor = YAML()
    editor.Representer = Representer
    editor.preserve_quotes = True
    editor.indent(mapping=2, sequence=4, offset=2)
    editor.width = 4096
    return editor


def _comment_below(node: Any) -> Any:
    """Returns the lines below a block as ruamel keeps them: with the block's last entry."""
    if not isinstance(node, dict | list) or not node:
        return None
    last = len(node) - 1 if isinstance(node, list) else list(node)[-1]
    if deeper := _comment_below(node[last]):
        return deeper
    comments: Any = node
    for token in comments.ca.items.get(last, ()):
        if token is not None:
            # Without what stands beside the entry itself.
            token.value = token.value[token.value.index("\n") :]
            return token
    return None
