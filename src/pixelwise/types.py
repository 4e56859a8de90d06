"""The facts everybody shares: the ignored label, and what a sample and a batch are made of.

Nothing here imports torch at run time, so that `python train.py --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from torch import Tensor

    from pixelwise.inference.tiling import Tiling, Window

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


class Split:
    """One split of a data set: a sequence of `Raw` items, each read when it is asked for.

    A subclass defines `__len__`, `__getitem__` and `size`. `key`, `image`, `target` and `stored_bytes` are
    worth defining where they can be had without reading a whole item. The other members serve splits whose
    items are windows of larger images; see `pixelwise.data.tiles.split`. Several worker processes call all
    of them at once.
    """

    draws: int | None = None
    """Random crops that make an epoch of training; None trains on the items themselves."""
    tiling: Tiling | None = None
    """How larger images are cut into the items; None where the items are whole images."""
    tile_of: Sequence[int] | None = None
    """The number of the larger image that each item is a window of; None as above."""
    remarks: Sequence[str] = ()
    """Warnings about the files that do not stop a training, one sentence each."""

    def __len__(self) -> int:
        """Number of items."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Raw:
        """Read one item."""
        raise NotImplementedError

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of one image, found without decoding its pixels."""
        raise NotImplementedError

    def key(self, index: int) -> str:
        """The item's name."""
        return self[index].key

    def image(self, index: int) -> np.ndarray:
        """(H, W, C), the item's image."""
        return self[index].image

    def target(self, index: int) -> np.ndarray | int:
        """The item's labels, to be counted; where windows overlap, those that no later window shows."""
        return self[index].target

    def stored_bytes(self, index: int) -> int:
        """Bytes of the item's files, which change with most edits; 0 where nobody knows."""
        return 0

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        """What random crop `index` of an epoch is cut from; called if `draws` is a number."""
        raise NotImplementedError

    @property
    def originals(self) -> list[tuple[str, tuple[int, int], int]]:
        """Name, (H, W) and bytes of each stored image, however it is cut: what identifies the data."""
        return [(self.key(i), self.size(i), self.stored_bytes(i)) for i in range(len(self))]


class Source:
    """Where images and labels come from. A new data set is one subclass of this and one YAML."""

    def split(self, name: str) -> Split | None:
        """The split called "train", "val" or "test", or None where the data set has no such split."""
        raise NotImplementedError

    def describe(self) -> str:
        """Where the splits come from, in one line for the start of a run; "" says nothing."""
        return ""


ERODED = "eroded"
"""The protocol that leaves out pixels near another class; see `Raw.border`."""


class ScoreName(NamedTuple):
    """The flat name of a score in its parts: `split[/protocol]/score[/class]`.

    "test/iou/car" is the IoU of cars, "test/eroded/iou/car" the same without pixels near another class,
    "val/five_class/miou" a mean that leaves classes out, "val/loss/dice" a part of the loss.
    """

    split: str
    protocol: str
    """`ERODED`, the name of a convention, both ("eroded/five_class"), or ""."""
    score: str
    """Its own name; of the loss and its parts "loss" or "loss/dice"."""
    class_name: str | None = None
    """None for a score that is of no single class."""

    @classmethod
    def parse(cls, name: str, classes: Iterable[str]) -> ScoreName:
        """Take a name apart.

        Args:
            name: as in `metrics.json`.
            classes: names of the classes, which may hold slashes and be equal to names of scores.
        """
        split, _, rest = name.partition("/")
        if rest == "loss" or rest.startswith("loss/"):
            return cls(split, "", rest)
        eroded = rest.startswith(f"{ERODED}/")
        rest = rest.removeprefix(f"{ERODED}/")
        label = max((label for label in classes if rest.endswith(f"/{label}")), key=len, default=None)
        convention, _, score = rest.removesuffix(f"/{label}" if label is not None else "").rpartition("/")
        return cls(split, "/".join(filter(None, (ERODED * eroded, convention))), score, label)

    @property
    def kind(self) -> str:
        """Protocol and score, without split and class: "eroded/iou"."""
        return "/".join(filter(None, (self.protocol, self.score)))

    @property
    def is_loss(self) -> bool:
        """Whether it is the loss, or a part of it."""
        return self.score.partition("/")[0] == "loss"

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


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
