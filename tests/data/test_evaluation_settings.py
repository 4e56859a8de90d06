"""Which evaluation protocols a data set takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tests.helpers import Compose, refused

from pixelwise import build


@pytest.mark.parametrize(
    ("data", "task", "words", "message"),
    [
        ("folder", "segmentation", ["data.eval_size=32"], r"data\.eval_size: [\s\S]*data\.eval\.resize"),
        ("folder", "segmentation", ["data.eval.stride=8"], r"data\.eval\.stride"),
        ("folder", "segmentation", ["+data.eval.windows=8"], r"data\.eval: [\s\S]*'windows'"),
        (
            "folder",
            "classification",
            ["+data.eval.window=32"],
            r"data\.eval\.window: windows are for labels of pixels",
        ),
        (
            "folder",
            "tagging",
            ["+data.eval.window=32"],
            r"data\.eval\.window: windows are for labels of pixels",
        ),
        ("folder", "classification", ["data.eval.resize=31"], r"data\.eval\.resize: [\s\S]*at least 32"),
        ("folder", "classification", ["data.eval.resize=2.0"], r"data\.eval\.resize: [\s\S]*at least 32"),
        (
            "tiles",
            "segmentation",
            ["data.eval.window=32"],
            r"data\.eval\.window: [\s\S]*data\.source\.window",
        ),
        (
            "tiles",
            "segmentation",
            ["data.eval.resize=0.5"],
            r"data\.eval\.resize: [\s\S]*data\.source\.window",
        ),
        ("tiles", "segmentation", ["data.eval_size=32"], r"data\.eval_size: "),
    ],
)
def test_a_protocol_that_contradicts_the_data_is_refused(
    data: str,
    task: str,
    words: list[str],
    message: str,
    compose: Compose,
    on_disk: Callable[[str, str], list[str]],
) -> None:
    config = compose(*on_disk(data, task), "data.crop_size=32", *words)
    OmegaConf.resolve(config)
    with refused(message):
        build.data(config)


@pytest.mark.parametrize("task", ["classification", "tagging"])
def test_images_of_other_tasks_are_resized(
    task: str, compose: Compose, on_disk: Callable[[str, str], list[str]], tmp_path: Path
) -> None:
    words = [*on_disk("folder", task), "encoder=test_resnet", "data.crop_size=32", "data.eval.resize=37"]
    run = build.run(compose(*words, "trainer.accelerator=cpu"), tmp_path)
    sizes = {tuple(batch["image"].shape[-2:]) for batch in run.data.val_dataloader()}
    assert sizes == ({(32, 32)} if task == "classification" else {(37, 44), (37, 40)})
    run.trainer.validate(run.module, datamodule=run.data, verbose=False)
    assert {name.split("/")[1] for name in run.module.results} == {"short37", "loss"}
