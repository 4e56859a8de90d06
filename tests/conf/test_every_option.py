"""Every file of `conf/` composes, builds and trains a step. New files are tested without changes here."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from tests.helpers import Compose, refused

from pixelwise import build
from pixelwise.build.instantiate import class_of
from pixelwise.overrides import nodes
from pixelwise.runtime.processes import leave_process_group

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted(CONF.rglob("*.yaml"))
OPTIONS = [f.relative_to(CONF).with_suffix("") for f in FILES if "hydra" not in f.parts and f.parent != CONF]
TASKS = sorted(f.stem for f in (CONF / "task").glob("*.yaml"))
BOTH = ("augmentation", "data", "loss", "mixing", "schedule")
"""Groups whose options are tested with every task."""

ONE_TASK = {"pool": ["classification"]}
"""Groups whose options need another task than segmentation."""


def fits(option: Path, task: str) -> bool:
    """Whether an option supports a task: its sources, its loss, and whether it needs or refuses masks."""
    if option.parent == Path("data"):
        file = OmegaConf.load(CONF / f"{option}.yaml")
        if "tasks" in file or "source" in file:  # a data set for some tasks, or with masks only
            return task in file.get("tasks", ["segmentation"])
        return (CONF / f"data/source/{option.name}_{task}.yaml").exists()
    if option.parent == Path("loss"):
        return option.name == "bce" or task != "tagging"
    if option in map(Path, ("augmentation/randaugment", "augmentation/trivialaugment")):
        return task == "classification"
    if option in map(Path, ("mixing/classmix", "mixing/mosaic")):
        return task == "segmentation"
    return (option.name, task) != ("ce_then_lovasz", "tagging")


CASES = [
    pytest.param(option, task, id=f"{option}-{task}")
    for option in OPTIONS
    if option.parent.name not in ("task", "source", "experiment", "debug", "trainer")
    for task in (TASKS if option.parent.name in BOTH else ONE_TASK.get(option.parent.name, ["segmentation"]))
    if fits(option, task)
]

OnDisk = Callable[[str, str], list[str]]

SMALL = [
    "encoder=test_resnet",
    "callbacks=progress",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.crop_size=32",
    "trainer.accelerator=cpu",
]
SCENES = "data.source.counts={train:4,val:4,test:4}"
ONE_STEP = ["trainer.max_steps=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1"]


def named(directory: str) -> list[Path]:
    """The options of one group."""
    return [option for option in OPTIONS if option.parent == Path(directory)]


def small(chosen: list[str]) -> list[str]:
    """The chosen overrides, and the small settings of all other groups."""
    groups = {override.split("=")[0] for override in chosen}
    return [override for override in SMALL if override.split("=")[0] not in groups] + chosen


def choices_of(experiment: str) -> DictConfig:
    """The options that an experiment chooses, by group."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose("train", [experiment], return_hydra_config=True).hydra.runtime.choices


def step(config: DictConfig, folder: Path) -> None:
    """Build and fit: a step must change the weights, and a validation must compute the monitored score."""
    run = build.run(config, folder)
    before = [p.detach().clone() for p in run.module.model.head.parameters()]
    run.trainer.fit(run.module, datamodule=run.data)
    assert run.trainer.global_step >= 1
    assert not all(map(torch.equal, before, run.module.model.head.parameters()))
    assert math.isfinite(run.trainer.callback_metrics["val/loss"])
    assert config.task.monitor in run.module.results
    shutil.rmtree(folder)  # the checkpoints of large models


# ----------------------------------------------------------------------------------------- the files
@pytest.mark.fast
@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CONF)))
def test_the_first_line_describes_the_file(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    assert re.match(r"# \S.{20,}", lines[0])


@pytest.mark.fast
@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(CONF)))
def test_every_class_in_the_file_plays_the_role_of_its_key(file: Path) -> None:
    package = re.search(r"^# @package ([\w.]+)", file.read_text())
    group = package[1] if package else "_global_" if file.parent == CONF else file.relative_to(CONF).parts[0]
    for key, node in nodes(OmegaConf.load(file), "" if group == "_global_" else f"{group}."):
        if key.endswith("_target_") and not key.startswith("hydra.") and not OmegaConf.is_list(node):
            assert class_of(node._value(), key.rpartition(".")[0])


# --------------------------------------------------------------------------------------- the options
@pytest.mark.parametrize(("option", "task"), CASES)
def test_every_option_trains_and_validates_a_step(
    option: Path, task: str, compose: Compose, on_disk: OnDisk, tmp_path: Path
) -> None:
    data = on_disk(option.name if option.parent == Path("data") else "toy", task)
    data = [override for override in data if override != str(option).replace("/", "=")]
    extra = ["logger.wandb.offline=true"] if option == Path("logger/wandb") else []
    if option.parent == Path("auxiliary") and Path("decoder") / option.name in OPTIONS:
        extra = [f"decoder={option.name}"]  # heads on layers of this decoder
    extra += ["encoder.name=test_vit"] if option.parent == Path("pool") else []  # it has a class token
    step(compose(*small([*data, f"{option.parent}={option.name}", *extra]), *ONE_STEP), tmp_path)


@pytest.mark.parametrize("source", named("data/source"), ids=lambda o: o.name)
def test_data_and_task_choose_the_source(source: Path, compose: Compose, on_disk: OnDisk) -> None:
    data, _, task = source.name.rpartition("_")
    config = compose(*on_disk(data, task))
    OmegaConf.resolve(config)
    file = OmegaConf.load(CONF / f"{source}.yaml")
    if "_target_" not in file.get("source", {}):  # a file that includes another one
        file = OmegaConf.load(CONF / f"data/source/{file.defaults[0]}.yaml")
    assert config.data.source._target_ == file.source._target_
    assert build.data(config)["train"][0].image.shape[-1] == config.data.channels


