"""Features of the samples of a split: what the linear layer of a classifier or a segmenter takes."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from time import perf_counter
from typing import Any

import numpy as np
import torch
from rich import get_console
from rich.progress import track
from torch import Tensor

from pixelwise.data import DataModule
from pixelwise.models import Composition
from pixelwise.probing.cache import Sample
from pixelwise.probing.heads import FINER, device
from pixelwise.types import IGNORE, NODATA, ignored_label


def digest(model: Composition) -> str:
    """Return a hash of the weights and statistics that the features depend on."""
    total = blake2b(digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        if model.part_of(name) in ("encoder", "normalize"):
            total.update(name.encode())
            total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


class Extraction:
    """One pass of a model over a split in the view of evaluation, without gradients or augmentation.

    Attributes:
        seconds: how long the model took so far, without reading the images.

    Args:
        model: the model; it is moved to a GPU if there is one.
        data: the data set.
        split: "train", "val" or "test"; the labels of "train" are targets for the heads, see `targets`.
        bf16: compute in bfloat16, as in mixed-precision training.
    """

    def __init__(self, model: Composition, data: DataModule, split: str, bf16: bool) -> None:
        self.model = model.to(device(), memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.data, self.split, self.bf16 = data, split, bf16
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Sample]:
        loader: Any = self.data.evaluation_loader(self.split)
        split, batches = self.data[self.split], zip(loader.batch_sampler, loader, strict=True)
        hidden = not get_console().is_terminal
        for indices, batch in track(
            batches, f"features of {self.split}", len(loader), transient=True, disable=hidden
        ):
            start = perf_counter()
            maps = self.forward(batch["image"][: len(indices)])
            self.seconds += perf_counter() - start
            for index, features, target in zip(indices, maps.numpy(), batch["target"].numpy(), strict=False):
                if split.tile_of and target.ndim == 2:  # so that overlapping windows share no pixel
                    target = np.asarray(split.target(index.sample))
                    target = np.where(target == NODATA, np.uint8(IGNORE), target)
                height, width = (*features.shape[1:], 1, 1)[:2]
                rows = features.reshape(len(features), -1).T
                if self.split == "train":
                    target = targets(target, (height, width), len(self.data.classes))
                yield Sample(rows, (height, width), target)

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Tensor:
        """Raw images (B, C, H, W) → float32 features (B, D) or (B, D, h, w) on the CPU."""
        with torch.autocast(device().type, torch.bfloat16, enabled=self.bf16):
            image = self.model.normalize(pixels.to(device()))
            return self.model.linear_input(image.contiguous(memory_format=torch.channels_last)).float().cpu()


def targets(labels: np.ndarray, map_size: tuple[int, int], classes: int) -> np.ndarray:
    """Return the target of each row of features.

    For a mask (H, W) these are the numbers of pixels of each class in each cell of a map that is `FINER`
    times as high and wide. The cross-entropy with them is that of the mask and logits that are constant
    within each of these cells.

    Args:
        labels: (H, W) uint8 with `IGNORE`, () a class index, or (K,) float with `IGNORE`.
        map_size: (h, w).
        classes: K.

    Returns:
        (FINER² · h · w, K) uint32 of a mask; (1, K) of an image: uint32, 1 for its class, or its own labels.
    """
    if labels.ndim == 1:
        return labels[None]
    if labels.ndim == 2:
        map_size = (FINER * map_size[0], FINER * map_size[1])
    mask, values = np.atleast_2d(labels).astype(np.int64), ignored_label(classes) + 1
    rows, columns = (np.arange(n) * cells // n for n, cells in zip(mask.shape, map_size, strict=True))
    cells = rows[:, None] * map_size[1] + columns
    size = map_size[0] * map_size[1]
    counts = np.bincount((cells * values + mask).ravel(), minlength=size * values)
    return counts.reshape(size, values)[:, :classes].astype(np.uint32)
