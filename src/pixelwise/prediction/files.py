"""The images that are predicted, and the folder that predictions go to."""

from __future__ import annotations

import glob
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from pixelwise.data.io.listing import image_files, is_image
from pixelwise.errors import UserError, some
from pixelwise.files import write_json
from pixelwise.prediction.writer import Plan


def find_images(pattern: str, output: Path | None = None) -> dict[str, Path]:
    """Images of a file, a folder (with those below it) or a glob pattern, by name without suffix.

    Args:
        pattern: a file, a folder or a glob. Of a folder and of a glob the same files are images as for
            training, see `pixelwise.data.io.listing.is_image`.
        output: where predictions go. What lies there is no image, also where this is below the images.

    Raises:
        UserError: there is none, two would share a name, or predictions would lie among the images.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        base, found = path, image_files(path)
        if output is not None and output.resolve() == path.resolve():
            raise UserError(f"output={output} is the folder of the images", fix=f"output={output / 'out'}")
    elif path.is_file():  # also where its name looks like a pattern
        base, found = path.parent, [path]
    else:
        base = Path(*[p for p in path.parts if not glob.has_magic(p)])
        named = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
        found = sorted(file for file in named if is_image(file, base))
    if output is not None and len(found) > 1:
        found = [file for file in found if output.resolve() not in file.resolve().parents]
    if not found:
        raise UserError(
            f"input={pattern}: no image there", expected="a file, a folder or a quoted glob pattern"
        )
    images: dict[str, Path] = {}
    for file in found:
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
    """Make the folder; refuse one that holds other predictions, which would be skipped, or others' files.

    Args:
        output: the folder.
        weights: the checkpoint.
        settings: whatever else changes a prediction.
        images: what is about to be predicted, by name.
    """
    identity = {"weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:16], **settings}
    note = output / "prediction.json"
    try:
        if not note.exists() and (taken := _taken(output, images or {})):
            raise UserError(
                f"output={output} holds files that predictions would replace",
                found=some(taken),
                fix="another output=",
            )
        output.mkdir(parents=True, exist_ok=True)
        found = json.loads(note.read_text()) if note.exists() else identity
        if found != identity and any(file != note for file in output.iterdir()):
            other = ", ".join(key for key in identity if found.get(key) != identity[key])
            raise UserError(
                f"output={output} holds predictions of other {other}", fix="another output=, or remove it"
            )
        write_json(note, identity)
    except OSError as error:
        raise UserError(f"output={output} cannot be written", found=error) from error


def _taken(output: Path, images: Mapping[str, Path]) -> list[str]:
    """Files with the name of a map, such as the masks that a run was trained on."""
    maps = (
        (output / f"{name}{suffix}", image) for name, image in images.items() for suffix in (".png", ".tif")
    )
    return [file.name for file, image in maps if file.exists() and not file.samefile(image)]


def check_resources(output: Path, plans: Iterable[Plan]) -> None:
    """Refuse a job that would fill the disk or the memory, before it starts."""
    plans = list(plans)
    limits = {
        "disk": (sum(plan.disk for plan in plans), shutil.disk_usage(output).free),
        "memory": (max((plan.memory for plan in plans), default=0), psutil.virtual_memory().available),
    }
    for what, (needed, free) in limits.items():
        if needed > free:
            raise UserError(
                f"not enough {what} for this prediction",
                found=f"{free / 1e9:.1f} GB free",
                expected=f"up to {needed / 1e9:.1f} GB",
                fix="another output=, or fewer images" if what == "disk" else "smaller window= or overlap=",
            )
