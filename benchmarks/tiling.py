"""Time of tiled prediction outside the network, compared with MONAI's sliding_window_inference.

    python benchmarks/tiling.py                  a U-Net/ResNet-18, windows of 512 pixels, overlap ½ and ¼
    pip install monai                            optional: adds its column

An image in memory becomes a map of class indices. The time of the network is measured around each call;
the rest (cutting, weighting, adding, argmax) is the overhead, in per cent of it. Both sides have the same
network and number of windows, and alternate in each round. The results are medians over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from pixelwise.inference import Pixels, Tiling, bands, blend, labels
from pixelwise.models import Composition, Encoder, Normalize, PixelHead
from pixelwise.models.decoders import UNet

try:
    from monai.inferers import sliding_window_inference
except ImportError:
    sliding_window_inference = None

Network = Callable[[Tensor], Tensor]
ROUNDS, SIDE, WINDOW, CLASSES, BATCH = 5, 1536, 512, 6, 4


def build() -> Composition:
    """Return the default segmenter with random weights."""
    encoder = Encoder("resnet18", pretrained=False)
    decoder = UNet(encoder.channels, encoder.strides)
    head = PixelHead(decoder.out_channels, CLASSES)
    model = Composition(encoder, decoder, head, Normalize([0.5] * 3, [0.25] * 3))
    return model.to(memory_format=torch.channels_last).eval()


class Timed:
    """A network that measures its own time."""

    def __init__(self, model: Network) -> None:
        self.model = model
        self.seconds = 0.0

    def __call__(self, image: Tensor) -> Tensor:
        """Return the logits."""
        start = perf_counter()
        logits = self.model(image)
        self.seconds += perf_counter() - start
        return logits


def measure(predict: Callable[[Timed], np.ndarray], model: Network) -> tuple[float, float]:
    """Return (seconds in the network, seconds outside) of one prediction."""
    network = Timed(model)
    start = perf_counter()
    predict(network)
    return network.seconds, perf_counter() - start - network.seconds


@torch.inference_mode()
def main() -> None:
    """Print the times for each overlap."""
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    model = build()

    def raw(pixels: Tensor) -> Tensor:
        return model(model.normalize(pixels))

    print(f"{SIDE}² pixels, {CLASSES} classes, {torch.get_num_threads()} threads")
    print(f"windows of {WINDOW}², {BATCH} at once")
    for overlap in (0.5, 0.25):
        tiling = Tiling(WINDOW, overlap, BATCH)

        def ours(network: Timed, tiling: Tiling = tiling) -> np.ndarray:
            found = bands(blend(Pixels(image), network, tiling, CLASSES), labels)
            return np.concatenate([band for _, band in found], axis=1)

        def theirs(network: Timed, overlap: float = overlap) -> np.ndarray:
            assert sliding_window_inference is not None
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
            logits = sliding_window_inference(
                pixels.float(), (WINDOW, WINDOW), BATCH, network, overlap, mode="gaussian"
            )
            return logits.max(1).indices.to(torch.uint8).numpy()

        sides = {"pixelwise": ours} | ({"MONAI": theirs} if sliding_window_inference else {})
        rounds = {name: [measure(side, raw) for _ in range(1)] for name, side in sides.items()}  # warm up
        for _ in range(ROUNDS):
            for name, side in sides.items():
                rounds[name].append(measure(side, raw))
        print(f"overlap {overlap}: {tiling.count((SIDE, SIDE))} windows")
        for name, times in rounds.items():
            inside, outside = np.median(np.array(times[1:]), axis=0)
            share = outside / inside
            print(f"  {name:<10} network {inside:6.2f} s, the rest {1000 * outside:5.0f} ms: {share:.1%}")


if __name__ == "__main__":
    main()
