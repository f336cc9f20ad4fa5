"""What a check has to say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np

from headstart.core.errors import UserError, located, warn
from headstart.project.estimate import Estimate

Given = ParamSpec("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Data:
    """The images of a project, as far as is known before they are prepared.

    `labels` is by raw part. Where they are not `counted`, only their number is right.
    """

    classes: Sequence[str]
    aliases: Mapping[str, str]
    labels: Mapping[str, np.ndarray]
    shape: tuple[int, ...]
    counted: bool


@dataclass
class Report:
    """What there is to say: facts, warnings, and what stops a run.

    `data` are known where they could be read, and `expected` is what a run takes here, where it was
    measured.
    """

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    data: Data | None = None
    expected: Estimate | None = None

    def attempt(
        self, function: Callable[Given, Made], *arguments: Given.args, **options: Given.kwargs
    ) -> Made | None:
        """Returns what `function` does; what it refuses becomes a problem and None."""
        try:
            with located("params.yaml: "):
                return function(*arguments, **options)
        except UserError as error:
            self.problems.append(str(error))
        except OSError as error:
            self.problems.append(f"{error.filename or ''}: {error.strerror or error}")
        return None

    def heed(self) -> None:
        """Prints the warnings, and ends where there are problems.

        Raises:
            UserError: There are problems: all of them.
        """
        for warning in self.warnings:
            warn(warning)
        if self.problems:
            raise UserError("\n  ".join(self.problems))
