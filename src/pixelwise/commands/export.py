"""Hand a finished run over to other programs.

    python export.py run=RUN format=onnx               model.onnx, for onnxruntime, TensorRT, OpenVINO …
    python export.py run=RUN format=pt2                model.pt2, a graph for torch.export.load
    python export.py run=RUN format=hub                a folder for the Hugging Face hub and pixelwise.load
    python export.py run=RUN format=onnx output=DIR    elsewhere than in RUN/export/

Graphs take raw RGB images (B, C, H, W) in the training images' dtype, any number of them and of any size
that the encoder takes, and give logits: scaling and normalising are inside, resizing (of a classifier's
images) is not. Each export is opened again and compared with the trained model, on an image that is written
beside it with its logits (sample.npz). `sample=photo.jpg` takes another image than the run's data set gives,
`checkpoint=last` other weights than the best.
"""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.hints import check_choice

log = logging.getLogger(__name__)


@command("export", starts_from="run")
def main(config: DictConfig) -> None:
    """Restore the model, write it, compare."""
    check_choice("format", config.format, config.formats)

    from pixelwise import runs
    from pixelwise.build.instantiate import make
    from pixelwise.export import export, subject

    folder, output = runs.open_run(config.run), Path(config.output).expanduser()
    form = make(config.formats[config.format], f"formats.{config.format}")
    agreement = export(subject(config, folder), form, output, config.tolerance)
    log.info("run folder: %s, weights %s", folder, config.checkpoint)
    log.info("%s", agreement)
    log.info("%s: %s", output, ", ".join(sorted(file.name for file in output.iterdir())))
