"""Mixing of images: alignment of image and mask, shares of labels, pairs of rows, and the presets."""

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tests.augmentation.test_crop import PALETTE, labelled_scene
from tests.helpers import refused

from pixelwise.augmentation import ClassMix, CutMix, Mixing, MixUp, Mosaic
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast

PRESETS = sorted(Path(__file__).parents[2].glob("conf/mixing/*.yaml"))
CLASSES = ["a", "b", "c", "d"]
CUTTING = {"cutmix": CutMix(), "classmix": ClassMix(CLASSES), "mosaic": Mosaic()}


def scenes(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images whose colours are those of their labels, and their masks with an ignored corner."""
    masks = [labelled_scene(60, 70 + k, 9)[1][:, :70].copy() for k in range(count)]
    images = [PALETTE[mask] for mask in masks]
    for k, mask in enumerate(masks):
        mask[: 5 + k, :8] = IGNORE
    return images, masks


def rngs(count: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(count)]


@pytest.mark.parametrize("mix", CUTTING.values(), ids=CUTTING)
@pytest.mark.parametrize("seed", range(20))
def test_each_pixel_keeps_its_label(mix, seed):
    images, masks = scenes(mix.images)
    before = [array.copy() for array in (*images, *masks)]
    mixed = mix(images, masks, np.random.default_rng(seed))
    again = mix(images, masks, np.random.default_rng(seed))
    labelled = mixed.mask != IGNORE
    np.testing.assert_array_equal(mixed.image[labelled], PALETTE[mixed.mask[labelled]])
    np.testing.assert_array_equal(mixed.image, again.image)
    for array, old in zip((*images, *masks), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("mix", CUTTING.values(), ids=CUTTING)
def test_each_pixel_comes_from_the_same_place_of_one_image(mix):
    ids = [np.full((20, 30, 1), k, np.uint8) for k in range(mix.images)]
    places = np.arange(600, dtype=np.float32).reshape(20, 30, 1)
    _, masks = scenes(mix.images)
    masks = [mask[20:40, 20:50] for mask in masks]
    for seed in range(10):
        origin = mix(ids, masks, np.random.default_rng(seed))
        moved = mix([places] * mix.images, masks, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved.image, places)
        np.testing.assert_array_equal(origin.mask, np.choose(origin.image[..., 0], masks))


@pytest.mark.parametrize("mix", [*CUTTING.values(), MixUp(1.0)], ids=[*CUTTING, "mixup"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_every_dtype_and_number_of_channels(mix, dtype, channels):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (60, 70, channels)).astype(dtype) for _ in range(mix.images)]
    image, mask, share = mix(images, scenes(mix.images)[1], np.random.default_rng(1))
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == (
        (60, 70, channels),
        dtype,
        (60, 70),
        np.uint8,
    )
    assert 0 <= share <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_mixup_is_the_rounded_average(dtype):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (8, 9, 5)).astype(dtype) for _ in range(2)]
    image, _, share = MixUp(1.0)(images, None, np.random.default_rng(1))
    exact = share * images[0].astype(float) + (1 - share) * images[1]
    assert np.abs(image - exact).max() <= (1e-4 if dtype == np.float32 else 0.5 + 1e-6)


def test_shares_of_mixup_follow_the_beta_distribution():
    images, rng = [np.zeros((2, 2, 1), np.float32)] * 2, np.random.default_rng(0)
    shares = np.array([MixUp(0.2)(images, None, rng).share for _ in range(3000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.05)


def test_the_share_of_cutmix_is_the_area_that_was_kept():
    images, rng = (
        [np.ones((24, 31, 1), np.float32), np.zeros((24, 31, 1), np.float32)],
        np.random.default_rng(0),
    )
    mixed = [CutMix()(images, None, rng) for _ in range(300)]
    for image, _, share in mixed:
        assert image.mean() == pytest.approx(share, abs=1e-6)
    assert 0.5 < np.mean([share for *_, share in mixed]) < 0.8  # rectangles are cut at the borders


@pytest.mark.parametrize(("share", "average"), [(0.5, 1.5), (1.0, 3.0), (0.0, 0.0), (0.2, 0.6)])
def test_classmix_pastes_a_share_of_the_classes_on_average(share, average):
    images = [np.zeros((4, 4, 1), np.uint8), np.ones((4, 4, 1), np.uint8)]
    masks = [np.full((4, 4), 3, np.uint8), np.repeat(np.array([[0, 1, 2, IGNORE]], np.uint8), 4, 0)]
    rng = np.random.default_rng(0)
    columns = [ClassMix(CLASSES, share=share)(images, masks, rng).image[0, :, 0] for _ in range(1000)]
    assert np.mean([c.sum() for c in columns]) == pytest.approx(average, abs=0.06)
    assert not any(c[3] for c in columns), "ignored pixels are not pasted"


def test_classmix_pastes_only_chosen_classes():
    images, masks = scenes(2)
    mixed = ClassMix(CLASSES, paste=["c"], share=1.0)(images, masks, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.mask, np.where(masks[1] == 2, 2, masks[0]))
    with refused(r"paste: x is not a class"):
        ClassMix(CLASSES, paste=["x"])


def test_a_mosaic_shows_four_images():
    images = [np.full((40, 40, 1), k, np.uint8) for k in range(4)]
    masks = [np.full((40, 40), k, np.uint8) for k in range(4)]
    for seed in range(20):
        image, mask, _ = Mosaic()(images, masks, np.random.default_rng(seed))
        np.testing.assert_array_equal(image[..., 0], mask)
        assert {int(mask[y, x]) for y in (0, -1) for x in (0, -1)} == {0, 1, 2, 3}
        assert np.bincount(mask.ravel()).min() >= 100


def batch(rows: int) -> tuple[np.ndarray, np.ndarray]:
    images, masks = scenes(rows)
    return np.stack(images), np.stack(masks)


@pytest.mark.parametrize("name", [*CUTTING, "mixup"])
@pytest.mark.parametrize("processes", [1, 2])
def test_pairs_do_not_depend_on_processes(name, processes):
    mixing = Mixing({name: (CUTTING | {"mixup": MixUp(1.0)})[name]})
    images, masks = batch(8)
    whole = mixing(images, masks, rngs(8))
    for process in range(processes):
        own = np.s_[process::processes]
        part = mixing(images[own], masks[own], rngs(8)[own])
        np.testing.assert_array_equal(part.images, whole.images[own])
        np.testing.assert_array_equal(part.masks, whole.masks[own])
        np.testing.assert_array_equal(part.share, whole.share[own])


@pytest.mark.parametrize("rows", [2, 3, 5, 8])
def test_mixed_labels_are_those_of_the_mixed_images(rows):
    images = np.stack([np.full((6, 6, 1), 10 * row, np.float32) for row in range(rows)])
    mixed = Mixing({"mixup": MixUp(1.0)})(images, None, rngs(rows))
    for row in range(rows):
        expected = mixed.share[row] * 10 * row + (1 - mixed.share[row]) * 10 * mixed.partner[row]
        assert mixed.partner[row] != row
        assert mixed.images[row].mean() == pytest.approx(expected, abs=1e-3)


def test_p_is_the_share_of_mixed_rows():
    images = np.stack([np.full((4, 4, 1), row, np.float32) for row in range(400)])
    mixed = Mixing({"cutmix": CutMix(), "off": None, "mixup": MixUp(1.0)}, p=0.3)(images, None, rngs(400))
    changed = (mixed.share < 1).mean()
    assert 0.2 < changed < 0.37
    np.testing.assert_array_equal(mixed.images[mixed.share == 1], images[mixed.share == 1])


def test_only_blended_masks_and_whole_labels_are_soft():
    assert not Mixing({}).is_soft(has_masks=False)
    assert not Mixing(CUTTING).is_soft(has_masks=True)
    assert Mixing({"cutmix": CutMix()}).is_soft(has_masks=False)
    assert Mixing({"mixup": MixUp()}).is_soft(has_masks=True)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_mixes_a_batch_with_masks(path):
    config = OmegaConf.create({"data": {"classes": CLASSES}, "mixing": OmegaConf.load(path)})
    mixing = instantiate(config.mixing)
    images, masks = batch(4)
    mixed = mixing(images, masks, rngs(4))
    assert np.array_equal(mixed.images, images) == (path.stem == "none")


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Mixing({}, p=2), r"Mixing\.p"),
        (lambda: MixUp(0), r"MixUp\.alpha"),
        (lambda: CutMix(-1), r"CutMix\.alpha"),
        (lambda: ClassMix(CLASSES, share=1.5), r"ClassMix\.share"),
    ],
)
def test_a_wrong_argument_names_its_key(make, key):
    with refused(key):
        make()
