"""How long a network of the study trains."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from headstart.params.fields import Section, Whole

# Beyond it a slip of the keyboard is likelier than a wish.
_MOST_STEPS = 10_000_000


class Budget(Section):
    """`epochs` over a network's labels, or a fixed number of `steps`."""

    epochs: Annotated[Whole, Field(ge=1, le=_MOST_STEPS)] | None = None
    steps: Annotated[Whole, Field(ge=1, le=_MOST_STEPS)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("needs either epochs or steps")
        return self

    @property
    def amount(self) -> int:
        """The number of epochs or steps."""
        return self.epochs or self.steps or 0

    def __str__(self) -> str:
        return f"epochs={self.epochs}" if self.epochs else f"steps={self.steps}"
