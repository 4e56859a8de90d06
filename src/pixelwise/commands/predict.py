"""Predict images with a finished run.

    python predict.py run=RUN input=photo.jpg output=DIR
    python predict.py run=RUN 'input=FOLDER/*.png' output=DIR
    python predict.py run=RUN input=FOLDER output=DIR    all images below FOLDER
    python predict.py run=RUN input=TILE.tif output=DIR  a georeferenced map
    python predict.py run=RUN input=TILE.tif output=DIR tta=d4 'bands=[4,1,2]'

A segmentation model writes for each image, at its original size:

    photo.jpg   photo.png (class indices with a palette), photo_overlay.png
    TILE.tif    TILE.tif (same CRS and transform), TILE_areas.csv and a reduced
                overlay

Images larger than window=768 pixels are predicted in overlapping, blended
windows; for a run on tiles, in the windows that its tiles were scored with. A
run with data.eval predicts them by it, and maps keep the size of the image. A
classification or tagging model writes probabilities.csv.

A second call continues an interrupted prediction. probabilities=true also
writes the class probabilities of each pixel; bands=[4,1,2] selects bands of a
TIFF; checkpoint=last uses the last weights instead of the best.
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
    from pixelwise.runs.lock import locked

    folder, output = runs.open_run(config.run), Path(config.output).expanduser()
    images = find_images(config.input, output)
    weights = checkpoints.file_of(folder, config.checkpoint)
    model = build.model(build.without_downloads(config))
    checkpoints.load_model(model, weights, must_be_finite=True)
    compare({"classes": [str(name) for name in config.data.classes]}, folder / "data.json")
    writer = build.writer(config, output, overrides(), model.normalize.mean.tolist())
    prepare_output(output, weights, build.prediction_identity(config), images)
    if protocol := str(build.evaluation_protocol(config)):
        log.info("images are predicted as the run is evaluated: %s (data.eval)", protocol)
    with locked(output):  # another process would replace unfinished files
        count = predict(model, images, writer, output, **build.prediction_settings(config))
    log.info("run folder: %s, weights %s", folder, config.checkpoint)
    log.info("%d prediction%s in %s", count, "" if count == 1 else "s", output)
