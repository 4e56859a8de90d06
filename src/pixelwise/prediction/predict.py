"""Prediction of image files with a trained model. The config of a task names the writer of the results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from pixelwise.data.io.rasters import gdal
from pixelwise.errors import UserError, printable, some
from pixelwise.files import unwritable
from pixelwise.inference import TTA, Forward, with_tta
from pixelwise.models import Composition
from pixelwise.prediction.files import check_resources, find_images, prepare_output
from pixelwise.prediction.maps import MaskWriter
from pixelwise.prediction.tables import ProbabilityWriter, TagWriter
from pixelwise.prediction.writer import PredictionCost, Writer
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
    """Predict all images; skip those that are predicted already, and continue after a damaged one.

    Args:
        model: the trained model; it is moved to a GPU if there is one.
        images: image files by name.
        writer: predicts one image and writes the result.
        output: the folder of the results.
        bf16: compute in bfloat16, as in mixed-precision training.
        views: test-time augmentation.

    Returns:
        Number of images predicted by this call.

    Raises:
        UserError: before the start, if headers show that images do not fit the model, or if disk or memory
            are too small; at the end, if images were damaged (all others are predicted).
        SystemExit: interrupted; status 130 after Ctrl-C and 143 after SIGTERM.
    """
    remaining = {name: file for name, file in images.items() if not writer.done(name)}
    if len(remaining) < len(images):
        log.info(
            "skipping %d of %d images, which are predicted already", len(images) - len(remaining), len(images)
        )
    finished = 0
    failed: list[UserError] = []
    with gdal(), interruptible():
        costs: list[PredictionCost] = []
        for name, file in remaining.items():
            try:
                costs.append(writer.plan(name, file))
            except UserError as error:
                failed.append(error)
        if failed:
            raise combine_errors(failed, len(remaining), "cannot be predicted; no image was predicted")
        check_resources(output, costs)
        forward = network(model, bf16, views)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, disable=not remaining)
        windows = bar.add_task("windows", total=sum(cost.windows for cost in costs))
        try:
            with bar:
                for name, file in remaining.items():
                    bar.update(windows, description=printable(file.name))
                    try:
                        writer.predict(name, file, forward, lambda: bar.advance(windows))
                        finished += 1
                    except UserError as error:
                        failed.append(error)
        except OSError as error:
            raise unwritable(f"output={output}", error, output) from error
        except (KeyboardInterrupt, SystemExit) as stop:
            log.info(
                "stopped after %d of %d images; repeat the command to continue", finished, len(remaining)
            )
            raise SystemExit(130 if isinstance(stop, KeyboardInterrupt) else stop.code) from None
        finally:
            writer.close()
    if failed:
        raise combine_errors(failed, len(remaining), "could not be predicted; all others were")
    return finished


def combine_errors(errors: Sequence[UserError], total: int, outcome: str) -> UserError:
    """Combine the errors of several images; the error of a single image is returned unchanged."""
    if total == 1:
        return errors[0]
    lines = [str(error).splitlines()[0] for error in errors]
    return UserError(
        f"{len(errors):,} of {total:,} images {outcome}",
        found=some(lines, 3, "; "),
        fix="repair or remove them, then repeat the command",
        every=lines,
    )


def network(model: Composition, bf16: bool = False, views: Sequence[TTA] = ()) -> Forward:
    """Return the function raw images → logits, computed as in evaluation, on a GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def forward_once(image: Tensor) -> Tensor:
        return model(image.contiguous(memory_format=torch.channels_last)).float()

    forward_views = with_tta(forward_once, views)

    @torch.inference_mode()
    def forward(pixels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return forward_views(model.normalize(pixels.to(device)))

    return forward
