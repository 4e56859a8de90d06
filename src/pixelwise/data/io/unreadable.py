"""The error for image files that cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rasterio.errors import RasterioError

from pixelwise.errors import UserError


class UnreadableImage(UserError):
    """A file is missing, damaged, truncated or not an image."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors of a decoder inside the block into one `UnreadableImage` that names the file."""
    try:
        yield
    except UserError:
        raise
    except (
        OSError,
        SyntaxError,
        EOFError,
        ValueError,
        RasterioError,
        Image.DecompressionBombError,
    ) as error:
        cause = error.__cause__ if isinstance(error, RasterioError) and error.__cause__ else error
        found = str(cause).replace(f" {str(path)!r}", " this file").strip() or type(cause).__name__
        fix = "restore the file from its origin, or move it (and its mask) out of the data set"
        raise UnreadableImage(f"{path} cannot be read as an image", found=found, fix=fix) from error
