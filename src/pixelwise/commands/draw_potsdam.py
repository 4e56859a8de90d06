"""Draw tiles in the layout of the ISPRS Potsdam release, which cannot be passed on.

    python scripts/draw_potsdam.py data.root=DIR data.source.size=6000 data.source.zips=true

Takes the words of train.py with data=potsdam_synthetic. Draws every file that the release has for a tile
('data.source.parts=[RGB,label]': only some), for the tiles that data.source.split names.
"""

from __future__ import annotations

from omegaconf import DictConfig

from pixelwise.cli.command import command


@command("train", "data=potsdam_synthetic", "hydra.run.dir=.", "hydra/job_logging=terminal")
def main(config: DictConfig) -> None:
    """Draw what is missing."""
    from pathlib import Path

    from pixelwise.drawn.city.potsdam_release import PARTS, draw_release

    source = config.data.source
    tiles = [tile for tiles in source.split.values() for tile in tiles]
    root = Path(config.data.root).expanduser()
    draw_release(root, tiles, source.size, source.seed, source.parts or PARTS, source.zips)
    print(f"{len(tiles)} tiles of {source.size}×{source.size} pixels in {root}")
