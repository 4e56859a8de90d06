"""Predicting one's own images, as a plain function over a model; a task's config names what is written."""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from pixelwise.augmentation import CentreView
from pixelwise.data.images import SUFFIXES, read_image
from pixelwise.errors import UserError
from pixelwise.models import Composition
from pixelwise.report import colours, overlay, rgb
from pixelwise.types import FULL_SCALE

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Where predictions go; a task's config names a class of this shape."""

    def done(self, name: str) -> bool:
        """Whether this image's prediction is complete already."""
        ...

    def write(self, name: str, image: np.ndarray, probabilities: Tensor) -> None:
        """Write one prediction, whole or not at all.

        Args:
            name: path of the image below the common folder, without suffix.
            image: (H, W, C) as the model saw it, before normalisation.
            probabilities: (K,) or (K, H, W), softmax over the first axis.
        """
        ...

    def close(self) -> None:
        """Called once, also when the job is interrupted."""
        ...


class MaskWriter:
    """`NAME.png`, an index mask with its colour table, and `NAME_overlay.png`, both of the image's size."""

    def __init__(self, output: Path, classes: Sequence[str], palette: Sequence[Sequence[int]] | None) -> None:
        self.output = output
        self.table = colours(len(classes), palette)

    def done(self, name: str) -> bool:
        """The overlay is written last."""
        return (self.output / f"{name}_overlay.png").exists()

    def write(self, name: str, image: np.ndarray, probabilities: Tensor) -> None:
        """Argmax over the classes, as numbers and as colours over the image."""
        mask = probabilities.max(0).indices.to(torch.uint8).numpy()
        indexed = Image.fromarray(mask)
        indexed.putpalette(self.table.tobytes())
        picture = rgb(image / FULL_SCALE.get(image.dtype.name, 1.0))
        save(indexed, self.output / f"{name}.png")
        save(Image.fromarray(overlay(picture, mask, self.table)), self.output / f"{name}_overlay.png")

    def close(self) -> None:
        """Everything is on disk already."""


class ProbabilityWriter:
    """`probabilities.csv`: file, predicted class, and the probability of each class."""

    def __init__(self, output: Path, classes: Sequence[str], palette: Sequence[Sequence[int]] | None) -> None:
        self.file = output / "probabilities.csv"
        self.classes = list(classes)
        self.rows: dict[str, list[str]] = {}
        if self.file.exists():
            with self.file.open(newline="") as stream:
                self.rows = {row[0]: row for row in list(csv.reader(stream))[1:]}

    def done(self, name: str) -> bool:
        """There is a row for it."""
        return name in self.rows

    def write(self, name: str, image: np.ndarray, probabilities: Tensor) -> None:
        """Add a row."""
        values = [f"{p:.6f}" for p in probabilities.tolist()]
        self.rows[name] = [name, self.classes[int(probabilities.argmax())], *values]

    def close(self) -> None:
        """Write the table at once."""
        temporary = self.file.with_suffix(".part")
        with temporary.open("w", newline="") as stream:
            rows = [["file", "class", *self.classes], *(self.rows[name] for name in sorted(self.rows))]
            csv.writer(stream).writerows(rows)
        temporary.replace(self.file)


def save(picture: Image.Image, file: Path) -> None:
    """Write a PNG, or leave nothing behind."""
    file.parent.mkdir(parents=True, exist_ok=True)  # images may lie in folders below the common one
    temporary = file.with_suffix(".part")
    picture.save(temporary, format="PNG")
    temporary.replace(file)


def find_images(pattern: str) -> dict[str, Path]:
    """Images of a file, a folder (with those below it) or a glob pattern, by name without suffix.

    Raises:
        UserError: there is none, or two would share a name.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        base, found = path, sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    else:
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())  # noqa: PTH207
        base = path.parent if path.is_file() else Path(*[p for p in path.parts if not glob.has_magic(p)])
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


def prepare_output(output: Path, weights: Path) -> None:
    """Make the folder; refuse one that holds predictions of other weights, which would be skipped."""
    identity = {"weights": hashlib.sha256(weights.read_bytes()).hexdigest()[:16]}
    note = output / "prediction.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if note.exists() and json.loads(note.read_text()) != identity:
            raise UserError(
                f"output={output} holds predictions of other weights", fix="another output=, or remove it"
            )
        note.write_text(json.dumps(identity) + "\n")
    except OSError as error:
        raise UserError(f"output={output} cannot be written", found=error) from error


@torch.inference_mode()
def predict(
    model: Composition,
    images: dict[str, Path],
    writer: Writer,
    view: CentreView,
    channels: int,
    bf16: bool = False,
) -> int:
    """Predict each image at the size that the view leaves it; finished ones are skipped.

    Args:
        model: with its weights; moved to a GPU where there is one.
        images: files by name.
        writer: takes the probabilities.
        view: the evaluation view that the model was trained with.
        channels: bands that the model takes.
        bf16: compute as in mixed-precision training.

    Returns:
        Number of images predicted now.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    waiting = {name: file for name, file in images.items() if not writer.done(name)}
    if len(waiting) < len(images):
        log.info("%d of %d images are predicted already and skipped", len(images) - len(waiting), len(images))
    try:
        for name, file in track(waiting.items(), description="predicting", disable=not waiting):
            image, _ = view(read_image(file, channels))
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = model(model.normalize(pixels))
            writer.write(name, image, logits[0].float().softmax(0).cpu())
    finally:
        writer.close()
    return len(waiting)
