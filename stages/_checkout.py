"""Puts the library of this checkout before any installed one; every stage imports this first.

An editable install points every clone and every experiment folder at one checkout's code.
"""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

if importlib.util.find_spec("pydantic") is None:
    print(
        f"error: {sys.executable} lacks headstart's packages; activate the environment "
        "(source .venv/bin/activate) or use `make run`",
        file=sys.stderr,
    )
    raise SystemExit(1)
