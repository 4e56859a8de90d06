"""Look through a data set before training on it.

    python scripts/audit.py data=folder data.root=DIR 'data.classes=[background,road]'

Takes the same words as train.py. Prints for each split the number of images, their sizes and the
class histogram; names damaged files, unknown label values and duplicates, and lists every one of
them in runs/audit/problems.txt. Exit status 1 where something has to be mended.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pixelwise.cli.command import command


@command("train", "hydra.run.dir=runs/audit", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Read everything once and print what was found."""
    import rich

    from pixelwise import build
    from pixelwise.cli.job import write_problem_list
    from pixelwise.data.audit import audit

    result = audit(build.source(config), config.data.classes, show_progress=True)
    rich.print(result)
    if listed := write_problem_list(result.every):
        print(f"all {len(result.every):,} items with a problem: {listed}")
    if result.problems:
        raise SystemExit(1)
