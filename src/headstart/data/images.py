"""PNG and JPEG files as arrays of pixels."""

import contextlib
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.core.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

# Larger than any camera's; an image of a few kilobytes can claim a billion pixels.
_MOST_PIXELS = 120_000_000


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[Image]":
    """Yields an image whose pixels are not decoded yet.

    Raises:
        UserError: The file is no PNG or JPEG, is damaged or claims too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow warns of what may be a bomb; ours is a limit.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise UserError(
                        f"{path}: claims {image.width} x {image.height} pixels, more than "
                        f"{_MOST_PIXELS}; make it smaller or take it out"
                    )
                yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: claims too many pixels ({error}); take it out") from error
    except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError,
            OverflowError, ArithmeticError, zlib.error) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise UserError(f"{path}: is no PNG or JPEG image, or damaged{reason}") from error
    except Exception as error:
        if type(error).__module__ != "struct":  # struct.error of a cut header
            raise
        raise UserError(f"{path}: is a damaged image ({error})") from error


def is_grey(image: "Image") -> bool:
    """Tells whether an image has one channel, transparency not counted."""
    return image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")


# The EXIF orientations in which a camera lay on its side.
_SIDEWAYS = (5, 6, 7, 8)


_ORIENTATION = 0x0112


def upright(image: "Image") -> tuple[int, int]:
    """Returns height and width as a viewer shows the image."""
    sideways = image.format == "JPEG" and image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (image.width, image.height) if sideways else (image.height, image.width)


def pixels(path: Path, size: tuple[int, int], *, grey: bool) -> np.ndarray:
    """Returns the image as uint8, (height, width) if grey, else (height, width, 3)."""
    from PIL import Image, ImageOps

    with opened(path) as image:
        if image.format == "JPEG":
            # Decodes at a half, a quarter or an eighth where that is still large enough.
            image.draft(None, (4 * max(size), 4 * max(size)))
            upright = ImageOps.exif_transpose(image)
        else:
            upright = image
        if upright.mode in ("I", "I;16", "I;16B"):
            # PNG with 16 bits: the upper eight are what a screen shows.
            deep = np.asarray(upright).astype(np.int64)
            upright = Image.fromarray((deep >> 8).clip(0, 255).astype(np.uint8))
        if upright.mode in ("LA", "RGBA", "PA") or "transparency" in upright.info:
            # What is transparent lies on white, as in most viewers.
            layers = upright.convert("RGBA")
            paper = Image.new("RGBA", layers.size, "white")
            upright = Image.alpha_composite(paper, layers)
        plain = upright.convert("L" if grey else "RGB")
        if (plain.height, plain.width) != size:
            plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(plain, dtype=np.uint8)


def resized(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns images of any size as images of `shape` (height, width), bilinearly."""
    from PIL import Image

    to = (shape[1], shape[0])
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize(to, Image.Resampling.BILINEAR))
            for image in images
        ]
    )
