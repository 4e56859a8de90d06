"""The facts everybody shares: the ignored label, and what a sample and a batch are made of.

Nothing here imports torch at run time, so that `python train.py --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NotRequired, Protocol, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pixelwise.inference.tiling import Window

IGNORE = 255
"""The label of pixels that count nowhere: not in a loss, not in a score."""


NODATA = 254
"""The label of pixels at which the image itself is nodata, until the sample is made: then the image holds the
mean of the training images there, and the label is `IGNORE`."""

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0}
"""The stored value that becomes 1.0, by dtype; float images are taken as they are."""


class Raw(NamedTuple):
    """One item as a data set stores it, before augmentation."""

    image: np.ndarray
    """(H, W, C), in the source's dtype: uint8, uint16 or float32."""
    target: np.ndarray | int
    """(H, W) uint8 index mask with `IGNORE` for pixels that do not count, or `NODATA`; or one class index."""
    key: str
    """Names the item in messages, tables and predictions; unique within its split."""
    border: np.ndarray | None = None
    """(H, W) bool, True where scores of eroded labels do not look; None where there are no such scores."""
    focus: tuple[int, int] | None = None
    """(x, y) of a pixel that a random crop has to show; None for a crop anywhere."""
    nodata: np.ndarray | None = None
    """(H, W) bool, True where the image is nodata; None where it is so nowhere, or the mask says it by
    `NODATA`."""
    window: Window | None = None
    """Where in a larger image this lies, whose windows are items in reading order and are scored as one."""


class Split(Protocol):
    """One split of a data set: a sequence of `Raw` items, each read when it is asked for.

    A split of large images may also have `draws`, the number of random crops that make an epoch, and
    `draw(index, rng) -> Raw`, which training then calls instead; and `tile_of`, the number of the image that
    each item is a window of. See `pixelwise.data.tiles.split`.
    """

    def __len__(self) -> int:
        """Number of items."""
        ...

    def __getitem__(self, index: int) -> Raw:
        """Read one item; safe to call from several worker processes."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of one image, found without decoding its pixels."""
        ...


class Source(Protocol):
    """Where images and labels come from. A new data set is one class of this shape and one YAML."""

    def split(self, name: str) -> Split | None:
        """The split called "train", "val" or "test", or None where the data set has no such split."""
        ...


class Sample(TypedDict):
    """One augmented item on its way to the device."""

    image: Tensor
    """(C, H, W) in the source's dtype."""
    target: Tensor
    """(H, W) uint8 index mask, () int64 class index, or (K,) float: 1 for each class that is there."""
    key: str
    valid: bool
    """False for a copy that is counted nowhere."""
    border: NotRequired[Tensor]
    """(H, W) bool, as `Raw.border`; in evaluation only."""
    window: NotRequired[Window]
    """As `Raw.window`; in evaluation only."""


class Batch(TypedDict):
    """Samples of one size, stacked; `image` becomes float and normalised on the device."""

    image: Tensor
    """(B, C, H, W)."""
    target: Tensor
    """(B, H, W), (B,) or (B, K); int64 on the device."""
    valid: Tensor
    """(B,) bool: False for a row that only fills up the batch."""
    key: list[str]
    border: NotRequired[Tensor]
    """(B, H, W) bool."""
    labels: NotRequired[Tensor]
    """(2, K + 1) int64: labelled pixels of each class, then images with a label; of this batch, then of all
    batches of its optimizer step. Only where a step has several batches."""
    window: NotRequired[list[Window]]
    """B of one image, in reading order."""
