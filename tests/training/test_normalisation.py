"""Losses are divided by the labels of the split, of the optimizer step and of all processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from tests.drills import RUN, differing, drill, result
from tests.helpers import Compose, refused
from tests.losses.conftest import NAMES, configured
from torch import Tensor

from pixelwise import build, runs
from pixelwise.losses import Lovasz, OHEMCrossEntropy, WeightedSum
from pixelwise.runs import checkpoints
from pixelwise.training import run
from pixelwise.types import IGNORE

Build = Callable[[DictConfig, Path], run.Run]
SHARES = (0.0, 1.0, 0.5, 0.9, 0.2)
"""Ignored share of the masks, repeated over the images."""

PLAIN = (
    "encoder.name=test_convnext",  # no batch-norm
    "decoder=linear",
    "augmentation=none",
    "data.classes=[background,a,b]",
    "data.crop_size=32",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two sizes whose masks have very different shares of ignored pixels."""
    root, rng = tmp_path_factory.mktemp("uneven"), np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 7)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index in range(count):
            size = (32, 32) if split == "train" or index % 3 else (32, 64)
            mask = rng.integers(3, size=size, dtype=np.uint8)
            image = (80 * mask[..., None] + rng.integers(60, size=(*size, 3))).astype(np.uint8)
            mask[rng.random(size) < SHARES[index % len(SHARES)]] = IGNORE
            Image.fromarray(image).save(root / split / "images" / f"{index:02}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{index:02}.png")
    return root


def of_folder(root: Path) -> list[str]:
    return [*PLAIN, "data=folder", f"data.root={root}"]


def built(compose: Compose, folder: Path, overrides: list[str], make: Build = build.run) -> run.Run:
    runs.create(folder, compose(*overrides), overrides)
    return make(runs.load_config(folder), folder)


# ------------------------------------------------------------------------------------------- a split


def predictions(run: run.Run) -> list[tuple[Tensor, Tensor]]:
    """Logits (1, K[, H, W]) and target of each sample of the validation split."""
    run.data.batch_size = 1
    pairs = []
    with torch.inference_mode():
        for batch in run.data.val_dataloader():
            prepared = run.module.eval().on_after_batch_transfer(batch, 0)
            pairs.append((run.module.model(prepared["image"]), prepared["target"]))
    return pairs


def of_split(loss: WeightedSum, samples: list[tuple[Tensor, Tensor]]) -> float:
    """The loss of all pixels as one batch; for losses that are not sums, the mean over images."""
    logits = torch.cat([logits.movedim(1, -1).flatten(0, -2) for logits, _ in samples])
    target = torch.cat([target if target.ndim == 2 else target.flatten() for _, target in samples])
    total = 0.0
    for name, part in loss.parts.items():
        if isinstance(part, Lovasz | OHEMCrossEntropy):
            labelled = [pair for pair in samples if pair[1].ne(IGNORE).any()]
            value = float(torch.stack([part(*pair) for pair in labelled]).mean())
        else:
            value = float(part(logits, target))
        total += loss.weights[name] * value
    return total


@pytest.mark.parametrize("task", ["segmentation", "classification", "tagging"])
def test_loss_of_a_split_is_the_loss_of_all_its_pixels(
    task: str, compose: Compose, root: Path, tmp_path: Path
) -> None:
    if task == "segmentation":
        overrides = of_folder(root)
    else:
        words = [word for word in PLAIN if "decoder" not in word and "classes" not in word]
        overrides = [*words, f"task={task}", "data.source.counts={train:4,val:7,test:4}"]
    run = built(compose, tmp_path / "run", overrides, build.evaluation)
    samples = predictions(run)
    for name in ["bce"] if task == "tagging" else NAMES:
        loss = configured(name)
        loss = loss if isinstance(loss, WeightedSum) else WeightedSum({name: loss})
        run.module.losses[-1] = loss
        for batch_size in (1, 2, 3, 7):
            run.data.batch_size = batch_size
            run.trainer.validate(run.module, datamodule=run.data, verbose=False)
            expected = of_split(loss, samples)
            assert run.module.results["val/loss"] == pytest.approx(expected, abs=2e-6), (name, batch_size)


# -------------------------------------------------------------------------------------------- a step


