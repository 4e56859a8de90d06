"""Search hyperparameters with Optuna.

    python scripts/search.py search=loss_and_rate sweep.name=NAME

Takes the same arguments as train.py. search=OPTION selects the search space, a
file of conf/search. Each trial is a run in runs/NAME. The same command again
continues the search.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import output_folder, overrides


@command("train", "hydra.run.dir=runs/${sweep.name}")
def main(config: DictConfig) -> None:
    """Run the remaining trials, each in its own run folder."""
    from pixelwise.sweeps.search import search

    search(config, overrides(), output_folder())
