"""Draw synthetic tiles in the layout of the ISPRS Potsdam release.

    python scripts/draw_potsdam.py data.root=DIR data.source.zips=true
    python scripts/draw_potsdam.py data.root=DIR data.source.size=6000
    python scripts/draw_potsdam.py data.root=DIR 'data.source.parts=[RGB,label]'

Takes the arguments of train.py data=potsdam_synthetic. Draws each tile of
data.source.split with all files of the release, or only with those named in
data.source.parts. The licence of the release does not allow redistribution.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pixelwise.cli.command import command


@command("train", "data=potsdam_synthetic", "hydra.run.dir=.", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Draw the missing files."""
    from pathlib import Path

    from pixelwise.drawn.city.potsdam_release import PARTS, draw_release

    source = config.data.source
    tiles = [tile for tiles in source.split.values() for tile in tiles]
    root = Path(config.data.root).expanduser()
    draw_release(root, tiles, source.size, source.seed, source.parts or PARTS, source.zips)
    print(f"{len(tiles)} tiles of {source.size}×{source.size} pixels in {root}")
