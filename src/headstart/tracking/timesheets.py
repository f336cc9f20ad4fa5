"""When and where a training ran, for runs that are written after it.

A training that is over too soon to be shown live leaves a timesheet beside the store, by its stage
and the hash of its model. The publication that writes its run reads it; nothing else does, and
without it a run is whole but for these.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headstart.core import artefacts
from headstart.tracking.identity import STAGES, TrainingRun
from headstart.tracking.provenance import process, provenance
from headstart.tracking.revisions import Workspace
from headstart.tracking.store import home

_FOLDER = Path(".headstart/trainings")
# So many stay, the youngest: hundreds of bytes each.
_KEPT = 500
# No later than MLflow's own integers go.
_Seconds = Annotated[float, Field(gt=0, lt=1e12, allow_inf_nan=False)]
_Tag = Annotated[
    str, Field(pattern=r"^(provenance\.\w+|mlflow\.user|mlflow\.source\.git\.commit)$")
]


class Timesheet(BaseModel):
    """The times of one training, in seconds since 1970, and its provenance as tags."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stage: str
    model: str
    began: _Seconds
    epochs: list[_Seconds]
    """The end of each epoch."""
    ended: _Seconds
    tags: dict[_Tag, Annotated[str, Field(max_length=1000)]]

    @model_validator(mode="after")
    def _in_order(self) -> "Timesheet":
        times = [self.began, *self.epochs, self.ended]
        if any(earlier > later for earlier, later in itertools.pairwise(times)):
            raise ValueError("times that go back")
        return self


def leave(root: Path, stage: str, *, began: float, epochs: Sequence[float]) -> None:
    """Writes the timesheet of a training that ends now, its model written to `root`."""
    ended = time.time()
    tags = provenance(root, Workspace(root)) | process(os.getpid())
    sheet = Timesheet(
        stage=stage,
        model=artefacts.md5(root / STAGES[stage].model),
        began=began,
        epochs=list(epochs),
        ended=ended,
        tags={**tags, "provenance.seconds": f"{ended - began:.1f}"},
    )
    # Not being able to note it costs the run its times, nothing else.
    with contextlib.suppress(OSError):
        artefacts.write_json(_file(root, stage, sheet.model), sheet.model_dump())
        sheets = sorted(
            (home(root) / _FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime
        )
        for old in sheets[:-_KEPT]:
            old.unlink()


def read(root: Path, run: TrainingRun, *, epochs: int) -> Timesheet | None:
    """Returns the timesheet of a training with so many epochs; None where none fits it."""
    try:
        content = _file(root, run.stage.name, run.model).read_bytes()
        sheet = Timesheet.model_validate_json(content)
    except (OSError, ValueError):
        return None
    fits = (sheet.stage, sheet.model, len(sheet.epochs)) == (run.stage.name, run.model, epochs)
    return sheet if fits else None


def _file(root: Path, stage: str, model: str) -> Path:
    return home(root) / _FOLDER / f"{stage}-{model}.json"
