"""Loads a trained model from a run folder, a hub folder or a checkpoint. Executes no code from the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pixelwise import build
from pixelwise.augmentation import CenterCrop
from pixelwise.errors import UserError
from pixelwise.inference import Evaluated
from pixelwise.models import Composition
from pixelwise.runs import checkpoints
from pixelwise.runs.untrusted import check_config


class Predictor(Composition):
    """A composition with its preprocessing, which maps raw images to logits.

    Parts, parameters and state dict are those of the `Composition`. The weights are loaded afterwards.

    Attributes:
        classes: class names, in the order of the logits.
        channels: number of channels of the images.
        view: preprocessing of an image in evaluation: unchanged, resized, or also cropped to a fixed size.
        config: the part of the run's config that builds the model, in plain containers.
    """

    def __init__(self, model: Composition, config: DictConfig) -> None:
        super().__init__(model.encoder, model.decoder, model.head, model.normalize)
        self.config = model_config(config)
        self.classes = tuple(str(name) for name in config.data.classes)
        self.channels = int(config.data.channels)
        self.view = CenterCrop(config.data.eval_size, build.evaluation_protocol(config))
        self.eval()

    def forward(self, image: Tensor | np.ndarray) -> Tensor:
        """Logits (B, K) or (B, K, H, W) of raw images.

        Args:
            image: an array (H, W, C) or (B, H, W, C), which is predicted as in evaluation: `view` is applied,
                and logits of pixels have the size of the array; or a tensor (C, H, W) or (B, C, H, W), which
                the network gets as a whole, at its size. The values are those of the image files: uint8,
                uint16, or float32 on the scale of the training images.

        Raises:
            UserError: the image has another shape.
        """
        axis = -3 if isinstance(image, Tensor) else -1
        if image.ndim not in (3, 4) or image.shape[axis] != self.channels:
            raise UserError(
                f"the model requires images with {self.channels} channels",
                found=f"{type(image).__name__} of shape {tuple(image.shape)}",
                expected=f"an array (H, W, {self.channels}) or a tensor ({self.channels}, H, W), or a batch",
            )
        if isinstance(image, Tensor):
            return super().forward(self.normalize(image[None] if image.ndim == 3 else image))
        pixels = self.normalize(self._preprocess(image))
        return Evaluated(self.view.protocol)(super().forward, pixels, image.shape[-3:-1])

    @torch.inference_mode()
    def probabilities(self, image: Tensor | np.ndarray) -> Tensor:
        """The softmax over the classes, with the shape of the logits."""
        return self(image).softmax(1)

    def _preprocess(self, image: np.ndarray) -> Tensor:
        """Apply the view: (H, W, C) or (B, H, W, C) → (B, C, h, w) on the model's device."""
        images = [self.view(one)[0] for one in (image[None] if image.ndim == 3 else image)]
        return torch.from_numpy(np.stack(images)).movedim(-1, 1).to(self.normalize.mean.device)


def load(path: str | Path, weights: str = "best") -> Predictor:
    """Load a trained model, in evaluation mode on the CPU.

    Args:
        path: a run folder, a folder written by `export.py format=hub`, or a checkpoint file.
        weights: the checkpoint of a run folder: "best", "last" or "previous".

    Raises:
        UserError: there is no model, a file is damaged, or the config names a class that is not allowed.
    """
    path = Path(path).expanduser()
    if (path / "config.yaml").is_file():
        path = checkpoints.file_of(path, weights)
    elif (path / "config.json").is_file():
        return _from_hub(path)
    elif not path.is_file():
        raise UserError(
            f"{path} contains no model",
            found="another folder" if path.is_dir() else "no such file or folder",
            expected="a run folder, a hub folder or a checkpoint file",
        )
    state = checkpoints.read(path)
    if not isinstance(state.get("config"), dict):
        raise UserError(f"{path} contains no config of its model", expected="a checkpoint of train.py")
    return restore(_checked(state["config"], path), checkpoints.model_weights(state), path)


def restore(config: DictConfig, weights: Mapping[str, Tensor], file: Path) -> Predictor:
    """Build the model of a config and load the weights of a file into it.

    Raises:
        UserError: the config builds no model, or the weights do not fit it or are not finite.
    """
    checkpoints.check_finite(weights, file)
    try:
        predictor = Predictor(build.model(build.without_downloads(config)), config)
    except OmegaConfBaseException as error:
        raise UserError(f"{file}: no model can be built from its config", found=error) from error
    checkpoints.fill(predictor, weights, file)
    return predictor


def model_config(config: DictConfig) -> dict[str, Any]:
    """The part of a config that builds the model and its preprocessing, in plain containers."""
    config = build.without_downloads(config)
    parts: dict[str, Any] = {
        part: OmegaConf.to_container(config[part], resolve=True)
        for part in ("encoder", "decoder", "task", "data")
    }
    data = ("channels", "classes", "palette", "mean", "std", "eval_size", "eval")
    parts["task"] = {key: parts["task"][key] for key in ("name", "head")}
    parts["data"] = {key: parts["data"].get(key) for key in data}
    return parts


def _from_hub(folder: Path) -> Predictor:
    file = folder / "model.safetensors"
    try:
        config = json.loads((folder / "config.json").read_text())["pixelwise"]
        weights = load_file(file)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            f"{folder} cannot be read as a hub folder",
            found=f"{type(error).__name__}: {error}",
            expected="a folder written by `python export.py run=RUN format=hub`",
        ) from error
    return restore(_checked(config, folder / "config.json"), weights, file)


def _checked(config: dict[str, Any], file: Path) -> DictConfig:
    try:
        return check_config(OmegaConf.create(config), file)
    except OmegaConfBaseException as error:
        raise UserError(f"{file}: no model can be built from its config", found=error) from error
