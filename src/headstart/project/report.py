"""What a check has to say."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from headstart.core.errors import UserError, located
from headstart.project.estimate import Estimate

Given = ParamSpec("Given")
Made = TypeVar("Made")


@dataclass
class Report:
    """What there is to say: facts, warnings, and what stops a run.

    `shape` is that of an image, and `expected` what a run takes here, where it was measured.
    """

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()
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
