"""The one decoder: a file is the same pixels to training, to `predict` and to the served model."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images import png_that_claims, save
from own_data import FUZZ, PIXELS, gathered, spoiled
from PIL import Image

from headstart import serving
from headstart.core.errors import UserError
from headstart.data import images

# Height and width of most files here, and a picture of four fields in that size.
SIZE = (16, 32)
TONES = (200, 30, 90, 250)
COLOURS = ((220, 20, 30), (10, 200, 40), (30, 60, 240), (250, 250, 20))


def fields(values: Any, dtype: Any = np.uint8) -> np.ndarray:
    """Returns an image of `SIZE`: upper left, upper right, lower left and lower right field."""
    four = np.array(values, dtype=dtype)
    return four.reshape(2, 2, *four.shape[1:]).repeat(8, axis=0).repeat(16, axis=1)


GREY, COLOUR = fields(TONES), fields(COLOURS)
NOISE = np.random.default_rng(5).integers(0, 256, (90, 160, 3), dtype=np.uint8)
# As JPEG it may be decoded at a half or less.
LARGE = np.asarray(Image.fromarray(NOISE).resize((1600, 900), Image.Resampling.BICUBIC))


def luma(colour: np.ndarray) -> np.ndarray:
    """Returns the grey of colours (..., 3) by ITU-R 601-2, as Pillow documents it."""
    return np.asarray(colour, np.float64) @ (0.299, 0.587, 0.114)


def both_roads(path: Path, *, colour: bool, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Returns the pixels of a file in a project of grey or colour, the same by every road."""
    shape = (*size, 3) if colour else size
    project = path.parent / "project"
    for name in ("a", "b"):
        save(project / name / "plain.png", np.zeros(shape, np.uint8))
    (project / "a" / f"0{path.suffix}").write_bytes(path.read_bytes())
    trained = np.asarray(gathered(project, image_size=size).parts["all"].images[0])
    assert trained.shape == shape, "the file makes the project another one"
    read = images.read(path, shape=shape)
    assert read.dtype == trained.dtype == np.uint8
    assert read.tobytes() == trained.tobytes()
    assert serving.raw_images(read, shape=read.shape)[0].tobytes() == trained.tobytes()
    return trained


def palette_with_transparency(path: Path) -> None:
    picture = Image.fromarray(COLOUR).quantize(4)
    clear = picture.getpixel((0, 0))
    picture.save(path, transparency=clear)


