"""Try every timm model as the encoder of every decoder, on the meta device, and write the results.

    python tools/encoders.py docs/encoders.md

This takes about half an hour on one core. Patterns of model names after the file select a part of the models.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

DECODERS = Path(__file__).parents[1] / "conf/decoder"


def main(output: str, *patterns: str) -> None:
    """Write the table, and print the progress."""
    import timm
    from omegaconf import OmegaConf
    from tools.encoder_table import report, survey

    from pixelwise.build import instantiate

    def make(file: Path, channels: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        return instantiate.make(OmegaConf.load(file), "decoder", channels=channels, strides=strides)

    files = sorted(DECODERS.glob("*.yaml"))
    decoders = {file.stem: partial(make, file) for file in files}
    output_strides = {
        file.stem: config.encoder_output_stride
        for file in files
        if "encoder_output_stride" in (config := OmegaConf.load(file))
    }
    names = timm.list_models(list(patterns) or "")
    rows = []
    for row in survey(names, decoders, output_strides):
        rows.append(row)
        if row.native or len(rows) % 20 == 0:
            print(f"{len(rows)}/{len(names)} {row.name} {row.native}", file=sys.stderr, flush=True)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(report(rows, decoders, output_strides))
    print(f"{output}: {sum(not row.native for row in rows)} of {len(rows)} work with every decoder")


if __name__ == "__main__":
    main(*sys.argv[1:])
