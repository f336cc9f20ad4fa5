"""Where the time of a stage goes, by looking every few milliseconds at what its process does.

benchmarks/pipeline.py lets every Python of a cold `dvc repro` import this at its start. A thread
gives the time since its last look to the phase of the stack that it sees, so that also a call that
holds the interpreter for long, such as the loading of a library, is counted whole.
"""

import atexit
import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

RESULTS = "PIPELINE_PHASES"
_LOOK_SECONDS = 0.004
# From the outermost frame inwards the first that fits decides: parts of the names of its file and
# function, and the phase.
_RULES = (
    ("headstart/core/runtime.py", "fix", "TensorFlow and Keras"),
    ("<frozen importlib", "", "other imports"),
    ("headstart/tracking", "", "MLflow"),
    ("headstart/core/artefacts.py", "", "reading and writing"),
    ("headstart/learning/networks.py", "load", "reading and writing"),
    ("headstart/data", "", "reading and writing"),
    ("headstart/learning/networks.py", "", "networks and graphs"),
    ("polymorphic_function.py", "_initialize", "networks and graphs"),
    ("headstart/reporting", "", "pictures and page"),
    ("headstart/judging", "", "scores"),
)
# Where none fits: what trains and predicts, then our own Python.
_TRAINING = ("headstart/learning", "headstart/transfer")
PHASES = (
    "start of Python",
    "other imports",
    "TensorFlow and Keras",
    "reading and writing",
    "networks and graphs",
    "arithmetic",
    "scores",
    "pictures and page",
    "MLflow",
    "rest",
)


def begin() -> None:
    """Starts looking, where this is a stage; at its end a line of JSON goes to $PIPELINE_PHASES."""
    scripts = [Path(word) for word in sys.orig_argv if "stages/" in word]
    if not scripts or RESULTS not in os.environ:
        return
    spent = dict.fromkeys(PHASES, 0.0)
    spent["start of Python"] = _age()
    main, last = threading.main_thread().ident, time.perf_counter()

    def look() -> None:
        nonlocal last
        frame, now = sys._current_frames().get(main or 0), time.perf_counter()
        spent[_phase(frame)] += now - last
        last = now

    def watch() -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            look()

    def end() -> None:
        look()
        line = json.dumps({"stage": scripts[0].stem, "seconds": spent})
        with Path(os.environ[RESULTS]).open("a") as file:
            file.write(f"{line}\n")

    atexit.register(end)
    threading.Thread(target=watch, daemon=True).start()


def _phase(frame: FrameType | None) -> str:
    stack = []
    while frame is not None:
        stack.append((frame.f_code.co_filename, frame.f_code.co_name))
        frame = frame.f_back
    for file, function in reversed(stack):
        for part, name, phase in _RULES:
            if part in file and name in function:
                return phase
    trains = any(part in file for file, _ in stack for part in _TRAINING)
    return "arithmetic" if trains else "rest"


def _age() -> float:
    """Returns the seconds since this process was started, by the kernel's clock (Linux)."""
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / os.sysconf("SC_CLK_TCK")
