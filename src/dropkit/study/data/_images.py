"""Read image files as arrays of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._data import Array

if TYPE_CHECKING:
    from PIL.Image import Image

_GRAY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
_LARGEST = 224  # the usual input size of networks for photographs


def read_images(files: list[Path], size: int | None = None) -> tuple[Array, tuple[str, ...]]:
    """Read images of equal size, or resize them.

    Args:
        files: the images. They are rotated as their EXIF tag says, and transparent pixels become
            white.
        size: the height and width to resize to: the shorter side gets this length, and the longer
            side is cropped to its middle.

    Returns:
        The pixels as uint8 of shape (images, channels, height, width), with one channel if all
        images are gray, otherwise three; and a note on transparency.
    """
    from PIL import Image  # imported here because other data need no Pillow

    def opened() -> Iterator[tuple[str, Image.Image]]:
        for file in files:
            try:
                with Image.open(file) as image:
                    yield str(file), image
            except DataError:
                raise
            except Exception as error:  # Pillow raises many kinds
                raise _refusal(str(file)) from error

    return convert_images(opened(), size)


def look_at_image(file: Path) -> tuple[bool, int, int]:
    """Return whether an image is gray, and its height and width, without decoding pixels."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.mode in _GRAY, image.height, image.width
    except Exception as error:  # Pillow raises many kinds
        raise _refusal(str(file)) from error


def convert_images(
    images: Iterable[tuple[str, Image]], size: int | None = None
) -> tuple[Array, tuple[str, ...]]:
    """Convert opened images, given with their names, to pixels as `read_images` does."""
    pixels: list[Array] = []
    first, transparent = "", 0
    for name, image in images:
        first = first or name
        try:
            array, is_seen = _convert(image, name, size)
        except DataError:
            raise
        except Exception as error:  # Pillow raises many kinds
            raise _refusal(name) from error
        transparent += is_seen
        pixels.append(array)
        (height, width), (first_height, first_width) = pixels[-1].shape[:2], pixels[0].shape[:2]
        if (height, width) != (first_height, first_width):
            side = min(height, width, first_height, first_width, _LARGEST)
            raise DataError(
                f"images differ in size: {first} is {first_width}x{first_height}, {name} is "
                f"{width}x{height} pixels; make them equal with --image-size {side}"
            )
    notes = (f"{transparent} images are partly transparent: transparent pixels become white",)
    return _stack(pixels), notes if transparent else ()


def _convert(opened: Image, name: str, size: int | None) -> tuple[Array, bool]:
    """Return the pixels of one image, and whether it was partly transparent."""
    from PIL import Image, ImageOps

    if opened.mode not in _GRAY + _COLOUR:
        raise DataError(
            f"{name} has pixels of mode {opened.mode!r}; convert it to 8 bits a channel"
        )
    mode = "L" if opened.mode in _GRAY else "RGB"
    image: Image.Image = ImageOps.exif_transpose(opened)
    is_seen = False
    if image.has_transparency_data:
        image, is_seen = _on_white(image)
    image = image.convert(mode)
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image), is_seen


def _refusal(name: str) -> DataError:
    return DataError(f"{name} cannot be read as an image; replace or remove it")


def _on_white(image: Image) -> tuple[Image, bool]:
    """Return the image on a white background, and whether it was partly transparent."""
    from PIL import Image as images

    layered = image.convert("RGBA")
    is_seen = bool((np.asarray(layered.getchannel("A")) < 255).any())
    white = images.new("RGBA", layered.size, "white")
    return images.alpha_composite(white, layered), is_seen


def _stack(pixels: list[Array]) -> Array:
    if all(image.ndim == 2 for image in pixels):
        return np.stack(pixels)[:, np.newaxis]
    colour = [image if image.ndim == 3 else np.stack([image] * 3, axis=-1) for image in pixels]
    return np.ascontiguousarray(np.stack(colour).transpose(0, 3, 1, 2))
