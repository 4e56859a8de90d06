"""The Potsdam release: layouts on disk, splits, labels and errors."""

from __future__ import annotations

import shutil
import zipfile

import cv2
import numpy as np
import pytest
import rasterio
from tests.helpers import refused

from pixelwise.data.corner_palette import CornerPalette
from pixelwise.data.labels import pack
from pixelwise.data.sources.potsdam import Potsdam
from pixelwise.data.sources.potsdam_files import tile_name
from pixelwise.data.tiles.erosion import eroded
from pixelwise.drawn.city.city import draw_city
from pixelwise.drawn.city.potsdam_release import PALETTE, draw_release
from pixelwise.types import IGNORE

pytestmark = [pytest.mark.fast, pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")]


CLASSES = ["impervious", "building", "low_vegetation", "tree", "car", "clutter"]


SIZE = 200


TILES = ["2_10", "2_11", "5_12", "7_7"]


SPLIT = {"train": ["2_10", "2_11"], "val": ["5_12"], "test": ["7_7"]}


def potsdam(root, **options):
    settings = {
        "classes": CLASSES,
        "palette": PALETTE.tolist(),
        "inputs": ["RGB"],
        "split": SPLIT,
        "window": 100,
    }
    return Potsdam(root, **settings | options)


def whole(split, part):
    """The tiles of a split, put together again from its windows: (n, SIZE, SIZE, …)."""
    out = None
    for raw in split:
        tile, place = raw.key.split("/")
        top, left = map(int, place.split("_"))
        values = getattr(raw, part)
        if out is None:
            out = {}
        canvas = out.setdefault(tile, np.full((SIZE, SIZE, *values.shape[2:]), IGNORE, values.dtype))
        own = raw.target != IGNORE
        canvas[top : top + len(values), left : left + values.shape[1]][own] = values[own]
    return np.stack(list(out.values()))


def path_of(root, pattern):
    return next(iter(sorted(root.rglob(pattern))))


def repaint(path, change):
    """Rewrite a raster with its pixels (H, W, C) changed."""
    with rasterio.open(path) as dataset:
        profile, pixels = dataset.profile, np.moveaxis(dataset.read(), 0, -1)
    pixels = change(pixels)
    profile.update(height=len(pixels), width=pixels.shape[1], count=pixels.shape[2])
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.moveaxis(pixels, -1, 0))


def split_is_refused(root, match, name="train", **options):
    with refused(match):
        potsdam(root, **options).split(name)
    left = root / "prepared"
    assert not left.is_dir() or not [p for p in left.iterdir() if "2_10_" in p.name and p.is_dir()]


# --------------------------------------------------------------------------------- where the files lie
@pytest.mark.parametrize("how", ["nested", "flat", "zips", "zips in folders", "nested in zips"])
def test_tiles_are_found_in_folders_and_zips(release, tmp_path, how):
    root = tmp_path / "data"
    if how == "nested":
        shutil.copytree(release, root)
    elif how == "flat":
        root.mkdir()
        for path in [p for p in release.rglob("*") if p.suffix in (".tif", ".jpg")]:
            shutil.copy(path, root)
    else:
        parent = root / "downloads" if how == "zips in folders" else root
        parent.mkdir(parents=True)
        for folder in [p for p in release.iterdir() if p.is_dir()]:
            with zipfile.ZipFile(parent / f"{folder.name}.zip", "w", zipfile.ZIP_DEFLATED) as packed:
                for path in [p for p in folder.rglob("*") if p.is_file()]:
                    base = release if how == "nested in zips" else folder
                    packed.write(path, path.relative_to(base))
    data = potsdam(root, inputs=["RGB", "nDSM"])
    scene = draw_city(0, "7_7", SIZE)
    test = data.split("test")
    assert (whole(test, "target")[0] == scene.label).all()
    image = whole(test, "image")[0]
    assert (image[..., :3] == scene.bands[..., :3]).all()
    assert abs(image[..., 3].astype(int) - scene.height).mean() < 3  # a JPEG


def test_the_command_draws_zips_that_are_read(tmp_path):
    draw_release(tmp_path / "zipped", ["2_10"], SIZE, zips=True)
    names = {path.name for path in (tmp_path / "zipped").iterdir()}
    assert {"2_Ortho_RGB.zip", "1_DSM.zip", "5_Labels_all.zip"} <= names
    assert not [name for name in names if "." not in name]
    data = potsdam(tmp_path / "zipped", split={"train": ["2_10"]})
    assert (whole(data.split("train"), "target")[0] == draw_city(0, "2_10", SIZE).label).all()


@pytest.mark.parametrize(
    ("inputs", "bands"),
    [(["RGB"], [0, 1, 2]), (["IRRG"], [3, 0, 1]), (["RGBIR"], [0, 1, 2, 3])],
    ids=lambda value: "+".join(map(str, value)),
)
def test_inputs_are_the_bands_of_the_orthophotos(release, tmp_path, inputs, bands):
    image = whole(potsdam(release, inputs=inputs, prepared=tmp_path).split("test"), "image")[0]
    assert (image == draw_city(0, "7_7", SIZE).bands[..., bands]).all()


def test_a_drawn_file_is_georeferenced_and_has_a_world_file(release):
    path = path_of(release, "top_potsdam_2_11_RGB.tif")
    assert path.relative_to(release).parts[:-1] == ("2_Ortho_RGB", "2_Ortho_RGB")
    with rasterio.open(path) as dataset:
        assert dataset.crs.to_epsg() == 32633
        assert dataset.res == (0.05, 0.05)
        left, top = dataset.transform.c, dataset.transform.f
    step, _, _, down, x, y = map(float, path.with_suffix(".tfw").read_text().split())
    assert (step, down) == (0.05, -0.05)
    assert (x, y) == pytest.approx((left + 0.025, top - 0.025))


