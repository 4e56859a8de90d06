"""The input images and the output folder of a prediction."""

from __future__ import annotations

import glob
import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from pixelwise.data.io.listing import image_files, is_image
from pixelwise.errors import UserError, some
from pixelwise.files import unwritable, write_json
from pixelwise.prediction.writer import PredictionCost
from pixelwise.runs import records


def find_images(pattern: str, output: Path | None = None) -> dict[str, Path]:
    """Find the images to predict: files by name, which is the path below the common folder without suffix.

    Args:
        pattern: a file, a folder (searched with its subfolders) or a glob pattern. In folders and globs the
            same files are images as in training, see `pixelwise.data.io.listing.is_image`.
        output: the output folder. Files in it are left out, even if it lies below the images.

    Raises:
        UserError: no image is found, two images share a name, or `output` is the folder of the images.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        base, files = path, image_files(path)
        if output is not None and output.resolve() == path.resolve():
            raise UserError(f"output={output} is the folder of the images", fix=f"output={output / 'out'}")
    elif path.is_file():  # even if its name contains glob characters
        base, files = path.parent, [path]
    else:
        base = Path(*[p for p in path.parts if not glob.has_magic(p)])
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
        files = sorted(file for file in matches if is_image(file, base))
    if output is not None and len(files) > 1:
        files = [file for file in files if output.resolve() not in file.resolve().parents]
    if not files:
        raise UserError(
            f"input={pattern}: no image there", expected="a file, a folder or a quoted glob pattern"
        )
    images: dict[str, Path] = {}
    for file in files:
        parent = file.parent.relative_to(base) if file.is_relative_to(base) else Path()
        name = (parent / file.stem).as_posix()
        if name in images:
            raise UserError(
                f"input={pattern}: two images would share the prediction {name!r}",
                found=f"{images[name]} and {file}",
                fix="predict them into different folders",
            )
        images[name] = file
    return images


def prepare_output(
    output: Path, weights: Path, settings: Mapping[str, Any], images: Mapping[str, Path] | None = None
) -> None:
    """Create the output folder and record which weights and settings its predictions are made with.

    Args:
        output: the output folder.
        weights: the checkpoint file.
        settings: other values that change a prediction.
        images: the images to predict, by name.

    Raises:
        UserError: the folder holds predictions with other settings, which would be skipped, or files that
            predictions would replace; or it cannot be written.
    """
    identity = {"weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:16], **settings}
    record = output / "prediction.json"
    try:
        if not record.exists() and (existing := _existing_maps(output, images or {})):
            raise UserError(
                f"output={output} holds files that predictions would replace",
                found=some(existing),
                fix="choose another output=",
            )
        output.mkdir(parents=True, exist_ok=True)
        recorded = records.read(record, records.Prediction) or identity
        kept = [file for file in output.iterdir() if file != record and file.suffix not in (".log", ".lock")]
        if recorded != identity and kept:
            changed = ", ".join(key for key in identity if recorded.get(key) != identity[key])
            raise UserError(
                f"output={output} holds predictions with different {changed}",
                fix="choose another output=, or delete this folder",
            )
        write_json(record, identity)
    except OSError as error:
        raise unwritable(f"output={output}", error, output) from error


def _existing_maps(output: Path, images: Mapping[str, Path]) -> list[str]:
    """Existing files with the name of a map, such as the masks of the training data."""
    maps = (
        (output / f"{name}{suffix}", image) for name, image in images.items() for suffix in (".png", ".tif")
    )
    return [file.name for file, image in maps if file.exists() and not file.samefile(image)]


def check_resources(output: Path, costs: Iterable[PredictionCost]) -> None:
    """Raise a `UserError` if free disk space or memory is too small for these predictions."""
    costs = list(costs)
    limits = {
        "disk": (sum(cost.disk for cost in costs), shutil.disk_usage(output).free),
        "memory": (max((cost.memory for cost in costs), default=0), psutil.virtual_memory().available),
    }
    for resource, (needed, free) in limits.items():
        if needed > free:
            raise UserError(
                f"not enough {resource} for this prediction",
                found=f"{free / 1e6:,.1f} MB free",
                expected=f"up to {needed / 1e6:,.1f} MB",
                fix="another output=, or fewer images"
                if resource == "disk"
                else "smaller window= or overlap=",
            )