@pytest.mark.parametrize("decoder", named("decoder"), ids=lambda o: o.name)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_or_refuses_each_decoder(
    task: str, decoder: Path, compose: Compose, tmp_path: Path
) -> None:
    words = [*small([f"task={task}", f"decoder={decoder.name}", SCENES]), *ONE_STEP]
    requires = compose(f"task={task}").task.get("requires") or {}
    target = OmegaConf.load(CONF / "decoder" / f"{decoder.name}.yaml")["_target_"]
    if target in requires.get("decoder._target_", [target]):
        step(compose(*words), tmp_path)
    else:
        with refused(f"task={task} cannot use"):
            compose(*words)


@pytest.mark.parametrize("option", named("debug"), ids=lambda o: o.name)
def test_every_debug_option_trains_and_validates(option: Path, compose: Compose, tmp_path: Path) -> None:
    step(compose(*small([f"debug={option.name}", SCENES])), tmp_path)


@pytest.mark.parametrize("option", named("experiment"), ids=lambda o: o.name)
def test_every_experiment_trains_a_step(
    option: Path, compose: Compose, on_disk: OnDisk, tmp_path: Path
) -> None:
    experiment = f"experiment={option.name}"
    choices = choices_of(experiment)
    data = on_disk(choices.data, choices.task)
    own = [o for o in data if o.startswith(("data.root=", "data.source.", "+data"))]
    tiny = ["encoder.name=test_resnet", "encoder.pretrained=false"]
    step(compose(*small([experiment, *own]), *tiny, *ONE_STEP), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("option", named("experiment"), ids=lambda o: o.name)
def test_every_experiment_trains_its_own_encoder(
    option: Path, compose: Compose, on_disk: OnDisk, tmp_path: Path
) -> None:
    experiment = f"experiment={option.name}"
    choices = choices_of(experiment)
    data = on_disk(choices.data, choices.task)
    own = [o for o in data if o.startswith(("data.root=", "data.source.", "+data"))]
    words = [experiment, f"encoder={choices.encoder}", *own, "encoder.pretrained=false"]
    step(compose(*small(words), *ONE_STEP), tmp_path)


@pytest.mark.parametrize("option", named("trainer"), ids=lambda o: o.name)
def test_every_trainer_trains_on_one_device(option: Path, compose: Compose, tmp_path: Path) -> None:
    config = compose(*small([f"trainer={option.name}", SCENES]), "trainer.devices=1", *ONE_STEP)
    if "FSDP" in str(config.trainer.strategy):
        with refused("trainer"):
            build.run(config, tmp_path)
    else:
        step(config, tmp_path)
    leave_process_group()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("option", named("trainer"), ids=lambda o: o.name)
def test_every_trainer_trains_on_a_gpu(option: Path, compose: Compose, tmp_path: Path) -> None:
    where = ["trainer.accelerator=gpu", "trainer.devices=1"]
    step(compose(*small([f"trainer={option.name}", *where, SCENES]), *ONE_STEP), tmp_path)
    leave_process_group()


# --------------------------------------------------------------------------------- phases and losses
@pytest.mark.fast
@pytest.mark.parametrize("option", named("schedule"), ids=lambda o: o.name)
def test_phases_keep_the_order_of_the_file(option: Path, compose: Compose) -> None:
    config = compose(f"schedule={option.name}")
    assert list(config.schedule.phases) == list(OmegaConf.load(CONF / f"{option}.yaml").phases)


@pytest.mark.fast
def test_phases_use_global_options_unless_overridden(compose: Compose) -> None:
    phases = ["schedule=freeze_then_finetune", "augmentation=strong", "loss=focal"]
    config = compose(*phases)
    OmegaConf.resolve(config)
    finetune = config.schedule.phases.finetune
    assert (finetune.augmentation, finetune.loss) == (config.augmentation, config.loss)
    assert finetune.augmentation.geometry.rotate == 30
    assert config.schedule.phases.warmup.augmentation.geometry.rotate == 0

    config = compose(*phases, "augmentation@schedule.phases.finetune.augmentation=none")
    assert config.schedule.phases.finetune.augmentation.geometry is None
    assert config.augmentation.geometry is not None


@pytest.mark.fast
@pytest.mark.parametrize("option", named("loss"), ids=lambda o: o.name)
def test_every_loss_can_be_used_alone(option: Path, compose: Compose) -> None:
    loss = instantiate(compose(f"loss={option.name}").loss)
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 5))
    yes_or_no = torch.randint(0, 2, logits.shape).float()
    loss(logits, labels if fits(option, "segmentation") else yes_or_no).backward()
    assert logits.grad is not None
    assert logits.grad.any()


@pytest.mark.fast
@pytest.mark.parametrize("task", TASKS)
def test_documented_keys_exist_for_every_task(task: str, compose: Compose) -> None:
    config = compose(f"task={task}")
    keys = ["seed", "epochs", "optimizer.lr"]
    keys += [f"data.{k}" for k in ("root", "batch_size", "num_workers", "crop_size")]
    keys += [f"encoder.{k}" for k in ("name", "pretrained", "weights")]
    keys += [f"trainer.{k}" for k in ("accelerator", "devices", "precision", "max_epochs", "max_steps")]
    keys += [f"trainer.limit_{k}_batches" for k in ("train", "val", "test")]
    flat = {name for name, _ in nodes(config)}
    assert set(keys) <= flat
