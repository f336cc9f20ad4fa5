"""What `headstart check` says of native instructions."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import edit_params
from studies import DIGITS, study, write_parameters

from headstart.core import runtime
from headstart.core.errors import UserError
from headstart.data import digits
from headstart.study import native


def test_processor_without_more_than_avx2_is_told_and_nothing_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t\t: sse fma avx avx2 avx_vnni\n")
    monkeypatch.setattr(runtime, "_PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(native, "_apart", None)
    assert native.savings(study(), (28, 28)).endswith("save nothing: the processor stops at AVX2")


def test_images_too_small_for_a_network_are_one_message_before_anything_is_measured() -> None:
    network = {"name": "cnn", "filters": [4] * 5, "dense": [], "activation": "relu"}
    with pytest.raises(UserError, match=r"^study/params\.yaml: grid\.networks: .* 8 x 8 pixels"):
        native.savings(study(networks=[network]), (8, 8))


@pytest.mark.slow
def test_check_says_what_native_would_save_each_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.write(tmp_path / "data/raw/digits")
    write_parameters(tmp_path, DIGITS)
    edit_params(tmp_path / "params.yaml", {"tasks.target_classes": "['3', '8']"})
    command = [sys.executable, "-m", "headstart.cli", "check"]
    said = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True).stdout
    (line,) = re.findall("replicas.instructions: .*", said)
    if runtime.beyond_avx2():
        assert re.search(r"of a training: mlp_16_8 -?\d+ %, mlp_300.* -?\d+ %, cnn -?\d+ %", line)
    else:
        assert "stops at AVX2" in line
