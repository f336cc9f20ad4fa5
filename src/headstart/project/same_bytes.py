"""The bytes: what a run writes and git keeps, compared with what is committed."""

import math
import re
from pathlib import Path

from headstart.core.errors import UserError
from headstart.params import yaml_text
from headstart.project import dvc

KEPT = ("dvc.lock", "study/dvc.lock", "metrics")
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
    stages = yaml_text.written_by_dvc(text, name)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def _last_digits_only(here: str, there: str) -> bool:
    if _FRACTION.sub("#", here) != _FRACTION.sub("#", there):
        return False
    return all(
        math.isclose(float(ours), float(theirs), rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
        for ours, theirs in zip(_FRACTION.findall(here), _FRACTION.findall(there), strict=True)
    )
