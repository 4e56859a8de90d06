"""Predicting one's own images, as a plain function over a model; a task's config names what is written."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from pixelwise.data.io.images import SUFFIXES
from pixelwise.data.io.listing import some
from pixelwise.data.io.rasters import gdal
from pixelwise.errors import UserError
from pixelwise.inference import Forward, View, with_tta
from pixelwise.maps import MaskWriter
from pixelwise.models import Composition
from pixelwise.runtime.processes import interruptible
from pixelwise.writers import Plan, ProbabilityWriter, TagWriter, Writer

__all__ = ["MaskWriter", "ProbabilityWriter", "TagWriter", "find_images", "predict", "prepare_output"]

log = logging.getLogger(__name__)


def find_images(pattern: str, output: Path | None = None) -> dict[str, Path]:
    """Images of a file, a folder (with those below it) or a glob pattern, by name without suffix.

    Args:
        pattern: which.
        output: where predictions go. What lies there is no image, also where this is below the images.

    Raises:
        UserError: there is none, two would share a name, or predictions would lie among the images.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        base, found = path, sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if output is not None and output.resolve() == path.resolve():
            raise UserError(f"output={output} is the folder of the images", fix=f"output={output / 'out'}")
    elif path.is_file():  # also where its name looks like a pattern
        base, found = path.parent, [path]
    else:
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())  # noqa: PTH207
        base = Path(*[p for p in path.parts if not glob.has_magic(p)])
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
        note.write_text(json.dumps(identity) + "\n")
    except OSError as error:
        raise UserError(f"output={output} cannot be written", found=error) from error


def _taken(output: Path, images: Mapping[str, Path]) -> list[str]:
    """Files with the name of a map, such as the masks that a run was trained on."""
    maps = (
        (output / f"{name}{suffix}", image) for name, image in images.items() for suffix in (".png", ".tif")
    )
    return [file.name for file, image in maps if file.exists() and not file.samefile(image)]


def predict(
    model: Composition,
    images: dict[str, Path],
    writer: Writer,
    output: Path,
    bf16: bool = False,
    views: Sequence[View] = (),
) -> int:
    """Predict each image; finished ones are skipped, and one that cannot be read stops no other.

    Args:
        model: with its weights; moved to a GPU where there is one.
        images: files by name.
        writer: predicts one image and keeps the result.
        output: its folder.
        bf16: compute as in mixed-precision training.
        views: test-time augmentation.

    Returns:
        Number of images predicted now.

    Raises:
        UserError: images do not fit the model, as their headers say, or there is no room for the result:
            nothing is begun. Or images turned out to be damaged: all others are predicted.
        SystemExit: interrupted; status 130 after Ctrl-C and 143 after SIGTERM.
    """
    waiting = {name: file for name, file in images.items() if not writer.done(name)}
    if len(waiting) < len(images):
        log.info("%d of %d images are predicted already and skipped", len(images) - len(waiting), len(images))
    finished = 0
    failed: list[UserError] = []
    with gdal(), interruptible():
        plans: list[Plan] = []
        for name, file in waiting.items():
            try:
                plans.append(writer.plan(name, file))
            except UserError as error:
                failed.append(error)
        if failed:
            raise told_together(failed, len(waiting), "cannot be predicted, and none was")
        check_room(output, plans)
        forward = network(model, bf16, views)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        bar = Progress(*columns, disable=not waiting)
        windows = bar.add_task("windows", total=sum(plan.windows for plan in plans))
        try:
            with bar:
                for name, file in waiting.items():
                    bar.update(windows, description=file.name)
                    try:
                        writer.predict(name, file, forward, lambda: bar.advance(windows))
                        finished += 1
                    except UserError as error:
                        failed.append(error)
        except OSError as error:
            raise UserError(f"output={output} cannot be written", found=error) from error
        except (KeyboardInterrupt, SystemExit) as stop:
            log.info("stopped after %d of %d images; the same command goes on", finished, len(waiting))
            raise SystemExit(130 if isinstance(stop, KeyboardInterrupt) else stop.code) from None
        finally:
            writer.close()
    if failed:
        raise told_together(failed, len(waiting), "could not be predicted; the others are")
    return finished


def told_together(errors: Sequence[UserError], of: int, outcome: str) -> UserError:
    """One error for those of several images, or the only one as it is."""
    if of == 1:
        return errors[0]
    lines = [str(error).splitlines()[0] for error in errors]
    return UserError(
        f"{len(errors):,} of {of:,} images {outcome}",
        found=some(lines, 3, "; "),
        fix="mend or remove them; the same command goes on",
        every=lines,
    )


def network(model: Composition, bf16: bool = False, views: Sequence[View] = ()) -> Forward:
    """Raw images → logits, on a GPU where there is one, as evaluation computes them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def look_once(image: Tensor) -> Tensor:
        return model(image.contiguous(memory_format=torch.channels_last)).float()

    look = with_tta(look_once, views)

    @torch.inference_mode()
    def forward(pixels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return look(model.normalize(pixels.to(device)))

    return forward


def check_room(output: Path, plans: Iterable[Plan]) -> None:
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
