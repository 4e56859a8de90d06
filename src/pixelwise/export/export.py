"""Export a run: write the files, open and compare them, then move the folder to its final place."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from pixelwise import build, runs
from pixelwise.augmentation import CenterCrop
from pixelwise.build import restore
from pixelwise.errors import UserError
from pixelwise.export.agreement import Agreement, accepts, compare
from pixelwise.export.format import Format, Subject
from pixelwise.export.torch_export import translate_errors
from pixelwise.files import disk_error, unwritable, whole_folder
from pixelwise.reports.drawing import rgb
from pixelwise.runs import checkpoints
from pixelwise.training.callbacks.pictures import Pictures
from pixelwise.types import FULL_SCALE

log = logging.getLogger(__name__)


def export(subject: Subject, form: Format, output: Path, tolerance: float = 1e-3) -> Agreement:
    """Write a model to a new folder, with a sample image and its logits, and compare it with the original.

    Args:
        subject: the model, the image to try it on, and its scores.
        form: the export format.
        output: the new folder; it must not exist, or be empty.
        tolerance: largest accepted difference of logits, as a fraction of the largest logit.

    Returns:
        The difference between the exported and the trained model.

    Raises:
        UserError: the folder is not empty, or the exported model returns other logits. In that case no files
            are left behind.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UserError(f"output={output} exists already", fix="choose another output=, or remove it")
    try:
        with whole_folder(output) as folder:
            form.write(subject, folder)
            with translate_errors(
                "the exported model does not accept the images that the trained model accepts"
            ):
                agreement = compare(subject.model, form.open(folder), trials(subject))
            if not agreement.within(tolerance):
                raise UserError(
                    "the exported model returns other logits than the trained model; no files were kept",
                    found=agreement,
                    expected=f"differences of at most tolerance={tolerance:g} times the largest logit",
                    fix="format=hub, which stores the weights of the model unchanged",
                )
            write_sample(subject, folder)
    except Exception as error:
        if isinstance(error, OSError) or disk_error(error):
            raise unwritable(f"output={output}", error, output) from error
        raise
    return agreement


def subject(config: DictConfig, folder: Path) -> Subject:
    """Load the model of a run with its scores, and an image to try it on.

    Args:
        config: config of the run, with `checkpoint` and `sample` added.
        folder: the run folder.

    Raises:
        UserError: the checkpoint or the image cannot be read.
    """
    file = checkpoints.file_of(folder, config.checkpoint)
    model = restore.restore(config, checkpoints.model_weights(checkpoints.read(file)), file)
    score_file = folder / "metrics.json"  # scores of the best weights only
    scored = config.checkpoint == "best" and score_file.is_file()
    encoder: Any = model.encoder
    return Subject(
        model=model,
        image=sample_image(config, model.view, config.sample),
        scores=runs.read_scores(score_file) if scored else {},
        base_model=encoder.body.pretrained_cfg.get("hf_hub_id") if config.encoder.pretrained else None,
    )


def trials(subject: Subject) -> list[Tensor]:
    """Return batches to compare on: the image and, if the model accepts it, a batch of two smaller images."""
    image = subject.image
    height, width = (side - side // 4 - 1 for side in image.shape[-2:])
    part = torch.cat([image[..., :height, :width], image[..., -height:, -width:]])
    return [image, part] if accepts(subject.model, part) else [image]


def sample_image(config: DictConfig, view: CenterCrop, file: str | None = None) -> Tensor:
    """Return the raw image (1, C, H, W) to try an export on, cropped as in evaluation.

    Args:
        config: config of the run.
        view: the crop that the model uses for evaluation.
        file: path of an image; None uses the first image of the test split, or of the validation split.

    Raises:
        UserError: there is no such image.
    """
    try:
        if file is not None:
            image = build.image_reader(config).read(Path(file).expanduser()).image
        else:
            source = build.source(config)
            split = source.split("test") or source.split("val")
            assert split is not None, "training needs a val split"
            image = split[0].image
    except UserError as error:
        raise UserError(
            "no image to compare the exported model with the trained one", found=error, fix="sample=PHOTO.jpg"
        ) from error
    cropped, _ = view(image)
    return torch.from_numpy(np.ascontiguousarray(cropped)).permute(2, 0, 1)[None].contiguous()


@torch.inference_mode()
def write_sample(subject: Subject, folder: Path) -> None:
    """Write `sample.npz` (raw image, the trained model's logits) and `sample.png` (a figure of both)."""
    logits = subject.model(subject.image)
    np.savez_compressed(folder / "sample.npz", image=subject.image.numpy(), logits=logits.numpy())
    image = subject.image[0].permute(1, 2, 0).numpy()
    scaled = rgb(image / FULL_SCALE.get(image.dtype.name, 1.0))
    labels = logits.max(1).indices.to(torch.uint8).numpy()
    pictures = Pictures(subject.model.classes, subject.model.config["data"]["palette"])
    Image.fromarray(pictures.tile(scaled, labels)).save(folder / "sample.png")
