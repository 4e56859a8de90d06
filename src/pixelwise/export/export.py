"""The job of export.py: write, open again, compare, and only then let the folder appear."""

from __future__ import annotations

import logging
import tempfile
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
from pixelwise.export.torch_export import explained
from pixelwise.reports.drawing import rgb
from pixelwise.runs import checkpoints
from pixelwise.training.callbacks.pictures import Pictures
from pixelwise.types import FULL_SCALE

log = logging.getLogger(__name__)


def export(subject: Subject, form: Format, output: Path, tolerance: float = 1e-3) -> Agreement:
    """Write a model into a new folder, with the image it was tried on and what it answered.

    Args:
        subject: what to export.
        form: how.
        output: a folder that does not exist, or is empty.
        tolerance: by how much logits may differ, as a share of the largest.

    Raises:
        UserError: the folder is taken, or what was written answers otherwise than the model; then nothing
            is left behind.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UserError(f"output={output} exists already", fix="another output=, or remove it")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as hidden:
            folder = Path(hidden) / "export"
            folder.mkdir()
            form.write(subject, folder)
            with explained("what was written does not take the images that the model takes"):
                agreement = compare(subject.model, form.open(folder), trials(subject))
            if not agreement.within(tolerance):
                raise UserError(
                    "the exported model does not answer as the trained one does; nothing was kept",
                    found=agreement,
                    expected=f"logits equal up to tolerance={tolerance:g} of the largest",
                    fix="format=hub keeps the model itself",
                )
            write_sample(subject, folder)
            folder.replace(output)
    except OSError as error:
        raise UserError(f"output={output} cannot be written", found=error) from error
    return agreement


def subject(config: DictConfig, folder: Path) -> Subject:
    """The model of a run with a chosen checkpoint, its scores, and an image.

    Args:
        config: the run's, with `checkpoint` and `sample`.
        folder: of the run.
    """
    file = checkpoints.file_of(folder, config.checkpoint)
    model = restore.restore(config, checkpoints.model_weights(checkpoints.read(file)), file)
    recorded = folder / "metrics.json"  # of the best weights only
    scored = config.checkpoint == "best" and recorded.is_file()
    encoder: Any = model.encoder
    return Subject(
        model=model,
        image=sample_image(config, model.view, config.sample),
        scores=runs.read_scores(recorded) if scored else {},
        base_model=encoder.body.pretrained_cfg.get("hf_hub_id") if config.encoder.pretrained else None,
    )


def trials(subject: Subject) -> list[Tensor]:
    """The image; and, where the model takes other sizes, two of a part of it."""
    image = subject.image
    height, width = (side - side // 4 - 1 for side in image.shape[-2:])
    part = torch.cat([image[..., :height, :width], image[..., -height:, -width:]])
    return [image, part] if accepts(subject.model, part) else [image]


def sample_image(config: DictConfig, view: CenterCrop, file: str | None = None) -> Tensor:
    """The raw image (1, C, H, W) to try an export on, as evaluation sees it.

    Args:
        config: of the run.
        view: of the model.
        file: an image; None takes the first of the split that training ended with.
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
            "an image is needed to compare the exported model with", found=error, fix="sample=PHOTO.jpg"
        ) from error
    seen, _ = view(image)
    return torch.from_numpy(np.ascontiguousarray(seen)).permute(2, 0, 1)[None].contiguous()


@torch.inference_mode()
def write_sample(subject: Subject, folder: Path) -> None:
    """`sample.npz`: the raw image and the trained model's logits; `sample.png`: both for the eye."""
    logits = subject.model(subject.image)
    np.savez_compressed(folder / "sample.npz", image=subject.image.numpy(), logits=logits.numpy())
    image = subject.image[0].permute(1, 2, 0).numpy()
    picture = rgb(image / FULL_SCALE.get(image.dtype.name, 1.0))
    labels = logits.max(1).indices.to(torch.uint8).numpy()
    pictures = Pictures(subject.model.classes, subject.model.config["data"]["palette"])
    Image.fromarray(pictures.tile(picture, labels)).save(folder / "sample.png")
