"""Make a dashboard on Weights & Biases for the runs of a project.

    python scripts/workspace.py task=segmentation data=toy logger.wandb.project=scenes
    python scripts/workspace.py task=segmentation data=toy logger.wandb.offline=true

Takes the same words as train.py, and makes panels for what such a run logs: learning curves, scores of each
class, phases and learning rates, samples, speed, and the comparison of a sweep. Prints the sections and saves
them as a new view of the project, which needs `wandb login`; offline, workspace.json has what would be sent.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command


@command("train", "logger=wandb", "hydra.run.dir=.", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Print the sections; save them, or write them to a file."""
    from pixelwise.files import write_text
    from pixelwise.sweeps.wandb_dashboard import outline, save, specification, workspace

    made = workspace(config)
    for section, panels in outline(made).items():
        print(section, *panels, sep="\n    ")
    if config.logger.wandb.offline:
        file = Path("workspace.json")
        write_text(file, specification(made))
        print(f"specification: {file}")
    else:
        print(f"saved: {save(made)}")
