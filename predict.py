"""Predict images with a finished run.

    python predict.py run=RUN input=photo.jpg output=DIR
    python predict.py run=RUN input=FOLDER output=DIR          every image below FOLDER
    python predict.py run=RUN 'input=FOLDER/*.png' output=DIR

A segmenter writes NAME.png (class indices, with their colours) and NAME_overlay.png for each image,
at the image's own size; a classifier writes probabilities.csv. Called again, it goes on where it
stopped. `checkpoint=last` takes other weights than the best.
"""

import logging
from pathlib import Path

from omegaconf import DictConfig

from pixelwise.command_line import command

log = logging.getLogger(__name__)


@command("predict")
def main(config: DictConfig) -> None:
    """Rebuild the model from the run folder and predict."""
    from pixelwise import build, checkpoint, run_folder
    from pixelwise.predict import find_images, predict, prepare_output

    folder, output = run_folder.open_run(config.run), Path(config.output).expanduser()
    images = find_images(config.input)
    weights = folder / "checkpoints" / f"{config.checkpoint}.ckpt"
    model = checkpoint.load_model(build.model(build.without_downloads(config)), weights)
    prepare_output(output, weights)
    count = predict(model, images, build.writer(config, output), **build.prediction_settings(config))
    log.info("run folder: %s, weights %s", folder, config.checkpoint)
    log.info("%d predictions in %s", count, output)


if __name__ == "__main__":
    main()
