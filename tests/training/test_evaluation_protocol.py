"""Scores by an evaluation protocol: against plain code, in training, and of predicted maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import confusion_matrix
from tests.helpers import Compose, Script, refused
from tests.inference.test_sliding import slide_inference

from pixelwise import build, runs
from pixelwise.build.prediction import prediction_settings, views
from pixelwise.build.restore import restore
from pixelwise.cli.application import compose_alone
from pixelwise.cli.run_arguments import offer_config
from pixelwise.files import read_rows
from pixelwise.prediction.files import find_images
from pixelwise.prediction.predict import predict
from pixelwise.training.evaluate import evaluate
from pixelwise.training.run import Run
from pixelwise.training.train import train

CLASSES = ["grass", "road", "sky", "wall"]
SIZES = [(40, 48), (64, 64), (40, 48), (33, 71), (20, 90), (40, 48), (65, 30)]
WORDS = (
    "data=folder",
    f"data.classes=[{','.join(CLASSES)}]",
    "encoder=test_resnet",
    "data.crop_size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.mean=[0.4,0.5,0.6]",
    "data.std=[0.2,0.3,0.2]",
    "epochs=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "callbacks=progress",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images with coarse random masks, a tenth of whose pixels is ignored."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, sizes in {"train": SIZES[:2], "val": SIZES}.items():
        for index, (height, width) in enumerate(sizes):
            coarse = rng.integers(0, len(CLASSES), (8, 8), dtype=np.uint8)
            mask = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
            noise = rng.integers(0, 120, (height, width, 3))
            mask[rng.random(mask.shape) < 0.1] = 255
            image = (noise + 30 * (mask[..., None] % 5)).astype(np.uint8)
            for kind, array in (("images", image), ("masks", mask)):
                file = root / split / kind / f"{index}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(file)
    return root


def pairs(root: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for index in range(len(SIZES)):
        image, mask = (Image.open(root / f"val/{kind}/{index}.png") for kind in ("images", "masks"))
        yield np.asarray(image), np.asarray(mask)


Build = Callable[..., Run]


@pytest.fixture
def built(compose: Compose, root: Path, tmp_path: Path) -> Build:
    def built(*words: str) -> Run:
        run = build.run(compose(*WORDS, f"data.root={root}", *words), tmp_path)
        with torch.no_grad():  # a map of one class would test little
            run.module.model.head.conv.weight *= 20
        return run

    return built


def matrix_of(run: Run) -> list[list[int]]:
    run.trainer.validate(run.module, datamodule=run.data, verbose=False)
    assert run.module.confusion is not None
    return run.module.confusion.tolist()


def by_hand(run: Run, root: Path, resize: Any, window: Sequence[int] | None, stride: Any) -> np.ndarray:
    """The confusion matrix from OpenCV, mmsegmentation's windows, PyTorch's resizing and scikit-learn."""
    truths, predictions, model = [], [], run.module.model.eval()
    for image, mask in pairs(root):
        height, width = image.shape[:2]
        size = (height, width)
        if isinstance(resize, list):
            size = (resize[0], resize[1])
        elif resize is not None:
            zoom = resize if isinstance(resize, float) else resize / min(size)
            size = (int(height * zoom + 0.5), int(width * zoom + 0.5))
        if size != (height, width):
            method = cv2.INTER_AREA if size[0] < height else cv2.INTER_LINEAR
            image = cv2.resize(image, size[::-1], interpolation=method)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.2]))
        pixels = ((torch.from_numpy(image.copy()).permute(2, 0, 1) / 255 - mean) / std)[None]
        with torch.inference_mode():
            logits = slide_inference(model, pixels, window, stride) if window else model(pixels)
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        truths.append(mask.ravel())
        predictions.append(logits.argmax(1)[0].numpy().ravel())
    truth, predicted = np.concatenate(truths), np.concatenate(predictions)
    assert len(np.unique(predicted)) > 1
    return confusion_matrix(truth[truth != 255], predicted[truth != 255], labels=range(len(CLASSES)))


@pytest.mark.parametrize(
    ("resize", "window", "stride"),
    [
        (48, None, None),
        (0.5, None, None),
        (1.5, None, None),
        ([50, 40], None, None),
        (None, [32, 32], [21, 21]),
        (None, [24, 40], [17, 40]),
        (56, [32, 32], [21, 21]),
    ],
)
def test_scores_are_those_of_plain_code(
    resize: Any, window: list[int] | None, stride: list[int] | None, built: Build, root: Path
) -> None:
    values = {"resize": resize, "window": window, "stride": stride}
    words = [f"data.eval.{key}={value}".replace(" ", "") for key, value in values.items() if value]
    run = built(*words)
    found = np.array(matrix_of(run))
    expected = by_hand(run, root, resize, window, stride)
    assert found.sum() == sum(int((mask != 255).sum()) for _, mask in pairs(root))
    assert np.abs(found - expected).sum() <= 4  # batches may round a pixel between two classes differently


def test_batches_of_any_size_give_the_same_matrix(built: Build) -> None:
    words = ["data.eval={resize:44,window:32,stride:20}"]
    assert matrix_of(built(*words)) == matrix_of(built(*words, "data.batch_size=5", "data.num_workers=1"))


def test_the_protocol_chooses_the_best_epoch_and_names_all_scores(
    compose: Compose, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*WORDS, f"data.root={root}", "data.eval={resize:40,window:32,stride:24}", "callbacks=default"]
    folder = runs.create(tmp_path / "run", compose(*words), words)
    with caplog.at_level("INFO"):
        best = train(build.run(runs.load_config(folder), folder), folder)
    name = "val/short40_slide32s24/miou"
    assert f"best epoch: 1, with {name}" in caplog.text
    assert "every validation is by short40_slide32s24 (shorter side resized to 40 pixels" in caplog.text
    assert read_rows(folder / "metrics.csv")[-1][name] == pytest.approx(best)
    final = json.loads((folder / "metrics.json").read_text())
    assert final[name] == pytest.approx(best)
    assert {score.split("/")[1] for score in final} == {"loss", "short40_slide32s24"}
    assert "windows of 32 pixels, stride 24" in (folder / "report.html").read_text()
    assert (folder / "samples.json").is_file()

    for words, message in (
        ([], "the scores are equal to"),
        (["data.eval.stride=16"], "has the scores of another evaluation protocol (short40_slide32s24)"),
    ):
        config = runs.load_config(folder)
        config.merge_with_dotlist(words)
        caplog.clear()
        with caplog.at_level("INFO"):
            again = evaluate(build.evaluation(config, folder), folder)
        assert message in caplog.text
        assert (again == final) == (not words)


@pytest.fixture(scope="module")
def finished(compose: Compose, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained without a protocol."""
    words = [*WORDS, f"data.root={root}", "optimizer.lr=1e-2"]
    folder = runs.create(tmp_path_factory.mktemp("runs") / "run", compose(*words), words)
    train(build.run(runs.load_config(folder), folder), folder)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["data.eval.resize=56"],
        ["data.eval.resize=0.5"],
        ["data.eval.resize=[70,40]", "data.eval.window=48", "tta=hflip"],
        ["data.eval.window=[32,24]", "data.eval.stride=17", "batch_size=2"],
        ["data.eval.window=32", "tta=[hflip,scales]"],
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_predicted_maps_have_the_size_and_the_scores_of_the_images(
    suffix: str, words: list[str], finished: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    for index, (image, _) in enumerate(pairs(root)):
        Image.fromarray(image).save(images / f"{index}.{suffix}")
    offer_config(runs.load_config(finished))
    typed = [word for word in words if not word.startswith("batch_size")]
    scored = compose_alone("evaluate", [f"run={finished}", *typed])
    run = build.evaluation(scored, finished)
    run.module.evaluated.views = views(scored)
    config = compose_alone("predict", [f"run={finished}", f"input={images}", "output=out", *words])
    matrix = np.array(matrix_of(run))

    writer = build.writer(config, tmp_path / "out", words, [0.4, 0.5, 0.6])
    (tmp_path / "out").mkdir()
    predict(
        run.module.model, find_images(str(images)), writer, tmp_path / "out", **prediction_settings(config)
    )
    found = np.zeros((len(CLASSES), len(CLASSES)), int)
    for index, (_, mask) in enumerate(pairs(root)):
        predicted = np.asarray(Image.open(tmp_path / f"out/{index}.{suffix}"))
        assert predicted.shape == mask.shape
        found += confusion_matrix(mask[mask != 255], predicted[mask != 255], labels=range(len(CLASSES)))
    assert np.abs(found - matrix).sum() <= 4


@pytest.mark.parametrize("word", ["window=64", "overlap=0.5", "batch_size=2"])
def test_windows_of_predict_yield_to_the_protocol(word: str, finished: Path, tmp_path: Path) -> None:
    offer_config(runs.load_config(finished))
    words = ["data.eval.resize=64", word]
    config = compose_alone("predict", [f"run={finished}", "input=a.png", "output=out", *words])
    with refused(rf"{word} has no effect[\s\S]*shorter side resized to 64 pixels"):
        build.writer(config, tmp_path, words)


def test_a_loaded_model_predicts_arrays_by_the_protocol(
    built: Build, compose: Compose, root: Path, tmp_path: Path
) -> None:
    words = ["data.eval={resize:44,window:32,stride:20}"]
    run = built(*words)
    config = compose(*WORDS, f"data.root={root}", *words)
    predictor = restore(config, run.module.model.state_dict(), tmp_path / "best.ckpt")
    found = np.zeros((len(CLASSES), len(CLASSES)), int)
    for image, mask in pairs(root):
        with torch.inference_mode():
            labels = predictor(image).argmax(1)[0].numpy()
        assert labels.shape == mask.shape
        found += confusion_matrix(mask[mask != 255], labels[mask != 255], labels=range(len(CLASSES)))
    assert np.abs(found - np.array(matrix_of(run))).sum() <= 4


@pytest.mark.slow
def test_two_processes_score_by_the_protocol_like_one(finished: Path, script: Script, tmp_path: Path) -> None:
    words = ["data.eval={resize:44,window:32,stride:20}", "tta=hflip"]
    choices = {"one": ["data.batch_size=3"], "two": ["trainer.devices=2", "trainer.strategy=ddp"]}
    for name, options in choices.items():
        done = script("evaluate.py", f"run={finished}", *words, *options, f"output={name}.json")
        assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in choices)
    assert one.pop("val/loss") == pytest.approx(two.pop("val/loss"), rel=1e-6)  # other batches are rounded
    assert one == two
    assert "val/short44_slide32s20_tta-hflip/miou" in one
