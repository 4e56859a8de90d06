"""Compare what an encoder's features say about images and about pixels.

    python scripts/probe.py encoder.name=resnet50 encoder.pretrained=true
    python scripts/probe.py data=pets data.root=DIR encoder.weights=FILE
    python scripts/probe.py encoder=vit_small_dinov3 decoder.encoder_blocks=4
    python scripts/probe.py task=segmentation 'probe.learning_rates=[1e-3]'
    python scripts/probe.py -m encoder.name=resnet18,convnext_tiny

Takes the arguments of train.py for data and encoder, and those of
conf/probe.yaml. The encoder is frozen. Its features are computed once and kept
in runs/probe/cache. Linear heads with different learning rates and weight
decays are trained on them in one pass, for images on the pooled features and
for pixels on the last map; images are also classified by nearest neighbours.
The best on val is scored on test.

If the images have no classes of their own, the classes in their masks are
their labels. task=… runs one probe only. Writes metrics.json (the best),
probe.json (all heads) and probe.png to runs/probe.
"""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import output_folder, overrides

log = logging.getLogger(__name__)


@command("probe")
def main(config: DictConfig) -> None:
    """Run the probes that the data have labels for, and write what they found."""
    from dataclasses import asdict

    from pixelwise import files, runs
    from pixelwise.probing.probe import probe
    from pixelwise.probing.report import final_scores, plot, table
    from pixelwise.probing.subjects import check_words, subjects
    from pixelwise.reports.drawing import save_picture
    from pixelwise.runtime.terminal import show

    words, folder = overrides(), output_folder()
    check_words(words)
    results = [probe(*subject) for subject in subjects(words)]
    encoder = config.encoder.name
    if not (config.encoder.get("pretrained") or config.encoder.get("weights")):
        encoder += ", random weights"
    show(table(results, encoder))
    runs.write_scores(folder / "metrics.json", final_scores(results))
    files.write_json(folder / "probe.json", {result.task: asdict(result) for result in results})
    save_picture(plot(results, encoder), folder / "probe.png")
    log.info("picture: %s", folder / "probe.png")
