"""Create a Weights & Biases dashboard for the runs of a project.

    python scripts/workspace.py data=toy logger.wandb.project=NAME
    python scripts/workspace.py data=toy logger.wandb.offline=true

Takes the same arguments as train.py and creates panels for what a run logs:
learning curves, scores of each class, phases and learning rates, example
predictions, speed, and the comparison of a sweep. Prints the sections and saves
them as a new view of the project; this needs `wandb login`. Offline, it writes
the specification of the view to workspace.json instead.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command


@command("train", "logger=wandb", "hydra.run.dir=.", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Print the sections; save the view, or write its specification to a file."""
    from pixelwise.files import write_text
    from pixelwise.sweeps.wandb_dashboard import outline, save, specification, workspace

    view = workspace(config)
    for section, panels in outline(view).items():
        print(section, *panels, sep="\n    ")
    if config.logger.wandb.offline:
        file = Path("workspace.json")
        write_text(file, specification(view))
        print(f"specification: {file}")
    else:
        print(f"saved: {save(view)}")
