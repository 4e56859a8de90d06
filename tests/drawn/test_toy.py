import hashlib
import pickle

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score
from tests.helpers import refused

from pixelwise.drawn.toy.scenes import ToyClassification, ToySegmentation, paint_scene

COUNTS = {"train": 240, "val": 20, "test": 120}
PIXEL_CLASSES = ["background", "cat", "dog"]
IMAGE_CLASSES = ["cat", "dog"]

pytestmark = pytest.mark.fast


def segmentation(**options):
    return ToySegmentation(**{"classes": PIXEL_CLASSES, "counts": COUNTS} | options)


def classification(**options):
    return ToyClassification(**{"classes": IMAGE_CLASSES, "counts": COUNTS} | options)


@pytest.fixture(scope="module")
def scenes():
    return {name: [segmentation().split(name)[i] for i in range(count)] for name, count in COUNTS.items()}


@pytest.fixture(scope="module")
def single_animals():
    return {name: list(classification().split(name)) for name in COUNTS}


def digest(raw):
    return hashlib.sha256(raw.image.tobytes()).hexdigest()


def same(a, b):
    return a.key == b.key and np.array_equal(a.image, b.image) and np.array_equal(a.target, b.target)


def separability(train, test):
    """Balanced test accuracy of a boosted classifier, trained on (features, labels)."""
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(*train)
    return balanced_accuracy_score(test[1], model.predict(test[0]))


def test_an_item_has_the_documented_types(scenes, single_animals):
    scene, single = scenes["train"][12], single_animals["val"][3]
    assert scene.image.shape == (96, 96, 3)
    assert scene.image.dtype == scene.target.dtype == np.uint8
    assert scene.target.shape == (96, 96)
    assert scene.key == "train/000012"
    assert single.image.dtype == np.uint8
    assert type(single.target) is int
    assert single.key == "val/000003"


@pytest.mark.parametrize("source", [segmentation, classification])
def test_an_item_depends_on_seed_split_and_index_only(source):
    first = source().split("train")
    again = pickle.loads(pickle.dumps(source(counts={"train": 9}).split("train")))
    for index in (8, 0, 5):
        assert same(first[index], again[index])
    assert not same(first[0], source(seed=1).split("train")[0])


def test_a_split_is_a_finite_sequence():
    split = segmentation(counts={"train": 3}).split("train")
    assert len(list(split)) == len(split) == 3
    with pytest.raises(IndexError):
        split[3]


def test_a_split_without_a_count_does_not_exist():
    assert segmentation(counts={"train": 3}).split("test") is None


def test_size_is_that_of_the_image():
    split = segmentation(size=64).split("val")
    assert split.size(0) == (64, 64) == split[0].target.shape == split[0].image.shape[:2]


@pytest.mark.parametrize("items", ["scenes", "single_animals"])
def test_no_image_occurs_twice(items, request):
    digests = [digest(raw) for split in request.getfixturevalue(items).values() for raw in split]
    assert len(set(digests)) == len(digests) == sum(COUNTS.values())


def test_masks_contain_exactly_the_three_classes(scenes):
    masks = np.stack([scene.target for scene in scenes["train"]])
    assert set(np.unique(masks)) == {0, 1, 2}
    assert all((mask > 0).mean() > 0.02 for mask in masks)
    assert {len(np.unique(mask)) for mask in masks} == {2, 3}


def test_classification_is_balanced(single_animals):
    assert all(np.mean([single.target for single in split]) == 0.5 for split in single_animals.values())


def test_cats_and_dogs_have_the_same_area():
    def area(label, index):
        _, mask = paint_scene(np.random.default_rng(index), 96, [label], np.array([0.35]))
        return np.count_nonzero(mask == label)

    cats, dogs = ([area(label, index) for index in range(60)] for label in (1, 2))
    assert np.mean(cats) == pytest.approx(np.mean(dogs), rel=0.05)
    assert np.std(cats) == pytest.approx(np.std(dogs), rel=0.3)


def test_pixel_colours_do_not_separate_cats_and_dogs(scenes):
    def pixels(split):
        image, target = (
            np.concatenate([getattr(s, part)[::2, ::2] for s in split]) for part in ("image", "target")
        )
        return image[target > 0], target[target > 0]

    assert separability(pixels(scenes["train"]), pixels(scenes["test"])) < 0.6


def test_image_colours_do_not_separate_cats_and_dogs(single_animals):
    def statistics(split):
        moments = [(*p.image.mean((0, 1)), *p.image.std((0, 1))) for p in split]
        return np.array(moments), np.array([p.target for p in split])

    assert separability(statistics(single_animals["train"]), statistics(single_animals["test"])) < 0.6


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"classes": ["cat", "dog"]}, "data.classes"),
        ({"size": 16}, "ToySegmentation.size"),
        ({"counts": {"train": 0}}, "ToySegmentation.counts.train"),
        ({"counts": {"train": 4, "val": -1}}, "ToySegmentation.counts.val"),
        ({"counts": {"trian": 4}}, "ToySegmentation.counts"),
    ],
)
def test_a_wrong_argument_names_its_key(options, key):
    with refused(key) as caught:
        segmentation(**options)
    assert "found:" in str(caught.value)
    assert "expected:" in str(caught.value)
