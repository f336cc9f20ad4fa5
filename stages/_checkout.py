"""Puts the library of this checkout before any installed one; every stage imports this first.

An editable install points every clone and every experiment folder at one checkout's code. A project
of `headstart init` has no library of its own: there the installed one has to be that of its
headstart.lock.
"""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

locked = Path("headstart.lock").is_file()

if importlib.util.find_spec("pydantic") is None:
    print(
        f"error: {sys.executable} lacks headstart's packages; activate the environment "
        f"(source .venv/bin/activate) or use `{'headstart' if locked else 'make'} run`",
        file=sys.stderr,
    )
    raise SystemExit(1)

if locked:
    from headstart.core.errors import reported
    from headstart.project import lock

    with reported():
        lock.verify(Path.cwd(), Path(sys.argv[0]))
