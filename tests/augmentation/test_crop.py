"""Where pixels go: exactness, alignment of image and mask, padding, and the independent reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pixelwise.augmentation import CenterCrop, Geometry, RandomCrop, warp
from pixelwise.errors import UserError
from pixelwise.types import IGNORE

pytestmark = pytest.mark.fast

PALETTE = np.array([[0, 0, 0], [200, 30, 60], [40, 220, 90], [120, 60, 250]], np.uint8)


def labelled_scene(height: int, width: int, cell: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """An image made of large cells whose colour says which label the mask has there."""
    rng = np.random.default_rng(height * width)
    cells = rng.integers(0, len(PALETTE), (height // cell + 1, width // cell + 1), dtype=np.uint8)
    mask = cells.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width].copy()
    return PALETTE[mask], mask


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(7).integers(0, 256, (height, width, channels))
    return values.astype(dtype)


def waves(height: int, width: int, channels: int, dtype: type = np.float32) -> np.ndarray:
    """Slopes of about 10 a pixel: half a pixel amiss would show as 5, OpenCV's steps of 1/32 pixel as 0.3."""
    rows, columns, phase = np.ogrid[:height, :width, :channels]
    return (128 + 60 * np.sin(rows / 7 + phase) + 60 * np.cos(columns / 8 - phase)).astype(dtype)


def interior(mask: np.ndarray, radius: int = 2) -> np.ndarray:
    """Pixels whose whole neighbourhood has one label, where interpolation cannot mix two colours."""
    side = 2 * radius + 1
    same = ndimage.minimum_filter(mask, side) == ndimage.maximum_filter(mask, side)
    same[:radius] = same[-radius:] = same[:, :radius] = same[:, -radius:] = (
        False  # what lies beyond is unknown
    )
    return same


