"""Starting up: quick, quiet, and with everything fixed that changes a result."""

import subprocess
import sys

from projects import ROOT, clean_environment

PROGRAM = """
from headstart.core import runtime
runtime.fix(3)
import sys
print(sorted({"matplotlib", "pandas", "sklearn"} & set(sys.modules)))
import sklearn.metrics, matplotlib.figure, pandas
import keras, tensorflow as tf
print(tf.config.threading.get_intra_op_parallelism_threads())
print(tf.config.threading.get_inter_op_parallelism_threads())
print(keras.backend.backend(), float(keras.random.uniform(())), gc.isenabled())
"""


def started() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import gc\n" + PROGRAM],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )


def test_start_is_quiet_repeatable_and_leaves_no_package_hidden() -> None:
    first, second = started(), started()
    assert first.stdout == second.stdout
    lines = first.stdout.splitlines()
    assert lines[:3] == ["[]", "2", "1"]
    assert lines[3].startswith("tensorflow ")
    assert lines[3].endswith(" True")
    assert first.stderr == ""
