"""Starting up: quick, quiet, and with everything fixed that changes a result."""

import os
import subprocess
import sys

import pytest
from projects import ROOT, clean_environment

from headstart.core import runtime

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

# What a first network and a head compute: a product by oneDNN, and one that XLA compiles.
COMPUTE = """
from headstart.core import runtime
if early: runtime.fix(0)
import hashlib, numpy as np, tensorflow as tf
if late: runtime.fix(0)
draw = np.random.default_rng(0)
images, weights = draw.random((32, 784), np.float32), draw.random((784, 300), np.float32)
product = tf.function(lambda x: tf.matmul(x, weights))(images)
compiled = tf.function(lambda x: tf.reduce_sum(tf.sigmoid(x), axis=0), jit_compile=True)(images)
print(hashlib.sha256(product.numpy().tobytes() + compiled.numpy().tobytes()).hexdigest())
"""


def started(program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import gc\n" + program],
        env=clean_environment() | {"PYTHONPATH": str(ROOT / "src")} | environment,
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


def test_instructions_are_capped_whatever_the_environment_says() -> None:
    """Without the cap the products of other instructions and threads differ."""
    early = started("early, late = True, False\n" + COMPUTE)
    late = started("early, late = False, True\n" + COMPUTE)
    other = started(
        "early, late = True, False\n" + COMPUTE,
        ONEDNN_MAX_CPU_ISA="SSE41",
        XLA_FLAGS="--xla_cpu_max_isa=SSE4_2 --xla_cpu_enable_fast_math=false",
        OMP_NUM_THREADS="1",
        TF_NUM_INTRAOP_THREADS="1",
        TF_NUM_INTEROP_THREADS="7",
        TF_ENABLE_ONEDNN_OPTS="0",
    )
    assert early.stdout == late.stdout == other.stdout


def test_threads_that_cannot_be_fixed_any_more_are_told() -> None:
    program = """
import tensorflow as tf
tf.constant(1.0) + 1
from headstart.core import errors, runtime
try:
    runtime.fix(0)
except errors.UserError as error:
    print(error)
"""
    assert "start with headstart in a new process" in started(program).stdout


def test_native_instructions_lift_the_cap_and_leave_other_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    runtime._cap(runtime.AVX2)
    if runtime._CAP:
        assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"
        assert os.environ["XLA_FLAGS"].endswith("=false --xla_cpu_max_isa=AVX2")
        runtime._cap(runtime.NATIVE)
        assert "ONEDNN_MAX_CPU_ISA" not in os.environ
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
