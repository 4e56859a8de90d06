"""Train a model: `python train.py task=segmentation loss=dice` (`--help` lists every choice)."""

import logging

from omegaconf import DictConfig

from pixelwise.command_line import command, differences, output_folder, overrides

log = logging.getLogger(__name__)


@command("train")
def main(config: DictConfig) -> float:
    """Make the run folder, build everything, train; what it returns is what a sweep compares."""
    from pixelwise import run_folder

    folder = run_folder.create(output_folder(), config, overrides())
    log.info("run folder: %s", folder)
    log.info("differs from the defaults in: %s", " ".join(differences("train", config)) or "nothing")

    from pixelwise import build  # torch is imported from here on
    from pixelwise.train import train

    build.refuse_idle(config, overrides())
    best = train(build.run(run_folder.load_config(folder), folder), folder)
    log.info("run folder: %s", folder)
    return best


if __name__ == "__main__":
    main()