def draws(view: RandomCrop, image: np.ndarray, mask: np.ndarray | None, count: int):
    rng = np.random.default_rng(0)
    return [view(image, mask, rng) for _ in range(count)]


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
    seen, labels = RandomCrop((40, 56), geometry=geometry)(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(seen, expected(image))
    np.testing.assert_array_equal(labels, expected(mask))
    assert seen.dtype == dtype
    assert not np.shares_memory(seen, image)


def test_quarter_turns_are_those_of_numpy_and_all_occur():
    image, mask = noise(32, 32), noise(32, 32, 1)[..., 0]
    turned = {np.rot90(image, k).tobytes(): k for k in (1, 2, 3)}
    seen = draws(RandomCrop(32, geometry=Geometry(rot90=1)), image, mask, 30)
    found = {turned[view.tobytes()] for view, _ in seen}
    assert found == {1, 2, 3}
    for view, labels in seen:
        np.testing.assert_array_equal(labels, np.rot90(mask, turned[view.tobytes()]))


def test_copying_and_warping_agree_on_where_pixels_go():
    """The exact path against the resampling one, which is chosen by a turn too small to see."""
    image, mask = noise(50, 64), noise(50, 64, 1)[..., 0]
    tiny = 1e-9
    almost = np.array([[1, -tiny], [tiny, 1]])
    for linear in (
        np.eye(2),
        np.diag([-1.0, 1]),
        np.array([[0.0, -1], [1, 0]]),
        np.array([[0.0, 1], [1, 0]]),
    ):
        centre = np.array([30.0, 22.0])
        copied = warp.look(image, mask, linear, centre, (70, 30))
        warped = warp.look(image, mask, almost @ linear, centre, (70, 30))
        np.testing.assert_array_equal(copied[0], warped[0])
        np.testing.assert_array_equal(copied[1], warped[1])


def test_resampling_agrees_with_scipy():
    image = waves(60, 80, 5)
    mask = noise(60, 80, 1)[..., 0] % 7
    turn, zoom = np.deg2rad(17), 1.3
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    size, centre = (48, 64), np.array([33.3, 38.1])
    seen, labels = warp.look(image, mask, linear, centre, size)

    backward = np.linalg.inv(linear)[::-1, ::-1]  # scipy counts (row, column)
    offset = centre[::-1] - 0.5 - backward @ (np.array(size) / 2 - 0.5)
    for channel in range(5):
        expected = ndimage.affine_transform(
            image[..., channel], backward, offset, size, order=1, mode="mirror"
        )
        assert np.abs(seen[..., channel] - expected).max() < 0.5
    nearest = ndimage.affine_transform(
        mask, backward, offset, size, order=0, mode="grid-constant", cval=IGNORE
    )
    assert (labels == nearest).mean() > 0.999  # a point half-way between two pixels may fall to either


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(60, 200),
    width=st.integers(60, 200),
    rescale=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_image_and_mask_stay_aligned(height, width, rescale, seed):
    image, mask = labelled_scene(height, width)
    geometry = Geometry(0.5, 0.5, 0.5, rotate=45, scale=(0.4, 2), ratio=(0.8, 1.25), shear=15, translate=0.2)
    view = RandomCrop((96, 112), rescale=rescale, geometry=geometry)
    seen, labels = view(image, mask, np.random.default_rng(seed))
    assert seen.shape == (96, 112, 3)
    assert labels.shape == (96, 112)
    inside = interior(labels, radius=2) & (labels != IGNORE)
    distance = np.abs(seen[inside].astype(int) - PALETTE[labels[inside]]).max(initial=0)
    assert distance <= 1


def test_a_photograph_made_much_smaller_is_averaged_not_skipped():
    fine_stripes = np.zeros((900, 900, 3), np.uint8)
    fine_stripes[:, ::2] = 200
    view = RandomCrop(90, rescale=True, geometry=Geometry(rotate=5))
    seen, _ = view(fine_stripes, None, np.random.default_rng(1))
    assert abs(seen.mean() - 100) < 2
    assert seen.std() < 8  # the stripes have 100, and a plain bilinear sample 60


def test_beyond_the_edge_the_mask_is_ignored_and_the_image_mirrored():
    image, mask = labelled_scene(40, 50)
    seen, labels = RandomCrop((64, 64))(image, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(seen[12:52, 7:57], image)
    np.testing.assert_array_equal(labels[12:52, 7:57], mask)
    np.testing.assert_array_equal(seen, np.pad(image, ((12, 12), (7, 7), (0, 0)), mode="reflect"))
    outside = np.ones((64, 64), bool)
    outside[12:52, 7:57] = False
    assert (labels[outside] == IGNORE).all()


def test_crops_reach_every_position_equally_often():
    image = np.arange(10, dtype=np.uint8).reshape(1, 10, 1).repeat(4, axis=0)
    lefts = [int(seen[0, 0, 0]) for seen, _ in draws(RandomCrop((4, 8)), image, None, 3000)]
    counts = np.bincount(lefts, minlength=3)
    assert len(counts) == 3
    assert np.abs(counts / 3000 - 1 / 3).max() < 0.04


def test_zoom_of_two_makes_objects_twice_as_large():
    image = np.zeros((100, 100, 1), np.float32)
    image[45:55, 45:55] = 1
    seen, _ = RandomCrop(100, geometry=Geometry(scale=(2, 2), translate=0))(
        image, None, np.random.default_rng(3)
    )
    assert seen.sum() == pytest.approx(4 * 100, rel=0.01)


def test_translate_moves_a_window_that_has_no_room():
    image, mask = labelled_scene(64, 64)
    geometry = Geometry(translate=0.25)
    ignored = [
        (labels == IGNORE).mean() for _, labels in draws(RandomCrop(64, geometry=geometry), image, mask, 40)
    ]
    assert 0.2 < max(ignored) <= 1 - 0.75**2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 13])
def test_every_dtype_and_number_of_channels(dtype, channels):
    image = noise(70, 90, channels, dtype) * (257 if dtype == np.uint16 else 1)
    for geometry in (None, Geometry(rotate=20, scale=(0.3, 0.4)), Geometry(rotate=20, scale=(1.5, 2))):
        for rescale in (False, True):
            view = RandomCrop((64, 100), rescale, geometry)
            seen, labels = view(image, None, np.random.default_rng(0))
            assert labels is None
            assert (seen.shape, seen.dtype) == ((64, 100, channels), dtype)
            assert seen.flags.c_contiguous
            assert seen.std(axis=(0, 1)).min() > 0


