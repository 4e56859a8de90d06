"""Export a classifier as a plain timm model, for programs without this package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save

from pixelwise.build.restore import Predictor
from pixelwise.export.agreement import compare
from pixelwise.export.format import Subject
from pixelwise.files import write_json
from pixelwise.models import ClassifierHead, Encoder

log = logging.getLogger(__name__)


def write_twin(subject: Subject, folder: Path) -> bool:
    """Write `model.safetensors` and `config.json` for `timm.create_model("local-dir:FOLDER")`, if possible.

    This is possible for a classifier with the pool of timm's model.

    Args:
        subject: the model to export; its image is used to compare both models.
        folder: the new folder.

    Returns:
        Whether the files were written; the reason is logged if not.
    """
    model = subject.model
    if not isinstance(model.head, ClassifierHead):
        return False
    if model.head.pool is not None:
        log.info("no timm folder: timm's model has another pool than task.head.pool")
        return False
    name, twin = model.config["encoder"]["name"], build_twin(model)
    agreement = compare(model, lambda image: twin(model.normalize(image)), [subject.image])
    if not agreement.within(1e-3):
        log.info("no timm folder: timm's %s returns other logits: %s", name, agreement)
        return False
    folder.mkdir()
    weights = {key: tensor.contiguous() for key, tensor in twin.state_dict().items()}
    (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
    write_json(folder / "config.json", _config(model, twin, subject.image.shape[-2:]))
    log.info("timm folder: timm.create_model('local-dir:…/timm', pretrained=True): %s", agreement)
    return True


def build_twin(model: Predictor) -> Any:
    """Build timm's full model with the weights of the encoder and the head."""
    assert isinstance(model.head, ClassifierHead)
    assert isinstance(model.encoder, Encoder)
    spec = model.encoder.spec
    twin: Any = timm.create_model(spec.name, num_classes=len(model.classes), **spec.options)
    twin.load_state_dict(model.encoder.body.state_dict() | model.head.model.state_dict())
    return twin.eval()


def _config(model: Predictor, twin: Any, size: Sequence[int]) -> dict[str, object]:
    """Return timm's config.json: the name of the model, its classes, and the normalisation of images."""
    assert isinstance(model.encoder, Encoder)
    channels, spec = model.channels, model.encoder.spec
    options = {k: v for k, v in spec.options.items() if v is not None and k != "pretrained_cfg"}
    if twin.pretrained_cfg.get("fixed_input_size"):  # else timm resamples its position embeddings
        options.setdefault("img_size", spec.size)
    return {
        "architecture": twin.pretrained_cfg["architecture"],
        "num_classes": len(model.classes),
        "label_names": list(model.classes),
        "model_args": options,
        "pretrained_cfg": {
            "num_classes": len(model.classes),
            "input_size": [channels, *size],
            "mean": model.normalize.mean.tolist(),
            "std": model.normalize.std.tolist(),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "classifier": twin.pretrained_cfg["classifier"],
            "first_conv": twin.pretrained_cfg["first_conv"] if channels == 3 else None,
        },
    }
