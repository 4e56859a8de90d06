"""Export the model of a finished run for other programs.

    python export.py run=RUN format=onnx             for ONNX Runtime, TensorRT
    python export.py run=RUN format=pt2              for torch.export.load
    python export.py run=RUN format=hub              for the Hugging Face hub
                                                     and pixelwise.load
    python export.py run=RUN format=onnx output=DIR  instead of RUN/export/

model.onnx and model.pt2 map raw images (B, C, H, W), in the dtype of the
training images, to logits. They accept any batch size, and any image size that
the encoder accepts. They include scaling and normalization, but no resizing.

The command opens each export again and compares its logits with those of the
trained model. It writes the test image and its logits to sample.npz.
sample=photo.jpg replaces the image, which is otherwise taken from the data set
of the run. checkpoint=last exports the last weights instead of the best.
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
    """Load the model, export it and compare the outputs."""
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
