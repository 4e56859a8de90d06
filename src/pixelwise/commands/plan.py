"""Draw what a training would do, without training.

    python scripts/plan.py schedule=three_phase encoder=resnet50 optimizer.layer_decay=0.75

Takes the same words as train.py. Prints for each phase its length, the learning rate of each part, what is
frozen, augmentation, crop and loss; the same as a picture lies in plan_<schedule>.png. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import choice, overrides


@command("train", "hydra.run.dir=.", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Print the table, write the picture."""
    import rich

    from pixelwise.build import outline
    from pixelwise.cli.checks import check_choices
    from pixelwise.reports.drawing import save_picture
    from pixelwise.reports.schedule_figure import draw, table

    check_choices(config, overrides())
    plan = outline(config)
    rich.print(table(plan))
    picture = Path(f"plan_{choice('schedule')}.png")
    save_picture(draw(plan), picture)
    print(f"picture: {picture}")
