"""Projects of `headstart init`, for the tests to run and change."""

from pathlib import Path
from typing import Any

from projects import ROOT, Project, edit_params

from headstart.project import init
from headstart.study import default_grid

QUICK = {
    "source_training.epochs": "2",
    "target_training.epochs": "2",
}


class Own(Project):
    """A project of `headstart init`, which runs the library of this checkout."""

    def run(self, *command: str, status: int = 0, **environment: str) -> str:
        return super().run(
            *command, status=status, **({"PYTHONPATH": str(ROOT / "src")} | environment)
        )

    def quick(self) -> "Own":
        """Shrinks the budgets; returns the project."""
        edit_params(self.root / "params.yaml", QUICK)
        return self


def new(folder: Path, **options: Any) -> Own:
    wanted: dict[str, Any] = {
        "data": None, "dataset": None, "target": [], "source": [], "source_model": None,
        "layer": "auto",
    }  # fmt: skip
    init.create(folder, **(wanted | options), study=default_grid.text)
    return Own(folder)
