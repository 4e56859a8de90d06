"""Predict images with a finished run.

    python predict.py run=RUN input=photo.jpg output=DIR
    python predict.py run=RUN input=FOLDER output=DIR          every image below FOLDER
    python predict.py run=RUN 'input=FOLDER/*.png' output=DIR
    python predict.py run=RUN input=TILE.tif output=DIR        a georeferenced map of a GeoTIFF
    python predict.py run=RUN input=TILE.tif output=DIR tta=d4 probabilities=true

A segmenter writes NAME.png (class indices, with their colours) and NAME_overlay.png for each image, at
the image's own size; for a TIFF NAME.tif with the same CRS and transform, NAME_areas.csv and a small
overlay. Images larger than `window=768` pixels go through in windows that overlap and are blended; those of
a run on tiles as its tiles were scored.
A classifier writes probabilities.csv. Called again, it goes on where it stopped. `checkpoint=last` takes
other weights than the best, `bands=[4,1,2]` these bands of a TIFF.
"""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.hints import check_views
from pixelwise.cli.job import overrides

log = logging.getLogger(__name__)


@command("predict", starts_from="run")
def main(config: DictConfig) -> None:
    """Rebuild the model from the run folder and predict."""
    check_views(config)

    from pixelwise import build, runs
    from pixelwise.prediction.files import find_images, prepare_output
    from pixelwise.prediction.predict import predict
    from pixelwise.runs import checkpoints
    from pixelwise.runs.data_record import compare

    folder, output = runs.open_run(config.run), Path(config.output).expanduser()
    images = find_images(config.input, output)
    weights = checkpoints.file_of(folder, config.checkpoint)
    model = checkpoints.load_model(build.model(build.without_downloads(config)), weights)
    compare({"classes": [str(name) for name in config.data.classes]}, folder / "data.json")
    writer = build.writer(config, output, overrides(), model.normalize.mean.tolist())
    prepare_output(output, weights, build.prediction_identity(config), images)
    count = predict(model, images, writer, output, **build.prediction_settings(config))
    log.info("run folder: %s, weights %s", folder, config.checkpoint)
    log.info("%d prediction%s in %s", count, "" if count == 1 else "s", output)
