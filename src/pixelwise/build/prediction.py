"""Builds the objects of predict.py from a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.augmentation import CenterCrop
from pixelwise.build.instantiate import class_of, make
from pixelwise.build.model import _plain, evaluation_protocol
from pixelwise.data.io.images import ImageReader
from pixelwise.errors import UserError
from pixelwise.inference import TTA, Tiling, windows_of
from pixelwise.prediction.writer import MapOptions
from pixelwise.runtime.device import precision, windows
from pixelwise.types import Source


def writer(
    config: DictConfig,
    output: Path,
    overrides: Sequence[str] = (),
    mean: Sequence[float] | None = None,
) -> Any:
    """The writer of the task, which predicts images and writes the results.

    Args:
        config: the config of a run, with the keys of conf/predict.yaml.
        output: the folder for the results.
        overrides: the overrides of the command line.
        mean: (C,) the mean of each channel that the model subtracts; nodata pixels are set to it.

    Raises:
        UserError: an override has no effect on this writer, or with the protocol of the run.
    """
    built = make({**config.task.prediction, "_partial_": True}, "task.prediction")(
        output=output,
        classes=list(config.data.classes),
        palette=_plain(config.data.palette),
        view=CenterCrop(_plain(config.data.eval_size), evaluation_protocol(config)),
        maps=MapOptions(tiling(config), config.probabilities, image_reader(config), mean),
    )
    for override in overrides:
        if override.split("=")[0] in built.IGNORED_KEYS:
            raise UserError(f"{override} has no effect: task={config.task.name} writes no maps")
    _check_windows(config, overrides)
    return built


def _check_windows(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse an override of the windows of predict.py that the protocol of the run replaces."""
    protocol = evaluation_protocol(config)
    replaced = ("window", "overlap", *["batch_size"] * needs_whole_image(config))
    for override in overrides:
        if protocol.name and override.split("=")[0] in replaced:
            raise UserError(
                f"{override} has no effect: images are predicted as the run is evaluated",
                found=f"{protocol} (data.eval)",
                fix="data.eval.window=… data.eval.stride=…, or data.eval.resize=null data.eval.window=null",
            )


def needs_whole_image(config: DictConfig) -> bool:
    """Whether predict.py gives the network the whole image instead of windows that it reads one by one.

    It does if the protocol of the run resizes the image, or if it has windows besides test-time
    augmentation, which comes first as in evaluation: `tta=scales` scales the image, not its windows.
    """
    protocol = evaluation_protocol(config)
    return protocol.resize is not None or (protocol.window is not None and bool(config.tta))


def tiling(config: DictConfig) -> Tiling | None:
    """The windows in which predict.py reads an image; None if the network gets the whole image."""
    if needs_whole_image(config):
        return None
    protocol, size = evaluation_protocol(config), windows(config.batch_size)
    if protocol.window is not None:
        return Tiling(protocol.window, batch_size=size, stride=protocol.steps)
    return Tiling(_plain(config.window), config.overlap, size)


def prediction_identity(config: DictConfig) -> dict[str, Any]:
    """The settings of conf/predict.yaml that change a prediction, in plain containers."""
    keys = ("window", "overlap", "tta", "bands", "nodata", "exif")
    return {key: _plain(config[key]) for key in keys} | {"data.eval": evaluation_protocol(config).name}


def prediction_settings(config: DictConfig) -> dict[str, Any]:
    """The precision of a prediction, its test-time augmentation and its windows of a whole image."""
    inner = windows_of(evaluation_protocol(config)) if needs_whole_image(config) else []
    return {
        "bf16": precision(config.trainer.precision, config.trainer.accelerator).startswith("bf16"),
        "views": [*views(config), *inner],
    }


def views(config: DictConfig) -> list[TTA]:
    """The test-time augmentation of conf/views.yaml."""
    names = [config.tta] if isinstance(config.tta, str) else config.tta or []
    return [make(config.views[name], f"views.{name}") for name in names]


def image_reader(config: DictConfig) -> ImageReader:
    """The reader of image files for a finished run; it reads them as the training images were read.

    Args:
        config: the config of a run. Keys of conf/predict.yaml, if present, replace those of the data set.
    """
    source: type[Source] = class_of(config.data.source["_target_"], "data.source")
    exact = source.exact_bands
    chosen = {
        key: _plain(config.get(key, OmegaConf.select(config, f"data.source.{key}")))
        for key in ("bands", "nodata", "exif")
    }
    chosen["exif"] = chosen["exif"] or "apply"
    return ImageReader(config.data.channels, **chosen, exact=exact, option="bands")
