"""Data of one's own as the download stage takes it, or refuses it; and bytes that are spoiled."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.data import own, raw_data

PIXELS = np.random.default_rng(3).integers(0, 256, (40, 6, 5), dtype=np.uint8)


def gathered(path: Path, *, classes: Any = "auto", image_size: Any = "auto") -> raw_data.Raw:
    """Returns what the download stage leaves of the folder or file `path`, beside it in raw/."""
    folder = path.parent / "raw"
    own.write(path, folder, classes=classes, image_size=image_size)
    return raw_data.read("own", folder, classes=classes)


def refusal(path: Path, **options: Any) -> str:
    """Returns why `gathered` refuses `path`; nothing half-written is left."""
    with pytest.raises(UserError) as refused:
        gathered(path, **options)
    assert not list((path.parent / "raw").glob(".*")), "something half-written is left"
    return str(refused.value)


def spoiled(data: st.DataObject, good: bytes) -> bytes:
    """Returns `good` with some bytes changed, cut out or put in."""
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        kind = data.draw(st.sampled_from(["set", "cut", "end", "put"]))
        if kind == "set" and content:
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 40))]
        elif kind == "end":
            del content[at:]
        else:
            content[at:at] = data.draw(st.binary(max_size=20))
    return bytes(content)


FUZZ = settings(
    max_examples=int(os.environ.get("HEADSTARTFUZZ", "60")),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
