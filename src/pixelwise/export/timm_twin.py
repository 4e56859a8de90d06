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
from pixelwise.models.weights_match import names_in_encoder

log = logging.getLogger(__name__)


def write_twin(subject: Subject, folder: Path) -> bool:
    """Write `model.safetensors` and `config.json` for `timm.create_model("local-dir:FOLDER")`, if possible.

    This is possible if timm's model consists of the encoder, a mean over all positions and a linear layer,
    as in the ResNet family. Other models have more layers after the last map, which were not trained.

    Args:
        subject: the model to export; its image is used to compare both models.
        folder: the new folder.

    Returns:
        Whether the files were written; the reason is logged if not.
    """
    model = subject.model
    if not isinstance(model.head, ClassifierHead):
        return False
    name = model.config["encoder"]["name"]
    try:
        twin = build_twin(model)
    except (RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        log.info("no timm folder: timm's %s has more than encoder, mean and linear layer (%s)", name, reason)
        return False
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
    """Build timm's full model with the weights of the encoder and the head.

    Raises:
        RuntimeError or AttributeError: timm's model does not have the same tensors.
    """
    assert isinstance(model.head, ClassifierHead)
    assert isinstance(model.encoder, Encoder)
    name = model.encoder.spec.name
    twin: Any = timm.create_model(name, num_classes=len(model.classes), in_chans=model.channels)
    own, classifier = model.encoder.state_dict(), twin.get_classifier()
    prefix = next((name for name, module in twin.named_modules() if module is classifier), "")
    weights = {key: own[name] for key in twin.state_dict() for name in names_in_encoder(key) if name in own}
    weights |= {f"{prefix}.{name}": tensor for name, tensor in model.head.linear.state_dict().items()}
    twin.load_state_dict(weights)
    return twin.eval()


def _config(model: Predictor, twin: Any, size: Sequence[int]) -> dict[str, object]:
    """Return timm's config.json: the name of the model, its classes, and the normalisation of images."""
    channels = model.channels
    return {
        "architecture": twin.pretrained_cfg["architecture"],
        "num_classes": len(model.classes),
        "label_names": list(model.classes),
        "model_args": {"in_chans": channels} if channels != 3 else {},
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