def test_drawing_resumes_and_refuses_another_size(root):
    file = path_of(root, "top_potsdam_2_10_IRRG.tif")
    before, others = file.read_bytes(), path_of(root, "top_potsdam_2_11_RGB.tif").stat().st_mtime_ns
    file.unlink()
    draw_release(root, TILES, SIZE)
    assert file.read_bytes() == before
    assert path_of(root, "top_potsdam_2_11_RGB.tif").stat().st_mtime_ns == others
    with refused("files other than these drawn tiles"):
        draw_release(root, TILES, 2 * SIZE)


# ---------------------------------------------------------------------------------------------- splits
@pytest.mark.parametrize("name", ["2_10", "02_10", 210])
def test_an_id_that_was_read_as_a_number_is_understood(name):
    assert tile_name(name) == "2_10"
    assert tile_name("7_7") == tile_name(77) == "7_7"


def test_splits_hold_their_tiles(release, tmp_path):
    data = potsdam(release, prepared=tmp_path)
    for name, ids in SPLIT.items():
        split = data.split(name)
        assert list(dict.fromkeys(split.key(i).split("/")[0] for i in range(len(split)))) == ids
    assert "train 2_10, 2_11" in data.describe()


def test_without_test_labels_there_is_no_test_split(root):
    for path in root.rglob("top_potsdam_7_7_label*.tif"):
        path.unlink()
    data = potsdam(root)
    assert data.split("test") is None
    assert "no test tile has a label" in data.describe()


def test_an_unknown_id_is_refused_with_the_nearest(release):
    with refused(r"lists 1 tile not below data.root: 2_1\n[\s\S]*perhaps 2_1[01]"):
        potsdam(release, split={"train": ["2_1"], "val": ["5_12"]})
    with refused("is not a tile"):
        potsdam(release, split={"train": ["harbour"]})
    assert potsdam(release, split={"train": ["2_10", "2_12"]}, partial=True).absent == ["2_12"]


def test_a_tile_in_two_splits_is_refused(release):
    with refused(r"more than once[\s\S]*2_11"):
        potsdam(release, split={"train": ["2_10", "2_11"], "val": ["2_11"]})


# ---------------------------------------------------------------------------------------------- labels
def test_labels_decode_under_60_levels_of_noise():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, (300, 300)).astype(np.uint8)
    truth[truth == 6] = IGNORE
    colours = np.vstack([PALETTE, np.zeros((1, 3), np.uint8)])[np.where(truth == IGNORE, 6, truth)]
    noisy = (colours.astype(int) + rng.integers(-60, 61, colours.shape)).clip(0, 255).astype(np.uint8)
    palette = CornerPalette(CLASSES, PALETTE.tolist())
    assert (palette.decode(pack(noisy), "noisy.tif") == truth).all()


def test_unknown_colours_are_reported_with_file_and_place(root):
    def spoil(pixels):
        pixels[120, 7:10] = pixels[150, 3] = (250, 10, 240)
        return pixels

    repaint(path_of(root, "top_potsdam_2_10_label.tif"), spoil)
    message = r"2_10_label\.tif holds[\s\S]*\(255, 0, 255\): 4 pixels, first at row 120, column 7"
    split_is_refused(root, message + r"[\s\S]*\+data\.source\.ignore=\[\[255,0,255\]\]")
    data = potsdam(root, ignore=[[255, 0, 255]])
    assert (whole(data.split("train"), "target")[0][120, 7:10] == IGNORE).all()


def test_unknown_labels_are_counted_over_all_strips(tmp_path):
    draw_release(tmp_path, ["2_10"], 1100, parts=["RGB", "label"])
    rows = (10, 600, 1090)

    def spoil(pixels):
        pixels[rows, 5] = (255, 0, 255)
        return pixels

    repaint(path_of(tmp_path, "*_label.tif"), spoil)
    with refused("3 pixels, first at row 10, column 5"):
        potsdam(tmp_path, split={"train": ["2_10"]}).split("train")


def test_eroding_ignores_pixels_within_the_squared_distance_10():
    label = np.zeros((21, 21), np.uint8)
    label[10, 10] = 1
    y, x = np.mgrid[-10:11, -10:11]
    assert (eroded(label) == (x**2 + y**2 <= 10)).all()
    label[10, 10] = IGNORE  # no class
    assert not eroded(label).any()


def test_published_borders_are_used_or_else_computed(release, root):
    def widen(pixels):
        return cv2.erode(pixels, np.ones((9, 9)))  # black, and every colour, shrinks differently: not ours

    repaint(path_of(root, "top_potsdam_7_7_label_noBoundary.tif"), widen)
    published = whole(potsdam(root).split("test"), "border")[0]
    label = draw_city(0, "7_7", SIZE).label
    assert published.any()
    assert not np.array_equal(published, eroded(label))
    for path in root.rglob("*noBoundary.tif"):
        path.unlink()
    computed = whole(potsdam(root, prepared="again").split("test"), "border")[0]
    assert np.array_equal(computed, eroded(label))


@pytest.mark.parametrize("files", ["published", "computed"])
def test_eroded_targets_have_no_border(root, files):
    if files == "computed":
        for path in root.rglob("*noBoundary.tif"):
            path.unlink()
    split = potsdam(root, labels="eroded").split("test")
    label = draw_city(0, "7_7", SIZE).label
    assert np.array_equal(whole(split, "target")[0], np.where(eroded(label), IGNORE, label))
    assert split[0].border is None
