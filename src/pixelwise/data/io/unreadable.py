"""The error for image files that cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rasterio.errors import RasterioError

from pixelwise.errors import UserError
from pixelwise.files import not_the_file


class UnreadableImage(UserError):
    """A file is missing, damaged, truncated or not an image.

    Attributes:
        reason: why it cannot be read.
    """

    reason = ""


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
        if path.is_symlink() and not path.exists():
            found = f"a link to {path.readlink()}, which is missing"
        else:
            system = isinstance(cause, OSError) and cause.strerror
            found = not_the_file(path) or system or str(cause).replace(f" file {str(path)!r}", "").strip()
        fix = "restore the file from its origin, or move it (and its mask) out of the data set"
        unreadable = UnreadableImage(
            f"{path} cannot be read as an image", found=found or type(cause).__name__, fix=fix
        )
        unreadable.reason = found or type(cause).__name__
        raise unreadable from error
