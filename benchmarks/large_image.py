"""Peak memory and time of the prediction of a large GeoTIFF, relative to the idle process with the model.

    python benchmarks/large_image.py                  6000² and 12000² pixels, with and without probabilities
    python benchmarks/large_image.py 3000 --tta

Each measurement runs in its own process, which predicts a drawn tile with the default segmenter (six classes,
random weights) and the writer of predict.py. Linux only: the peak is VmHWM of /proc.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

CLASSES = ["impervious", "building", "low", "tree", "car", "clutter"]


def draw(file: Path, side: int) -> None:
    """Write an RGB GeoTIFF of side² pixels, coloured blocks with noise, in bands of rows."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    place = {"crs": "EPSG:32633", "transform": from_origin(366676, 5808769, 0.05, 0.05)}
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": side, "width": side, **place}
    with rasterio.open(file, "w", **profile) as dataset:
        for top in range(0, side, 100):
            rows = min(100, side - top)
            blocks = rng.integers(0, 216, (3, 1, side // 100 + 1), dtype=np.uint8).repeat(100, 2)[..., :side]
            noise = rng.integers(0, 40, (3, rows, side), dtype=np.uint8)
            dataset.write(blocks + noise, window=Window(0, top, side, rows))


def memory(key: str) -> float:
    """Return the megabytes of this process: VmRSS (now) or VmHWM (peak)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[key].split()[0]) / 1024


def measure(file: Path, output: Path, probabilities: bool, arguments: argparse.Namespace) -> dict[str, float]:
    """Predict one file in this process."""
    import torch

    from pixelwise.augmentation import CenterCrop
    from pixelwise.data.io.images import ImageReader
    from pixelwise.inference import D4, Tiling
    from pixelwise.models import Composition, Encoder, Normalize, PixelHead
    from pixelwise.models.decoders import UNet
    from pixelwise.prediction.predict import MaskWriter, predict
    from pixelwise.prediction.writer import MapOptions
    from pixelwise.runtime.device import precision

    encoder = Encoder("resnet18")
    decoder = UNet(encoder.channels, encoder.strides)
    head = PixelHead(decoder.out_channels, len(CLASSES))
    model = Composition(encoder, decoder, head, Normalize([0.5] * 3, [0.25] * 3)).eval()
    maps = MapOptions(Tiling(arguments.window, 0.25), probabilities, ImageReader(), mean=None)
    writer = MaskWriter(output, CLASSES, None, CenterCrop(None), maps)
    output.mkdir(exist_ok=True)
    bf16 = precision(arguments.precision, "cpu").startswith("bf16")
    with torch.inference_mode():  # the first forward pass loads kernels, which belong to the idle process
        model(torch.zeros(1, 3, 64, 64))
    idle = memory("VmRSS")
    start = perf_counter()
    predict(model, {"tile": file}, writer, output, bf16=bf16, views=[D4()] if arguments.tta else [])
    return {"idle": idle, "peak": memory("VmHWM"), "seconds": perf_counter() - start}


def fresh(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function in a new process, whose memory holds nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def main() -> None:
    """Print two lines per size."""
    parser = argparse.ArgumentParser(description="Peak memory and time of the prediction of a large GeoTIFF.")
    parser.add_argument("sides", type=int, nargs="*", default=[6000, 12000])
    parser.add_argument("--window", type=int, default=768)
    parser.add_argument("--precision", default="auto", help="as trainer.precision")
    parser.add_argument("--tta", action="store_true", help="D4, eight views")
    arguments = parser.parse_args()
    for side in arguments.sides:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "tile.tif"
            fresh(draw, file, side)
            for probabilities in (False, True):
                output = Path(folder) / f"out_{probabilities}"
                found = fresh(measure, file, output, probabilities, arguments)
                print(
                    f"{side}² {'with' if probabilities else 'without'} probabilities: "
                    f"idle {found['idle']:.0f} MB, peak {found['peak'] - found['idle']:+.0f} MB, "
                    f"{found['seconds']:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