class Windows(L.Callback):
    """Compares the gradient of each step with that of its batches as one batch."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.sizes: list[int] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)

    def on_before_optimizer_step(self, trainer: L.Trainer, module: Any, optimizer: Any) -> None:
        image, target = (torch.cat([batch[key] for batch in self.batches]) for key in ("image", "target"))
        parameters = list(module.model.parameters())
        outputs = module._outputs(image)
        loss = torch.stack([output.weight * output.loss(output.logits, target) for output in outputs]).sum()
        for parameter, expected in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-6)
        self.sizes.append(len(self.batches))
        self.batches.clear()


WEIGHTED = "loss.class_weights=[1,3,0.5]"
AUXILIARY = ["auxiliary=stage3", "auxiliary.stage3.width=null", "auxiliary.stage3.dropout=0"]


@pytest.mark.parametrize(
    "words",
    [
        ["loss=cross_entropy"],
        ["loss=cross_entropy", WEIGHTED],
        ["loss=soft_cross_entropy"],
        ["loss=focal", WEIGHTED],
        ["loss=dice", "loss.per_image=true"],
        ["loss=lovasz", "loss.per_image=true"],
        [
            "loss=ce_dice",
            "loss.parts.dice.per_image=true",
            "loss.parts.cross_entropy.class_weights=[1,3,0.5]",
        ],
        [*AUXILIARY, "loss=cross_entropy", WEIGHTED],
        [*AUXILIARY, "loss=dice", "loss.per_image=true", "+loss@auxiliary.stage3.loss=focal"],
        ["task=classification"],
        ["task=tagging"],
    ],
    ids=" ".join,
)
def test_accumulated_gradient_equals_that_of_one_batch(
    words: list[str], compose: Compose, root: Path, tmp_path: Path
) -> None:
    overrides = of_folder(root)
    if words[0].startswith("task"):
        words = [*words, "data.source.counts={train:12,val:4,test:4}"]
        overrides = [word for word in PLAIN if "decoder" not in word and "classes" not in word]
    overrides += [*words, "data.batch_size=2", "trainer.accumulate_grad_batches=4", "epochs=2"]
    run = built(compose, tmp_path / "run", overrides)
    windows = Windows()
    run.trainer.callbacks.append(windows)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, datamodule=run.data)
    assert windows.sizes == [4, 2, 4, 2], "an epoch ends within an accumulation"


def test_limited_epochs_end_with_a_shorter_step(compose: Compose, root: Path, tmp_path: Path) -> None:
    overrides = [*of_folder(root), "data.batch_size=2", "trainer.accumulate_grad_batches=4", "epochs=2"]
    run = built(compose, tmp_path / "run", [*overrides, "trainer.limit_train_batches=5"])
    windows = Windows()
    run.trainer.callbacks.append(windows)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, datamodule=run.data)
    assert windows.sizes == [4, 1, 4, 1]


@pytest.mark.slow
def test_accumulation_resumes_exactly(tmp_path: Path) -> None:
    words = (*RUN, "trainer.accumulate_grad_batches=3", "hydra.run.dir=run")  # four batches an epoch
    drill(tmp_path / "unbroken", *words)
    drill(tmp_path / "cut", *words, step=3, where="batch_end")
    drill(tmp_path / "cut", "resume=run")
    assert differing(result(tmp_path / "cut/run"), result(tmp_path / "unbroken/run")) == []


@pytest.mark.parametrize(
    ("words", "batches"), [((), 6), (("trainer.limit_train_batches=3",), 3), (("data.batch_size=99",), 1)]
)
def test_step_longer_than_an_epoch_is_refused(
    words: tuple[str, ...], batches: int, compose: Compose, root: Path, tmp_path: Path
) -> None:
    overrides = [*of_folder(root), "data.batch_size=2", *words]
    too_many = f"trainer.accumulate_grad_batches={batches + 1}"
    with refused(rf"accumulate_grad_batches(.|\n)*expected: at most {batches}"):
        built(compose, tmp_path / "refused", [*overrides, too_many])
    built(compose, tmp_path / "run", [*overrides, f"trainer.accumulate_grad_batches={batches}"])


# ----------------------------------------------------------------------------------------- processes

BATCH_NORM = ("encoder.name=test_resnet", "trainer.sync_batchnorm=true")


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoints.read(folder / "checkpoints/last.ckpt")["state_dict"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["loss=ce_dice"], marks=pytest.mark.slow),
        pytest.param(["loss=mcc"], marks=pytest.mark.slow),
        pytest.param(["loss=cross_entropy", "trainer.accumulate_grad_batches=2"], marks=pytest.mark.slow),
        pytest.param(["loss=lovasz", "loss.per_image=true"], marks=pytest.mark.slow),
        pytest.param(["loss=ce_dice", *BATCH_NORM], marks=pytest.mark.slow),
        pytest.param([*AUXILIARY, "+loss@auxiliary.stage3.loss=ce_dice"], marks=pytest.mark.slow),
        pytest.param([*AUXILIARY, "trainer.accumulate_grad_batches=2"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_two_processes_train_to_the_weights_of_one(words: list[str], root: Path, tmp_path: Path) -> None:
    train = [o for o in of_folder(root) if o != "trainer.accelerator=cpu"] + ["data.batch_size=4", "epochs=3"]
    # AdamW would turn rounding errors of gradients near 0 into full steps
    train += ["optimizer=sgd", "optimizer.lr=0.01", *words]
    drill(tmp_path, *train, "trainer.accelerator=cpu", "hydra.run.dir=one")
    drill(tmp_path, *train, "trainer=ddp_sim", "hydra.run.dir=two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("option", [True, False])
def test_sync_batchnorm_with_one_process_is_warned_about(
    option: bool, compose: Compose, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    built(compose, tmp_path / "run", [*of_folder(root), f"trainer.sync_batchnorm={option}"])
    assert ("sync_batchnorm=true has no effect with one process" in caplog.text) == option
