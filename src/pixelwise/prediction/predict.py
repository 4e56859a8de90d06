"""Predicting one's own images, as a plain function over a model; a task's config names what is written."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from pixelwise.data.io.rasters import gdal
from pixelwise.errors import UserError, some
from pixelwise.inference import TTA, Forward, with_tta
from pixelwise.models import Composition
from pixelwise.prediction.files import check_resources, find_images, prepare_output
from pixelwise.prediction.maps import MaskWriter
from pixelwise.prediction.tables import ProbabilityWriter, TagWriter
from pixelwise.prediction.writer import Plan, Writer
from pixelwise.runtime.processes import interruptible

__all__ = ["MaskWriter", "ProbabilityWriter", "TagWriter", "find_images", "predict", "prepare_output"]

log = logging.getLogger(__name__)


def predict(
    model: Composition,
    images: dict[str, Path],
    writer: Writer,
    output: Path,
    bf16: bool = False,
    views: Sequence[TTA] = (),
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
            raise combine_errors(failed, len(waiting), "cannot be predicted, and none was")
        check_resources(output, plans)
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
        raise combine_errors(failed, len(waiting), "could not be predicted; the others are")
    return finished


def combine_errors(errors: Sequence[UserError], of: int, outcome: str) -> UserError:
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


def network(model: Composition, bf16: bool = False, views: Sequence[TTA] = ()) -> Forward:
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
