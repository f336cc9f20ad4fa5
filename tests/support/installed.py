"""headstart as a user has it: a wheel in an environment of its own, far from any checkout."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from projects import ROOT, Project


@dataclass(frozen=True)
class Installed(Project):
    """A folder in which commands run with the wheel's environment, which is not activated."""

    recorded: bool = True
    environment: Path = field(kw_only=True)

    def run(self, *command: str, status: int = 0, **variables: str) -> str:
        """Runs `headstart`, `dvc` or `python` of the environment, or another command."""
        program, *arguments = command
        python = str(self.environment / "bin/python")
        ours = {
            "headstart": [str(self.environment / "bin/headstart")],
            "dvc": [python, "-m", "dvc"],
            "python": [python],
        }
        folders = {Path(shutil.which(name) or "/bin/sh").parent for name in ("git", "sh")}
        surroundings = {
            "HOME": str(self.environment.parent / "home"),
            "PATH": os.pathsep.join(map(str, folders)),
        }
        return super().run(
            *ours.get(program, [program]), *arguments, status=status, **surroundings | variables
        )

    @property
    def library(self) -> Path:
        """The folder of the installed headstart."""
        code = "import headstart; print(headstart.__path__[0])"
        return Path(self.run("python", "-c", code).strip())


def install(folder: Path, *, locked: bool = False) -> Path:
    """Makes an environment under `folder` with headstart's wheel, and returns its path.

    The packages that headstart needs are those of the environment that the tests run in, or, if
    `locked`, its own, downloaded as requirements.lock says.
    """
    wheels, environment = folder / "wheels", folder / "environment"
    (folder / "home").mkdir(parents=True)
    for arguments in (
        ["hatchling", "build", "--target", "wheel", "--directory", str(wheels)],
        ["venv", str(environment)],
    ):
        command = [sys.executable, "-m", *arguments]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], cwd=folder, check=True, capture_output=True)
    if locked:
        lock = ["--require-hashes", "--requirement", str(ROOT / "requirements.lock")]
        subprocess.run([*pip, *lock], cwd=folder, check=True, capture_output=True)
        return environment
    (packages,) = environment.glob("lib/python3.*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "of_the_tests.pth").write_text("\n".join(others) + "\n")
    return environment
