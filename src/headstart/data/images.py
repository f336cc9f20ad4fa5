"""The one decoder: PNG and JPEG files as pixels, for training, checking, predicting, serving.

Whatever a network is asked about later goes through `read` as its training images did.
"""

import contextlib
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from headstart.core.errors import UserError

# Larger than any camera's; an image of a few kilobytes can claim a billion pixels.
_MOST_PIXELS = 120_000_000

_DEEP_GREY = ("I", "I;16", "I;16B")
_GREY = ("1", "L", "LA", *_DEEP_GREY)

_FILTER = Image.Resampling.BILINEAR

# Several pictures in one JPEG, as some telephones save them, are MPO to Pillow; the first counts.
_JPEG = ("JPEG", "MPO")

# The EXIF orientations in which a camera lay on its side.
_SIDEWAYS = (5, 6, 7, 8)
_ORIENTATION = 0x0112

# What Pillow raises for bytes that are no image, or no longer one.
_DAMAGE = (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError,
           OverflowError, ArithmeticError, zlib.error, struct.error)  # fmt: skip


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Yields an image whose pixels are not decoded yet.

    Raises:
        UserError: There is no such file, it is no PNG or JPEG, is damaged or claims too many
            pixels.
    """
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
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; name PNG or JPEG files") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: claims too many pixels ({error}); take it out") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise UserError(f"{path}: is no PNG or JPEG image, or damaged{reason}") from error


def is_grey(image: Image.Image) -> bool:
    """Tells whether an image has one channel, transparency not counted."""
    return image.mode in _GREY


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Returns height and width as a viewer shows the image; decodes nothing."""
    sideways = image.format in _JPEG and image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (image.width, image.height) if sideways else (image.height, image.width)


def read(path: Path, *, shape: Sequence[int]) -> np.ndarray:
    """Returns an image file as uint8 in `shape`, as a viewer shows it, stretched to its size.

    A photograph is turned upright, what is transparent lies on white, of 16 bits the upper eight
    count (so Pillow reads colour of 16 bits, too), and other sizes are interpolated bilinearly.
    Of an animation the first frame is read.

    `shape` is (height, width) for grey, (height, width, 3) for colour.

    Raises:
        UserError: As `opened` does.
    """
    height, width = shape[:2]
    with opened(path) as image:
        picture: Image.Image = image
        if image.format in _JPEG:
            # Decodes at a half, a quarter or an eighth where that is still large enough.
            image.draft(None, (4 * max(height, width),) * 2)
            picture = ImageOps.exif_transpose(image)
        if picture.mode in _DEEP_GREY:
            deep = np.asarray(picture).astype(np.int64)
            picture = Image.fromarray((deep >> 8).clip(0, 255).astype(np.uint8))
        if picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info:
            layers = picture.convert("RGBA")
            paper = Image.new("RGBA", layers.size, "white")
            picture = Image.alpha_composite(paper, layers)
        picture = picture.convert("L" if len(shape) == 2 else "RGB")
        return np.asarray(picture.resize((width, height), _FILTER))


def resized(images: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns images (n, height, width[, 3]) uint8, stretched as by `read`.

    `shape` begins with the new height and width; more is ignored.
    """
    height, width = shape[:2]
    pictures = map(Image.fromarray, images)
    return np.stack([np.asarray(p.resize((width, height), _FILTER)) for p in pictures])
