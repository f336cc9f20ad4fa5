"""Whether bytes are the same: of what git keeps, as in the commit; in DVC's cache, as its names.

DVC names a cached file by its MD5 and trusts it while its date is unchanged: `dvc status`,
`checkout` and `pull` hand out a damaged one unnoticed. Only hashing shows it.
"""

import contextlib
import json
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from headstart.core.artefacts import md5
from headstart.core.errors import UserError
from headstart.params import yaml_text
from headstart.project import dvc

KEPT = ("dvc.lock", "study/dvc.lock", "metrics")
_DIR = ".dir"
# Fractions, with or without exponent: whole numbers are counts.
_FRACTION = re.compile(r"-?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")
# Ten units of the sixth significant digit, two of the sixth decimal.
_RELATIVE, _ABSOLUTE = 1e-5, 2e-6


def compared(root: Path) -> list[str]:
    """Returns how the bytes in `root` differ from those of its last commit, a sentence a file.

    A single sentence says that none does.

    Raises:
        UserError: There is no commit to compare with.
    """
    try:
        listed = dvc.git(root, "ls-tree", "-r", "-z", "--name-only", "HEAD", *KEPT)
    except UserError as error:
        raise UserError(f"there is no commit to compare the bytes with: {error}") from error
    names = [name for name in listed.decode().split("\0") if name]
    sentences = [text for name in names if (text := _difference(root, name))]
    same = f"the bytes are those of the last commit: {len(names)} files in {', '.join(KEPT)}"
    return sentences or [same]


def _difference(root: Path, name: str) -> str | None:
    committed = dvc.git(root, "show", f"HEAD:./{name}")
    path = root / name
    if not path.is_file():
        return f"{name}: is missing; `dvc repro` makes it again"
    here = path.read_bytes()
    if here == committed:
        return None
    if name.endswith("dvc.lock"):
        ours, theirs = (_outputs(text.decode(), name) for text in (here, committed))
        others = sorted(out for out in ours | theirs if ours.get(out) != theirs.get(out))
        what = f"other bytes of {', '.join(others)}" if others else "the same outputs, made anew"
        return f"{name}: holds {what}"
    if path.suffix not in (".csv", ".json"):
        return f"{name}: differs"
    last = _last_digits_only(here.decode(), committed.decode())
    return f"{name}: differs {'only in last digits' if last else 'in more than last digits'}"


def _outputs(text: str, name: str) -> dict[str, str]:
    """Returns the hash of each output that a dvc.lock names."""
    stages = yaml_text.written_by_dvc(text, name)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def _last_digits_only(here: str, there: str) -> bool:
    if _FRACTION.sub("#", here) != _FRACTION.sub("#", there):
        return False
    return all(
        math.isclose(float(ours), float(theirs), rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
        for ours, theirs in zip(_FRACTION.findall(here), _FRACTION.findall(there), strict=True)
    )


def damaged(root: Path) -> tuple[int, list[str]]:
    """Returns how many files DVC's cache holds, and for each damaged one what mends it.

    Raises:
        UserError: DVC does not say where its cache is.
    """
    cache = root / dvc.run(root, "cache", "dir").strip() / "files/md5"
    files = sorted(cache.glob("[0-9a-f][0-9a-f]/*"))
    broken = [path for path in files if md5(path) != _named(path).removesuffix(_DIR)]
    paths: dict[str, list[str]] = {}
    for path, name in _cached(root, cache) if broken else ():
        paths.setdefault(name, []).append(path)
    return len(files), [_mended(root, path, paths.get(_named(path), [])) for path in broken]


def _named(path: Path) -> str:
    return path.parent.name + path.name


def _cached(root: Path, cache: Path) -> Iterator[tuple[str, str]]:
    """Yields paths that dvc.lock names, down into folders, with their hashes."""
    lock = root / "dvc.lock"
    for path, name in _outputs(lock.read_text(), lock.name).items() if lock.is_file() else ():
        yield path, name
        if name.endswith(_DIR):
            # A listing that is missing or damaged itself is told as such.
            with contextlib.suppress(OSError, ValueError):
                for entry in json.loads((cache / name[:2] / name[2:]).read_text()):
                    yield f"{path}/{entry['relpath']}", entry["md5"]


def _mended(root: Path, file: Path, outputs: Sequence[str]) -> str:
    """Returns what is damaged, and the command that mends it without a chance to lose more."""
    path = shlex.quote(str(file))
    if not outputs:
        return f"{file}: is damaged, a file of another commit: rm -f {path}"
    out = root / outputs[0]
    if out.is_file() and md5(out) == _named(file):
        return f"{file}: is damaged, {out} is not: cp -f {shlex.quote(str(out))} {path}"
    return (
        f"{file}: is damaged ({', '.join(outputs)}): rm -f {path}, then `dvc pull` "
        "where a remote has it, else `headstart run --force`"
    )
