"""Crops and warps: exact copies, alignment of image and mask, padding, comparison with scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from tests.augmentation.scenes import PALETTE, interior, labelled_scene, noise, waves
from tests.helpers import refused

from pixelwise.augmentation import Geometry, RandomCrop, warp
from pixelwise.augmentation.crop import class_share
from pixelwise.types import IGNORE, NODATA

pytestmark = pytest.mark.fast


def draws(crop: RandomCrop, image: np.ndarray, mask: np.ndarray | None, count: int):
    rng = np.random.default_rng(0)
    return [crop(image, mask, rng) for _ in range(count)]


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        (Geometry(), lambda a: a),
        (Geometry(hflip=1), lambda a: a[:, ::-1]),
        (Geometry(vflip=1), lambda a: a[::-1]),
        (Geometry(hflip=1, vflip=1), lambda a: a[::-1, ::-1]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_flips_are_those_of_numpy(geometry, expected, dtype):
    image, mask = noise(40, 56, 5, dtype), noise(40, 56, 1)[..., 0]
    cropped, labels = RandomCrop((40, 56), geometry=geometry)(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(cropped, expected(image))
    np.testing.assert_array_equal(labels, expected(mask))
    assert cropped.dtype == dtype
    assert not np.shares_memory(cropped, image)


def test_quarter_turns_are_those_of_numpy_and_all_occur():
    image, mask = noise(32, 32), noise(32, 32, 1)[..., 0]
    turned = {np.rot90(image, k).tobytes(): k for k in (1, 2, 3)}
    crops = draws(RandomCrop(32, geometry=Geometry(rot90=1)), image, mask, 30)
    assert {turned[cropped.tobytes()] for cropped, _ in crops} == {1, 2, 3}
    for cropped, labels in crops:
        np.testing.assert_array_equal(labels, np.rot90(mask, turned[cropped.tobytes()]))


@pytest.mark.parametrize("linear", [[[1, 0], [0, 1]], [[-1, 0], [0, 1]], [[0, -1], [1, 0]], [[0, 1], [1, 0]]])
def test_copying_and_warping_move_pixels_alike(linear):
    """A rotation too small to matter selects the resampling instead of the exact copy."""
    image, mask = noise(50, 64), noise(50, 64, 1)[..., 0]
    tiny = 1e-9
    almost = np.array([[1, -tiny], [tiny, 1]])
    linear, centre = np.array(linear, float), np.array([30.0, 22.0])
    copied = warp.crop_and_warp(image, mask, linear, centre, (70, 30))
    warped = warp.crop_and_warp(image, mask, almost @ linear, centre, (70, 30))
    np.testing.assert_array_equal(copied[0], warped[0])
    np.testing.assert_array_equal(copied[1], warped[1])


def test_resampling_agrees_with_scipy():
    image = waves(60, 80, 5)
    mask = noise(60, 80, 1)[..., 0] % 7
    turn, zoom = np.deg2rad(17), 1.3
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    size, centre = (48, 64), np.array([33.3, 38.1])
    cropped, labels = warp.crop_and_warp(image, mask, linear, centre, size)

    backward = np.linalg.inv(linear)[::-1, ::-1]  # scipy uses (row, column)
    offset = centre[::-1] - 0.5 - backward @ (np.array(size) / 2 - 0.5)
    for channel in range(5):
        expected = ndimage.affine_transform(
            image[..., channel], backward, offset, size, order=1, mode="mirror"
        )
        assert np.abs(cropped[..., channel] - expected).max() < 0.5
    nearest = ndimage.affine_transform(
        mask, backward, offset, size, order=0, mode="grid-constant", cval=IGNORE
    )
    assert (labels == nearest).mean() > 0.999  # a point half-way between two pixels may belong to either


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(60, 200),
    width=st.integers(60, 200),
    rescale=st.booleans(),
    max_class_share=st.sampled_from([0.4, 1.0]),
    seed=st.integers(0, 2**32),
)
def test_image_and_mask_stay_aligned(height, width, rescale, max_class_share, seed):
    image, mask = labelled_scene(height, width)
    geometry = Geometry(0.5, 0.5, 0.5, rotate=45, scale=(0.4, 2), ratio=(0.8, 1.25), shear=15, translate=0.2)
    crop = RandomCrop((96, 112), rescale, geometry, max_class_share)
    cropped, labels = crop(image, mask, np.random.default_rng(seed))
    assert cropped.shape == (96, 112, 3)
    assert labels.shape == (96, 112)
    inside = interior(labels, radius=3) & (labels != IGNORE)  # zoom up to 4.8 mixes up to 2.4 pixels
    distance = np.abs(cropped[inside].astype(int) - PALETTE[labels[inside]]).max(initial=0)
    assert distance <= 1


def test_strong_downscaling_averages_all_pixels():
    fine_stripes = np.zeros((900, 900, 3), np.uint8)
    fine_stripes[:, ::2] = 200
    crop = RandomCrop(90, rescale=True, geometry=Geometry(rotate=5))
    cropped, _ = crop(fine_stripes, None, np.random.default_rng(1))
    assert abs(cropped.mean() - 100) < 2
    assert cropped.std() < 8  # the stripes have 100; bilinear interpolation alone gives 60


def test_outside_the_image_the_mask_is_ignore():
    image, mask = labelled_scene(40, 50)
    cropped, labels = RandomCrop((64, 64))(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(cropped[12:52, 7:57], image)
    np.testing.assert_array_equal(labels[12:52, 7:57], mask)
    np.testing.assert_array_equal(cropped, np.pad(image, ((12, 12), (7, 7), (0, 0)), mode="reflect"))
    outside = np.ones((64, 64), bool)
    outside[12:52, 7:57] = False
    assert (labels[outside] == IGNORE).all()


def test_crops_reach_every_position_equally_often():
    image = np.arange(10, dtype=np.uint8).reshape(1, 10, 1).repeat(4, axis=0)
    lefts = [int(cropped[0, 0, 0]) for cropped, _ in draws(RandomCrop((4, 8)), image, None, 3000)]
    counts = np.bincount(lefts, minlength=3)
    assert len(counts) == 3
    assert np.abs(counts / 3000 - 1 / 3).max() < 0.04


def test_zoom_of_two_makes_objects_twice_as_large():
    image = np.zeros((100, 100, 1), np.float32)
    image[45:55, 45:55] = 1
    cropped, _ = RandomCrop(100, geometry=Geometry(scale=(2, 2), translate=0))(
        image, None, np.random.default_rng(3)
    )
    assert cropped.sum() == pytest.approx(4 * 100, rel=0.01)


def test_translate_moves_a_window_that_has_no_room():
    image, mask = labelled_scene(64, 64)
    geometry = Geometry(translate=0.25)
    ignored = [
        (labels == IGNORE).mean() for _, labels in draws(RandomCrop(64, geometry=geometry), image, mask, 40)
    ]
    assert 0.2 < max(ignored) <= 1 - 0.75**2


@pytest.mark.parametrize("scale", [(0.1, 0.1), (0.1, 2.0), (2.0, 2.0)])
@pytest.mark.parametrize("seed", range(10))
def test_large_scale_jitter_keeps_image_and_mask_aligned(scale, seed):
    image, mask = labelled_scene(400, 500, 100)
    crop = RandomCrop((96, 112), geometry=Geometry(hflip=0.5, scale=scale, scale_draw="uniform"))
    cropped, labels = crop(image, mask, np.random.default_rng(seed))
    assert (labels != IGNORE).any()
    inside = interior(labels, radius=2) & (labels != IGNORE)
    distance = np.abs(cropped[inside].astype(int) - PALETTE[labels[inside]]).max(initial=0)
    assert distance <= 1


@pytest.mark.parametrize(("scale_draw", "expected"), [("uniform", 1.05), ("log", 1.9 / np.log(20))])
def test_zoom_is_uniform_or_log_uniform(scale_draw, expected):
    geometry, rng = Geometry(scale=(0.1, 2.0), scale_draw=scale_draw), np.random.default_rng(0)
    assert np.mean([geometry.draw(rng)[0, 0] for _ in range(4000)]) == pytest.approx(expected, rel=0.05)


def half_and_half() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((64, 200), np.uint8)
    mask[:, 100:] = 1
    return np.repeat(mask[..., None] * 200, 3, 2), mask


@pytest.mark.parametrize("geometry", [None, Geometry(hflip=0.5), Geometry(rotate=10)])
def test_crops_full_of_one_class_are_drawn_again(geometry):
    image, mask = half_and_half()
    shares = {
        limit: [
            class_share(labels)
            for _, labels in draws(RandomCrop(64, False, geometry, limit), image, mask, 60)
        ]
        for limit in (1.0, 0.9)
    }
    assert np.mean(np.array(shares[1.0]) >= 0.9) > 0.4
    assert np.mean(np.array(shares[0.9]) >= 0.9) < 0.1


def test_a_hopeless_crop_is_taken_after_all_tries():
    image, mask = np.zeros((64, 90, 3), np.uint8), np.zeros((64, 90), np.uint8)
    cropped, labels = RandomCrop(32, max_class_share=0.5)(image, mask, np.random.default_rng(0))
    assert cropped.shape == (32, 32, 3)
    assert not labels.any()


def test_a_crop_drawn_again_still_contains_its_focus():
    image, mask = half_and_half()
    mask[20, 30] = 2
    for seed in range(10):
        crop = RandomCrop(32, max_class_share=0.6)
        assert (crop(image, mask, np.random.default_rng(seed), focus=(30, 20))[1] == 2).any()


def test_ignored_pixels_have_no_share():
    assert class_share(np.array([[0, 1, 1, 1, NODATA, IGNORE, IGNORE]], np.uint8)) == 0.75
    assert class_share(np.full((3, 3), IGNORE, np.uint8)) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 13])
@pytest.mark.parametrize("scale", [None, (0.3, 0.4), (1.5, 2)])
@pytest.mark.parametrize("rescale", [False, True])
def test_every_dtype_and_number_of_channels(rescale, scale, channels, dtype):
    image = noise(70, 90, channels, dtype) * (257 if dtype == np.uint16 else 1)
    crop = RandomCrop((64, 100), rescale, scale and Geometry(rotate=20, scale=scale))
    cropped, labels = crop(image, None, np.random.default_rng(0))
    assert labels is None
    assert (cropped.shape, cropped.dtype) == ((64, 100, channels), dtype)
    assert cropped.flags.c_contiguous
    assert cropped.std(axis=(0, 1)).min() > 0


def test_a_channel_does_not_depend_on_the_others():
    image = waves(70, 90, 7, np.uint8)
    crop = RandomCrop(64, geometry=Geometry(rotate=20, scale=(0.3, 2)))
    together, _ = crop(image, None, np.random.default_rng(5))
    for channel in range(7):
        alone, _ = crop(image[..., channel, None], None, np.random.default_rng(5))
        assert np.abs(together[..., channel].astype(int) - alone[..., 0]).max() <= 1


@pytest.mark.parametrize("options", [{"translate": 0.3}, {"rotate": 30}, {"rotate": 30, "scale": (0.3, 0.4)}])
def test_strided_and_read_only_arrays_are_accepted(options):
    image, mask = noise(80, 90)[::-1, ::-1], noise(80, 90, 1)[::-1, ::-1, 0]
    image.flags.writeable = mask.flags.writeable = False
    crop = RandomCrop((64, 120), geometry=Geometry(**options))
    strided = crop(image, mask, np.random.default_rng(0))
    packed = crop(image.copy(), mask.copy(), np.random.default_rng(0))
    np.testing.assert_array_equal(strided[0], packed[0])
    np.testing.assert_array_equal(strided[1], packed[1])
    assert strided[0].flags.writeable


def test_the_same_seed_gives_the_same_crop():
    image, mask = labelled_scene(120, 150)
    crop = RandomCrop(96, geometry=Geometry(0.5, 0.5, 0.5, 30, (0.5, 2), (0.8, 1.2), 10, 0.1))
    first, second, other = (crop(image, mask, np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"hflip": 1.5}, r"Geometry\.hflip"),
        ({"vflip": -0.1}, r"Geometry\.vflip"),
        ({"rot90": "often"}, r"Geometry\.rot90"),
        ({"rotate": -10}, r"Geometry\.rotate"),
        ({"scale": [2, 0.5]}, r"Geometry\.scale"),
        ({"scale": [0, 1]}, r"Geometry\.scale"),
        ({"scale": 0.5}, r"Geometry\.scale"),
        ({"ratio": [1]}, r"Geometry\.ratio"),
        ({"shear": 90}, r"Geometry\.shear"),
        ({"translate": float("nan")}, r"Geometry\.translate"),
        ({"scale_draw": "linear"}, r"Geometry\.scale_draw"),
    ],
)
def test_a_wrong_geometry_names_its_key(arguments, key):
    with refused(key) as error:
        Geometry(**arguments)
    assert "found:" in str(error.value)
    assert "expected:" in str(error.value)


@pytest.mark.parametrize("size", [0, -5, [64], [64, 0], 64.5, "64", None, [1, 2, 3]])
def test_a_wrong_size_names_its_key(size):
    with refused(r"RandomCrop\.size"):
        RandomCrop(size)
