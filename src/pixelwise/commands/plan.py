"""Draw the schedule of a training without training.

    python scripts/plan.py schedule=three_phase
    python scripts/plan.py encoder=resnet50 optimizer.layer_decay=0.75

Takes the same arguments as train.py. Prints for each phase its length, the
learning rate of each part, the frozen parts, augmentation, crop size and loss,
and draws them in plan_<schedule>.png. Downloads nothing.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from pixelwise.cli.command import command
from pixelwise.cli.job import choice, overrides


@command("train", "hydra.run.dir=.", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Print the table and write the figure."""
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
