"""Read images that do not fit in memory, in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dropkit.study.data._data import Array
from dropkit.study.data._images import look_at_image, read_images
from dropkit.study.data._repeats import RepeatCounter
from dropkit.study.data._scratch import Scratch
from dropkit.study.data._stored import StoredArray
from dropkit.study.data._streamed import LIMIT, StreamedData

BYTES = 1_000_000_000
"""Images are read in pieces if they take more memory than this, in colour and of equal size."""

_PIECE = 1 << 25  # bytes of pixels to read at a time


def are_large(files: list[Path], size: int | None) -> bool:
    """Return whether images are read in pieces by default."""
    _, height, width = look_at_image(files[0])
    height, width = (height, width) if size is None else (size, size)
    return 3 * height * width * len(files) > BYTES


def stream_images(
    name: str,
    files: list[Path],
    y: Array,
    classes: tuple[str, ...],
    fixed: Mapping[str, range],
    size: int | None,
    notes: tuple[str, ...],
) -> StreamedData:
    """Create data from image files, which are read and stored on the disk when first needed."""
    first, _ = read_images(files[:1], size)
    is_gray = first.shape[1] == 1 and all(look_at_image(file)[0] for file in files)
    channels = 1 if is_gray else 3
    scratch = Scratch()
    small = y.astype(np.min_scalar_type(len(classes)))
    source = _Source(list(map(str, files)), size, channels, first.shape[2:], small)
    source.repeats = RepeatCounter(len(files), fixed["test"].start if "test" in fixed else None)
    like = np.empty((1, channels, *first.shape[2:]), np.uint8)
    note = (
        f"read in pieces: {len(files):,} images; at most {LIMIT:,} each are for validation and for "
        "the test, all others for training"
    )
    return StreamedData(
        name,
        StoredArray(scratch, "pixels", len(files), like, source.pixels),
        StoredArray(scratch, "y", len(files), small, lambda: iter([small])),  # type: ignore[arg-type]
        "classification",
        classes,
        "class",
        notes=(*notes, note),
        fixed=fixed,
        odd=source.odd,
        repeats=source.repeats,
    )


@dataclass
class _Source:
    """Images of one size and number of channels."""

    files: list[str]
    size: int | None
    channels: int
    shape: tuple[int, ...]
    y: Array
    odd: list[str] = field(default_factory=list)
    repeats: RepeatCounter | None = None

    def pixels(self) -> Iterator[Array]:
        assert self.repeats is not None
        step = max(1, _PIECE // (self.channels * int(np.prod(self.shape))))
        for start in range(0, len(self.files), step):
            # Include the first image in every piece, because all images must have its size.
            files = [self.files[0], *self.files[start : start + step]]
            images, notes = read_images([Path(file) for file in files], self.size)
            if notes:
                self.odd.append(
                    "some images are partly transparent: transparent pixels become white"
                )
            pixels = np.broadcast_to(
                images[1:], (len(files) - 1, self.channels, *self.shape)
            )  # gray images get three equal channels
            self.repeats.see(pixels, self.y[start : start + step])
            yield pixels
