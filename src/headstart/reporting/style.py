"""One style for all figures, and how they become pictures."""

import base64
import contextlib
import dataclasses
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core.artefacts import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours can be told apart with any colour vision, and in grey.
COLOURS = {"baseline": "#0072B2", "transfer": "#D55E00", "source": "#009E73"}

_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "figure.dpi": 110,
    "font.size": 10,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "lines.linewidth": 1.8,
    # A dollar in a class name is a dollar.
    "text.parse_math": False,
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG for a page, with a heading, what it shows in words, and how to read it."""

    title: str
    png: bytes
    alt: str
    caption: str = ""

    @property
    def address(self) -> str:
        """The PNG as an address that needs no file."""
        return data_uri(self.png)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        from PIL import Image

        with Image.open(io.BytesIO(self.png)) as image:
            return image.size


def data_uri(png: bytes) -> str:
    """Returns a PNG as an address that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def write_png(path: Path, figure: "Figure") -> None:
    """Writes `figure` to `path`; equal figures give equal bytes."""
    with _style(), replacing(path) as part, warnings.catch_warnings():
        # A class name in letters that the font lacks is drawn as boxes; the page has it in words.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        # Left in, the name and version of the library would change the bytes with it.
        figure.savefig(part, format="png", metadata={"Software": None})


@contextlib.contextmanager
def _style() -> Iterator[None]:
    """Draws in our style whatever the user's matplotlibrc says, and leaves no trace."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


@contextlib.contextmanager
def new_figure(width: float, height: float) -> "Iterator[Figure]":
    """Yields an empty figure, in inches, outside pyplot's global state."""
    from matplotlib.figure import Figure

    with _style():
        yield Figure(figsize=(width, height), layout="constrained")
