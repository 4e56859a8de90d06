"""Splits derived from another one have the same members as that one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise.data.audit import SplitAudit, audit
from pixelwise.data.datamodule import DataModule
from pixelwise.data.labels import Labels
from pixelwise.data.sources.folder import FolderSegmentation
from pixelwise.data.subset import InMemory, Subset
from pixelwise.errors import UserError
from pixelwise.inference.tiling import Tiling
from pixelwise.types import Raw, Source, Split

pytestmark = pytest.mark.fast

CLASSES = ["a", "b"]
BY_ITEM = ("size", "key", "image", "target", "stored_bytes", "__getitem__")
OF_ALL = ("draws", "tiling", "tile_of", "remarks", "originals")


class Everything(Split):
    """Overrides each member of `Split` with a value that differs from the default."""

    draws = 5
    tiling = Tiling(4, 0)
    tile_of = (0, 0, 1)
    remarks = ("a remark",)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Raw:
        return Raw(np.full((2, 2, 1), index), np.full((2, 2), index), f"item {index}")

    def size(self, index: int) -> tuple[int, int]:
        return 2, index

    def key(self, index: int) -> str:
        return f"item {index}"

    def image(self, index: int) -> np.ndarray:
        return np.full((2, 2, 1), index)

    def target(self, index: int) -> np.ndarray:
        return np.full((2, 2), index)

    def verify(self) -> None:
        raise UserError("a damaged copy")

    def stored_bytes(self, index: int) -> int:
        return 100 + index

    def draw(self, index: int, rng: np.random.Generator) -> Raw:
        return Raw(np.full((9, 9, 1), index), np.full((9, 9), rng.integers(99)), "drawn")

    @property
    def originals(self) -> list[tuple[str, tuple[int, int], int]]:
        return [("large", (8, 8), 1)]


def save(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six training and two validation images with masks."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for index in range(count):
            save(tmp_path / f"{split}/images/{index}.png", rng.integers(0, 255, (4, 6, 3)))
            save(tmp_path / f"{split}/masks/{index}.png", np.full((4, 6), index % 2))
    return tmp_path


def source(root: Path) -> FolderSegmentation:
    return FolderSegmentation(root, Labels(CLASSES))


def members() -> set[str]:
    return {name for name in vars(Split) if not name.startswith("__")} | {"__len__", "__getitem__"}


def test_all_members_of_split_are_covered() -> None:
    assert members() == {*BY_ITEM, *OF_ALL, "__len__", "draw", "verify"} == {*vars(Everything)} & members()


@pytest.mark.parametrize("wrap", [InMemory, lambda split: Subset(split, [2, 0, 1])], ids=["cache", "subset"])
def test_wrapped_splits_are_verified(wrap: type[InMemory]) -> None:
    with pytest.raises(UserError, match="a damaged copy"):
        wrap(Everything()).verify()


@pytest.mark.parametrize("name", BY_ITEM)
@pytest.mark.parametrize("wrap", [InMemory, lambda split: Subset(split, [2, 0, 1])], ids=["cache", "subset"])
def test_wrapped_items_are_those_of_the_split(wrap: type[InMemory], name: str) -> None:
    split, wrapped = Everything(), wrap(Everything())
    for index in range(3):
        own, expected = getattr(wrapped, name)(index), getattr(split, name)(wrapped.indices[index])
        np.testing.assert_equal(own, expected)


@pytest.mark.parametrize("name", OF_ALL)
def test_a_cache_delegates_members_of_the_whole_split(name: str) -> None:
    split, kept = Everything(), InMemory(Everything())
    assert len(kept) == 3
    assert getattr(kept, name) == (list(split.tile_of) if name == "tile_of" else getattr(split, name))
    np.testing.assert_equal(kept.draw(1, np.random.default_rng(7)), split.draw(1, np.random.default_rng(7)))


def test_a_subset_of_windows_draws_no_crops() -> None:
    subset = Subset(Everything(), [2, 0])
    assert (len(subset), subset.draws, subset.tile_of) == (2, None, [1, 0])
    assert subset.originals == [("item 2", (2, 2), 102), ("item 0", (2, 0), 100)]


def test_caching_does_not_change_the_fingerprint(root: Path) -> None:
    plain, cached = (DataModule(source(root), CLASSES, 2, cache=cache) for cache in (False, True))
    assert plain.fingerprint == cached.fingerprint


def test_train_samples_changes_only_the_train_split(root: Path) -> None:
    whole, part, all_of_it = (
        DataModule(source(root), CLASSES, 2, train_samples=count).fingerprint for count in (None, 4, 6)
    )
    assert all_of_it == whole
    assert part["val"] == whole["val"]
    assert part["train"]["images"] == 4
    save(root / "train/images/0.png", np.zeros((4, 6, 3)))
    changed = DataModule(source(root), CLASSES, 2, train_samples=6).fingerprint
    assert changed["train"] != whole["train"], "the bytes of the files count in a subset, too"


@pytest.mark.parametrize("damaged", ["images", "masks"])
def test_an_audit_of_cached_items_finds_the_same_faults(root: Path, damaged: str) -> None:
    save(root / "train/masks/1.png", np.full((4, 6), 7))
    file = root / f"train/{damaged}/2.png"
    file.write_bytes(file.read_bytes()[:60])
    split = source(root).split("train")
    assert split is not None
    plain, cached = (SplitAudit("train", each, CLASSES) for each in (split, InMemory(split)))
    assert list(plain.every()) == list(cached.every()) != []
    assert plain.histogram.pixels.tolist() == cached.histogram.pixels.tolist()


class Plain:
    """A sequence that inherits from nothing."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Raw:
        return Raw(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), "one")

    def size(self, index: int) -> tuple[int, int]:
        return 2, 2

    def split(self, name: str) -> Plain:
        return self


class OfPlain(Source):
    def split(self, name: str) -> Split:
        return Plain()  # type: ignore[return-value]


def audited(source: Source) -> None:
    if problems := audit(source, CLASSES).problems:
        raise UserError(problems[0])


@pytest.mark.parametrize(("own", "base"), [(Plain(), "Source"), (OfPlain(), "Split")])
@pytest.mark.parametrize("use", [lambda source: DataModule(source, CLASSES, 1), audited])
def test_a_class_without_its_base_is_refused(own: Source, base: str, use: type[DataModule]) -> None:
    with refused(rf"inherits from pixelwise\.types\.{base}") as caught:
        use(own)
    assert f"class Plain({base})" in str(caught.value)