def test_a_channel_does_not_depend_on_its_neighbours():
    image = waves(70, 90, 7, np.uint8)
    view = RandomCrop(64, geometry=Geometry(rotate=20, scale=(0.3, 2)))
    together, _ = view(image, None, np.random.default_rng(5))
    for channel in range(7):
        alone, _ = view(image[..., channel, None], None, np.random.default_rng(5))
        assert np.abs(together[..., channel].astype(int) - alone[..., 0]).max() <= 1


def test_strided_and_read_only_input_is_taken_and_left_alone():
    image, mask = noise(80, 90)[::-1, ::-1], noise(80, 90, 1)[::-1, ::-1, 0]
    image.flags.writeable = mask.flags.writeable = False
    for geometry in (Geometry(translate=0.3), Geometry(rotate=30), Geometry(rotate=30, scale=(0.3, 0.4))):
        view = RandomCrop((64, 120), geometry=geometry)
        strided = view(image, mask, np.random.default_rng(0))
        packed = view(image.copy(), mask.copy(), np.random.default_rng(0))
        np.testing.assert_array_equal(strided[0], packed[0])
        np.testing.assert_array_equal(strided[1], packed[1])
        assert strided[0].flags.writeable


def test_centre_view_without_size_is_the_image():
    image, mask = labelled_scene(41, 67)
    seen, labels = CenterCrop()(image, mask)
    assert seen is image
    assert labels is mask


@pytest.mark.parametrize("shape", [(100, 160), (160, 100), (64, 64), (30, 200), (63, 65)])
@pytest.mark.parametrize("size", [64, (48, 80)])
def test_centre_view_covers_and_keeps_the_middle(shape, size):
    image, mask = labelled_scene(*shape)
    seen, labels = CenterCrop(size)(image, mask)
    expected = (64, 64) if size == 64 else size
    assert seen.shape == (*expected, 3)
    assert labels.shape == expected
    inside = interior(labels, radius=4)
    assert np.abs(seen[inside].astype(int) - PALETTE[labels[inside]]).max(initial=0) <= 1
    again, _ = CenterCrop(size)(image, mask, np.random.default_rng(1))
    np.testing.assert_array_equal(seen, again)


def test_the_same_generator_gives_the_same_view():
    image, mask = labelled_scene(120, 150)
    view = RandomCrop(96, geometry=Geometry(0.5, 0.5, 0.5, 30, (0.5, 2), (0.8, 1.2), 10, 0.1))
    first, second, other = (view(image, mask, np.random.default_rng(seed)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"hflip": 1.5}, "augmentation.geometry.hflip"),
        ({"vflip": -0.1}, "augmentation.geometry.vflip"),
        ({"rot90": "often"}, "augmentation.geometry.rot90"),
        ({"rotate": -10}, "augmentation.geometry.rotate"),
        ({"scale": [2, 0.5]}, "augmentation.geometry.scale"),
        ({"scale": [0, 1]}, "augmentation.geometry.scale"),
        ({"scale": 0.5}, "augmentation.geometry.scale"),
        ({"ratio": [1]}, "augmentation.geometry.ratio"),
        ({"shear": 90}, "augmentation.geometry.shear"),
        ({"translate": float("nan")}, "augmentation.geometry.translate"),
    ],
)
def test_wrong_geometry_is_named(arguments, key):
    with pytest.raises(UserError, match=key) as error:
        Geometry(**arguments)
    assert "found:" in str(error.value)
    assert "expected:" in str(error.value)


@pytest.mark.parametrize("size", [0, -5, [64], [64, 0], 64.5, "64", None, [1, 2, 3]])
def test_wrong_size_is_named(size):
    with pytest.raises(UserError, match=r"augmentation\.size"):
        RandomCrop(size)
