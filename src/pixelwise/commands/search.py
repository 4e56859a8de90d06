"""Search a space: `python scripts/search.py search=loss_and_rate sweep.name=NAME`; once more, it goes on."""

from __future__ import annotations

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import output_folder, overrides


@command("train", "hydra.run.dir=runs/${sweep.name}")
def main(config: DictConfig) -> None:
    """Run trials until there are enough; each is a run folder of its own."""
    from pixelwise.sweeps.search import search

    search(config, overrides(), output_folder())
