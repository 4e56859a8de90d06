"""Constants and types that all packages share: the ignored label, samples, batches, splits.

This module does not import torch at run time, so that `python train.py --help` starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor

    from pixelwise.data.samplers import SampleIndex
    from pixelwise.inference.tiling import Tiling, Window

IGNORE = 255
"""The label of pixels that losses and scores ignore."""

NODATA = 254
"""The label of pixels where the image is nodata. When a sample is made, the image is set to the mean of the
training images there, and the label to `IGNORE`."""


def ignored_label(classes: int) -> int:
    """Return the label that losses and scores ignore: 255, or K if images have K > 255 classes."""
    return max(IGNORE, classes)


FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0}
"""The stored value that is scaled to 1.0, by dtype; float images are not scaled."""


class Raw(NamedTuple):
    """One item as the data set stores it, before augmentation."""

    image: np.ndarray
    """(H, W, C) in the dtype of the source: uint8, uint16 or float32."""
    target: np.ndarray | int
    """(H, W) uint8 index mask, with `IGNORE` and `NODATA` for such pixels; or one class index."""
    key: str
    """Name of the item in messages, tables and predictions; unique within its split."""
    border: np.ndarray | None = None
    """(H, W) bool, True for pixels that scores of eroded labels ignore; None if there are no such scores."""
    focus: tuple[int, int] | None = None
    """(x, y) of a pixel that a random crop must contain; None if the crop may lie anywhere."""
    nodata: np.ndarray | None = None
    """(H, W) bool, True where the image is nodata; None if it is nodata nowhere, or if the mask marks these
    pixels by `NODATA`."""
    window: Window | None = None
    """Position in a larger image. The windows of one image are items in reading order, scored together."""


class Split:
    """One split of a data set: a sequence of `Raw` items, each read on access.

    A subclass defines `__len__`, `__getitem__` and `size`. It should also define `key`, `image`, `target` and
    `stored_bytes` if they can be found without reading a whole item. The other members are for splits whose
    items are windows of larger images; see `pixelwise.data.tiles.split`. Several worker processes call all
    of them at once.
    """

    draws: int | None = None
    """Number of random crops per training epoch; None trains on the items themselves."""
    tiling: Tiling | None = None
    """How larger images are cut into items; None if the items are whole images."""
    tile_of: Sequence[int] | None = None
    """For each item, the index of the larger image that it is a window of; None if items are whole images."""
    remarks: Sequence[str] = ()
    """Warnings about the files that do not prevent training, one sentence each."""

    def __len__(self) -> int:
        """Number of items."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Raw:
        """Read one item."""
        raise NotImplementedError

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of one image, without decoding its pixels."""
        raise NotImplementedError

    def key(self, index: int) -> str:
        """The item's name."""
        return self[index].key

    def image(self, index: int) -> np.ndarray:
        """The item's image (H, W, C)."""
        return self[index].image

    def target(self, index: int) -> np.ndarray | int:
        """The item's labels, for counting; of overlapping windows, without the pixels of later windows."""
        return self[index].target

    def verify(self) -> None:
        """Raise `UserError` if a stored copy of the files, such as a prepared tile, is damaged.

        Called where every image is read: by `data.verify=true` and by scripts/audit.py.
        """

    def stored_bytes(self, index: int) -> int:
        """Size of the item's files in bytes, to detect changes; 0 if it is unknown."""
        return 0

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        """Read the image that random crop `index` of an epoch is cut from; called only if `draws` is set."""
        raise NotImplementedError

    @property
    def originals(self) -> list[tuple[str, tuple[int, int], int]]:
        """Name, (H, W) and bytes of each stored image, however it is cut; this identifies the data."""
        return [(self.key(i), self.size(i), self.stored_bytes(i)) for i in range(len(self))]


class Source:
    """A source of images and labels. A new data set needs one subclass of this and one YAML file."""

    exact_bands: ClassVar[bool] = False
    """Whether an image must have exactly `data.channels` bands; else grey and alpha are adapted."""

    def split(self, name: str) -> Split | None:
        """Return the split "train", "val" or "test", or None if the data set does not have it."""
        raise NotImplementedError

    def describe(self) -> str:
        """Describe the origin of the splits in one line, logged at the start of a run; "" logs nothing."""
        return ""

    def fix_missing_val(self) -> str | None:
        """Return what the user can do if there is no val split; None if the data set knows no way."""
        return None


class Sample(TypedDict):
    """One augmented item, before it is moved to the device."""

    image: Tensor
    """(C, H, W) in the source's dtype."""
    target: Tensor
    """(H, W) uint8 index mask, () int64 class index, or (K,) float: 1 for each class that is present."""
    key: str
    valid: bool
    """False for a copy, which scores ignore."""
    index: NotRequired[SampleIndex]
    """Phase, epoch and number of the sample; in training only."""
    border: NotRequired[Tensor]
    """(H, W) bool, see `Raw.border`; in evaluation only."""
    window: NotRequired[Window]
    """See `Raw.window`; in evaluation only."""


class Batch(TypedDict):
    """Stacked samples of one size; on the device, `image` becomes float and is normalised."""

    image: Tensor
    """(B, C, H, W)."""
    target: Tensor
    """(B, H, W), (B,) or (B, K); int64 on the device."""
    valid: Tensor
    """(B,) bool: False for rows that only fill up the batch."""
    key: list[str]
    second: NotRequired[Tensor]
    """Target of the image that was mixed into each row, like `target`. Present only if targets are soft."""
    share: NotRequired[Tensor]
    """(B,) float32, share of `target` in the soft target; the rest belongs to `second`."""
    border: NotRequired[Tensor]
    """(B, H, W) bool."""
    labels: NotRequired[Tensor]
    """(2, K + 1) int64: labelled pixels of each class, then images with a label; float32 for soft targets.
    The first row is for this batch, the second for all batches of its optimizer step. Present only if a step
    has several batches."""
    window: NotRequired[list[Window]]
    """B windows of one image, in reading order."""
