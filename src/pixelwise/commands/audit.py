"""Check a data set before training.

    python scripts/audit.py data=folder data.root=DIR 'data.classes=[sky,road]'

Takes the same arguments as train.py. Prints for each split the number of
images, their sizes and the class histogram. Reports damaged files, unknown
label values and duplicates, and lists all of them in runs/audit/problems.txt.
The exit status is 1 if there is a problem to correct.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pixelwise.cli.command import command


@command("train", "hydra.run.dir=runs/audit", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Read every image and label once and print the result."""
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