def animation(path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def translucent(base: np.ndarray, alpha: np.ndarray) -> Image.Image:
    picture = Image.fromarray(base)
    picture.putalpha(Image.fromarray(alpha))
    return picture


ALPHA = fields((0, 255, 255, 255))

# What to write, the pixels in a grey project and in one of colour; None where the file is not grey
# and would make it one of colour.
LOSSLESS: dict[str, tuple[Callable[[Path], None], np.ndarray | None, np.ndarray]] = {
    "grey": (
        lambda path: Image.fromarray(GREY).save(path),
        GREY,
        np.stack([GREY] * 3, axis=-1),
    ),
    "colour": (lambda path: Image.fromarray(COLOUR).save(path), None, COLOUR),
    "one bit": (
        lambda path: Image.fromarray(fields((255, 0, 0, 255))).convert("1").save(path),
        fields((255, 0, 0, 255)),
        fields([(255,) * 3, (0,) * 3, (0,) * 3, (255,) * 3]),
    ),
    "16 bit": (
        lambda path: Image.fromarray(fields((65535, 0, 0x1200, 0x12FF), np.uint16)).save(path),
        fields((255, 0, 0x12, 0x12)),
        fields([(255,) * 3, (0,) * 3, (0x12,) * 3, (0x12,) * 3]),
    ),
    "grey with alpha": (
        lambda path: translucent(GREY, ALPHA).save(path),
        fields((255, *TONES[1:])),
        fields([(tone,) * 3 for tone in (255, *TONES[1:])]),
    ),
    "half transparent": (
        lambda path: translucent(fields((100,) * 4), fields((51,) * 4)).save(path),
        fields((224,) * 4),
        fields([(224,) * 3] * 4),
    ),
    "colour with alpha": (
        lambda path: translucent(COLOUR, ALPHA).save(path),
        None,
        fields([(255,) * 3, *COLOURS[1:]]),
    ),
    "palette with transparency": (
        palette_with_transparency,
        None,
        fields([(255,) * 3, *COLOURS[1:]]),
    ),
    "first frame of an animation": (animation, GREY, np.stack([GREY] * 3, axis=-1)),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_png_of_any_kind_is_what_a_viewer_shows_by_every_road(tmp_path: Path, kind: str) -> None:
    write, in_grey, in_colour = LOSSLESS[kind]
    path = tmp_path / "odd.png"
    write(path)
    np.testing.assert_array_equal(both_roads(path, colour=True), in_colour)
    if in_grey is not None:
        np.testing.assert_array_equal(both_roads(path, colour=False), in_grey)
    else:
        # A network of grey images may be asked about colour, though none trained it.
        read = images.read(path, shape=SIZE)
        assert np.abs(read - luma(in_colour)).max() <= 1


def jpeg(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, quality=100, **({"subsampling": 0} | options))
    return path


@pytest.mark.parametrize("kind", ["progressive", "CMYK", "grey"])
def test_jpeg_of_any_kind_is_what_a_viewer_shows_by_every_road(tmp_path: Path, kind: str) -> None:
    picture = Image.fromarray(GREY if kind == "grey" else COLOUR)
    if kind == "CMYK":
        picture = picture.convert("CMYK")
    path = jpeg(tmp_path / "odd.jpg", picture, progressive=kind == "progressive")
    shown = np.stack([GREY] * 3, axis=-1) if kind == "grey" else COLOUR
    read = both_roads(path, colour=True)
    assert np.abs(read.astype(int) - shown).max() <= 3


# How the stored picture has to be turned, by its EXIF orientation (TIFF 6.0, page 36).
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("several", [False, True], ids=["one picture", "several pictures"])
def test_photograph_stands_upright_by_every_road(
    tmp_path: Path, orientation: int, several: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    more: dict[str, Any] = {}
    if several:
        more = {"format": "MPO", "save_all": True, "append_images": [Image.fromarray(COLOUR)]}
    path = jpeg(tmp_path / "photo.jpg", Image.fromarray(COLOUR), exif=exif, **more)
    upright = UPRIGHT[orientation](COLOUR)
    with images.opened(path) as image:
        assert images.upright_size(image) == upright.shape[:2]
    read = both_roads(path, colour=True, size=(upright.shape[0], upright.shape[1]))
    assert np.abs(read.astype(int) - upright).max() <= 3


@pytest.mark.parametrize("colour", [False, True])
def test_photograph_of_another_size_is_stretched_bilinearly_by_every_road(
    tmp_path: Path, colour: bool
) -> None:
    picture = Image.fromarray(NOISE if colour else NOISE[..., 0])
    picture.save(tmp_path / "photo.png")
    read = both_roads(tmp_path / "photo.png", colour=colour, size=(64, 64))
    expected = picture.resize((64, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read, np.asarray(expected))
    np.testing.assert_array_equal(images.resized(np.asarray(picture)[None], (64, 64))[0], read)


def test_large_photograph_is_decoded_smaller_in_the_same_way_by_every_road(tmp_path: Path) -> None:
    path = jpeg(tmp_path / "photo.jpg", Image.fromarray(LARGE))
    read = both_roads(path, colour=True, size=(64, 48))
    with Image.open(path) as image:
        # Four times the longer side, 256: a quarter of 1600 x 900 is 400 x 225, a half 800 x 450.
        image.draft(None, (256, 256))
        assert image.size == (800, 450)
        expected = image.resize((48, 64), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read, np.asarray(expected))


def _cut(path: Path) -> None:
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:5000])


def _gif(path: Path) -> None:
    Image.fromarray(GREY).save(path, format="GIF")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_cut, "is no PNG or JPEG image, or damaged"),
        (lambda path: path.write_text("no image"), "is no PNG or JPEG image, or damaged"),
        (_gif, "is no PNG or JPEG image, or damaged"),
        (lambda path: path.write_bytes(png_that_claims(30000, 30000)), "claims "),
        (lambda path: path.write_bytes(png_that_claims(12000, 11000)), "claims 12000 x 11000"),
        (Path.mkdir, "is a folder"),
        (lambda path: None, "there is no such file"),
    ],
)
def test_file_that_is_no_image_is_named(
    tmp_path: Path, write: Callable[[Path], Any], said: str
) -> None:
    path = tmp_path / "photo.png"
    write(path)
    with pytest.raises(UserError, match=said) as error:
        images.read(path, shape=SIZE)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@FUZZ
@given(data=st.data())
def test_any_bytes_give_pixels_or_a_clean_refusal(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(file, format=kind)
    path = tmp_path / f"1.{kind.lower()}"
    path.write_bytes(spoiled(data, file.getvalue()))
    try:
        read = images.read(path, shape=(6, 5))
    except UserError as error:
        refused = str(error)
    else:
        assert read.shape == (6, 5)
        return
    assert path.name in refused
