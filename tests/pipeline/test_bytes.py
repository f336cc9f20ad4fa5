"""The same bytes wherever a clean run happens, as far as one machine can show it."""

from pathlib import Path
from typing import Any

from projects import SMALL, Project, edit_params, kept_in_git, new_checkout

# What users and clusters set for other programs, and what makes NumPy, BLAS and the C library
# believe in an older processor.
OTHER_MACHINE: dict[str, Any] = {
    "OMP_NUM_THREADS": "3",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Nehalem",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "5",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,-AVX512DQ",
}


def test_clean_run_elsewhere_on_another_machine_without_git_gives_the_same_bytes(
    small: Project, raw: Path, tmp_path: Path
) -> None:
    # Another folder, another source of the raw files, a path with spaces, and no git at all.
    other = new_checkout(tmp_path / "a folder" / "without git", git=False)
    edit_params(other.root / "params.yaml", SMALL | {"dataset.sources": f"['{raw}']"})
    assert len(other.repro(HEADSTART_MIRROR="", **OTHER_MACHINE)) == 6
    assert kept_in_git(other) == kept_in_git(small)
