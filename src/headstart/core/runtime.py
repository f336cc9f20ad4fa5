"""What makes a training repeatable to the bit and quick to start; runs before Keras is imported."""

import contextlib
import functools
import gc
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headstart.core.errors import UserError

# Values change with the number of threads and with oneDNN: both are part of the result.
_INTRA_OP_THREADS = 2
_INTER_OP_THREADS = 1
AVX2, NATIVE = "avx2", "native"
"""Kernels held to what every processor has, or all that this one offers."""

_CAP = "AVX2" if platform.machine() in ("x86_64", "AMD64") else ""
"""The newest instructions that kernels use: wider ones round differently. Empty: not x86-64."""
_XLA_CAP = f"--xla_cpu_max_isa={_CAP}"
_PROCESSOR = Path("/proc/cpuinfo")
_WIDER = ("avx512", "avx10", "amx")
# Keras and TensorFlow import these where they are installed, for wrappers, drawings and sparse data
# that nothing here uses: a third of their start-up.
_OPTIONAL_TO_KERAS = ("matplotlib", "pandas", "scipy", "sklearn")


@contextlib.contextmanager
def quick_imports(*, without: Sequence[str] = ()) -> Iterator[None]:
    """Keeps the garbage collector off while big libraries are imported: half the time of a start.

    What they made lives as long as the process, so it is frozen out of later collections. The
    packages `without` look meanwhile as if they were not installed: those that are optional to
    what is imported, slow, and of no use here.
    """
    gc.disable()
    try:
        with _hidden(*without):
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Makes packages look as if they were not installed; afterwards they can be imported."""
    names = [name for name in packages if name not in sys.modules]
    # The documented way to make an import fail (Python's reference, 5.3.1).
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Holds back what TensorFlow's C++ side writes to stderr while it looks for its devices.

    It comes before any log level is read (TensorFlow 2.21), speaks of missing GPUs as errors,
    and would be the first thing that a user of a CPU sees. A failed start shows it all.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _cap(instructions: str) -> None:
    """Keeps oneDNN and XLA from instructions that not every processor has, or lets them.

    Both look when they compute for the first time. The last of XLA's flags counts, so that a
    user's other flags stay.
    """
    if not _CAP:
        return
    flags = os.environ.get("XLA_FLAGS", "").removesuffix(_XLA_CAP)
    if instructions == NATIVE:
        os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
        os.environ["XLA_FLAGS"] = flags.strip()
    else:
        os.environ["ONEDNN_MAX_CPU_ISA"] = _CAP
        os.environ["XLA_FLAGS"] = f"{flags.strip()} {_XLA_CAP}".strip()


def kernels(instructions: str) -> str:
    """Returns what decides which kernels compute: the cap, or all that this processor offers.

    Flags, since processors of one model name differ in them.
    """
    return " ".join(_offered()) if instructions == NATIVE else _CAP


def beyond_avx2() -> tuple[str, ...]:
    """Returns this processor's instructions that the cap keeps kernels from."""
    return tuple(flag for flag in _offered() if flag.startswith(_WIDER)) if _CAP else ()


def _offered() -> tuple[str, ...]:
    """Returns the instructions for vectors and matrices; outside Linux the processor's name."""
    if not _PROCESSOR.is_file():
        return (platform.processor(),)
    lines = _PROCESSOR.read_text(encoding="utf-8").splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return tuple(sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma"))))


def _binary_cross_entropy(tf: Any) -> Any:
    """Returns TensorFlow's loss, which Keras calls by its name, with its gradient in closed form.

    TensorFlow's own goes through a reciprocal, and takes that from the processor's estimate
    (rcpps), in which Intel and AMD differ. Divisions are exact.
    """
    original = tf.nn.sigmoid_cross_entropy_with_logits
    original = getattr(original, "__wrapped__", original)

    @functools.wraps(original)
    def loss(labels: Any = None, logits: Any = None, name: str | None = None) -> Any:
        @tf.custom_gradient
        def exact(labels: Any, logits: Any) -> Any:
            value = original(labels=labels, logits=logits, name=name)
            return value, lambda up: (-up * logits, up * (tf.sigmoid(logits) - labels))

        return exact(tf.convert_to_tensor(labels), tf.convert_to_tensor(logits))

    return loss


def fix(
    seed: int,
    *,
    intra_op_threads: int = _INTRA_OP_THREADS,
    inter_op_threads: int = _INTER_OP_THREADS,
    instructions: str = AVX2,
) -> None:
    """Imports TensorFlow and Keras with seeds, threads, kernels and instructions fixed.

    Every x86-64 processor from AVX2 up then gives the same bytes; ARM rounds differently.

    Args:
        seed: Seeds Python, NumPy, TensorFlow and Keras, for any draw that has no name of its own.
        intra_op_threads, inter_op_threads: Within an operation, and operations side by side.
        instructions: AVX2, or NATIVE for all that this processor offers, whose bytes do not
            travel.

    Raises:
        UserError: TensorFlow has computed with other threads before, and chosen its kernels.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    _cap(instructions)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with quick_imports(without=_OPTIONAL_TO_KERAS), _quiet_start():
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
    except RuntimeError as error:
        raise UserError(
            "TensorFlow has computed in this process before headstart fixed its threads and "
            "instructions, which are part of every result; start with headstart in a new process"
        ) from error
    tf.config.experimental.enable_op_determinism()
    tf.nn.sigmoid_cross_entropy_with_logits = _binary_cross_entropy(tf)
    keras.utils.set_random_seed(seed)


def fix_for_replicas(threads: int, instructions: str) -> None:
    """Imports TensorFlow as `fix` does, for networks side by side, one a thread."""
    fix(0, intra_op_threads=1, inter_op_threads=threads, instructions=instructions)
