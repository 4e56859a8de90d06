"""From config to objects: allowed classes, invalid settings, and the values of `auto`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tests.helpers import Compose, refused

from pixelwise import build
from pixelwise.build.instantiate import make
from pixelwise.cli.checks import check_choices
from pixelwise.losses import Dice
from pixelwise.runtime.device import precision
from pixelwise.training import run

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "torch.nn.Module.__init__.__globals__.get",
        "torch.optim.lr_scheduler.Counter",  # a class, but not of torch
        "pixelwise.runs.folder.subprocess.run",  # imported by an allowed module
        "pixelwise.runs.environment._git",  # a function; git runs commands
        "lightning.pytorch.LightningModule.load_from_checkpoint",  # unpickles
        "timm.models.load_checkpoint",
    ],
)
def test_targets_that_are_not_allowed_classes_are_refused(target: str) -> None:
    with refused(r"loss._target_: '.*' (is not allowed|cannot be imported)"):
        make({"_target_": target}, "loss")


def test_a_refused_class_in_nested_arguments_is_found(tmp_path: Path) -> None:
    nested = {
        "_target_": "pathlib.Path.touch",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [str(tmp_path / "x")]}],
    }
    with refused("not allowed"):
        make({"_target_": "torch.nn.Sequential", "_args_": [[{"a": nested}]]}, "loss")
    assert not (tmp_path / "x").exists()


def test_classes_of_pixelwise_and_torch_are_allowed() -> None:
    assert isinstance(make({"_target_": "pixelwise.losses.Dice"}, "loss"), Dice)
    assert isinstance(make({"_target_": "torch.nn.MSELoss"}, "loss"), torch.nn.MSELoss)


def test_misspelt_classes_and_arguments_name_the_key() -> None:
    with refused(r"loss._target_: 'pixelwise.losses.Dise' cannot be imported"):
        make({"_target_": "pixelwise.losses.Dise"}, "loss")
    with refused(r"loss: pixelwise.losses.Dice does not accept these arguments[\s\S]*smoooth"):
        make({"_target_": "pixelwise.losses.Dice", "smoooth": 1}, "loss")


def test_classification_refuses_a_decoder(built: Callable[..., run.Run]) -> None:
    with refused(r"decoder: task=classification cannot use UNet[\s\S]*Linear"):
        built("task=classification", "decoder=unet")


def test_a_phase_without_a_loss_uses_the_global_loss(built: Callable[..., run.Run]) -> None:
    run = built("loss=dice", "+schedule.phases.more={epochs:1,lr:1e-3}")
    assert [list(loss.parts) for loss in run.module.losses] == [["dice"], ["dice"]]
    assert run.module.losses[0] is not run.module.losses[1]


def test_a_phase_that_is_null_is_skipped(built: Callable[..., run.Run]) -> None:
    run = built("schedule=three_phase", "schedule.phases.polish=null")
    assert [phase.name for phase in run.plan.phases] == ["frozen", "all"]
    assert len(run.module.losses) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.phases.all.epochs=0", r"schedule\.phases\.all\.epochs"),
        ("+schedule.phases.all.steps=3", r"schedule\.phases\.all: length of the phase"),
        ("+schedule.phases.all.freeze=[encodr]", r"phases\.all\.freeze: no part 'encodr'[\s\S]*encoder"),
        ("+schedule.phases.all.crop_size=1.5", r"schedule\.phases\.all\.crop_size"),
        ("+schedule.phases.all.weight_decay=-1", r"schedule\.phases\.all\.weight_decay"),
        ("schedule.phases.all.curve=cosin", r"schedule\.phases\.all\.curve: no curve 'cosin'[\s\S]*cosine"),
        ("+schedule.phases.all.warm_up=0.1", r"schedule\.phases\.all\.warm_up[\s\S]*warmup"),
        ("+schedule.phases.more=3", r"schedule\.phases\.more\n"),
        (
            "+schedule.phases.all.loss={_target_:pixelwise.losses.Dise}",
            r"schedule\.phases\.all\.loss\._target_: 'pixelwise.losses.Dise'",
        ),
        (
            "schedule.phases.all.curve={_target_:pixelwise.schedules.curves.Polynomial,power:-1}",
            r"phases\.all\.curve\.power",
        ),
        (
            "schedule.phases.all.curve={_target_:pixelwise.schedules.curves.Polynomial,powr:1}",
            r"schedule\.phases\.all\.curve: .* does not accept these arguments",
        ),
    ],
)
def test_phase_errors_come_before_the_model_is_built(
    override: str, message: str, built: Callable[..., run.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "model", lambda config: pytest.fail("the model was built"))
    if ".loss=" in override:  # built after the model, but before training
        monkeypatch.undo()
    with refused(message):
        built(override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=x", r"^seed\n.*found: +'x'"),
        ("seed=-1", r"^seed\n.*found: +-1\n.*from 0 to 4294967295"),
        ("seed=1.5", r"^seed\n"),
        ("seed=null", r"^seed\n.*found: +null"),
        ("trainer.max_epochs=two", r"^trainer\.max_epochs\n"),
        ("trainer.max_epochs=0", r"^trainer\.max_epochs\n"),
        ("trainer.max_steps=-1", r"^trainer\.max_steps\n"),
        ("trainer.accumulate_grad_batches=0", r"^trainer\.accumulate_grad_batches\n"),
        ("trainer.log_every_n_steps=x", r"^trainer\.log_every_n_steps\n"),
        ("trainer.limit_train_batches=two", r"^trainer\.limit_train_batches\n"),
        ("trainer.limit_val_batches=0", r"^trainer\.limit_val_batches\n"),
        ("trainer.check_val_every_n_epoch=0", r"^trainer\.check_val_every_n_epoch\n"),
        (
            "trainer.check_val_every_n_epoch=3",
            r"^trainer\.check_val_every_n_epoch: .*before its first validation[\s\S]*at most 2",
        ),
        ("optimizer.weight_decay=-1", r"^optimizer\.weight_decay\n"),
        ("+optimizer.foo=1", r"^optimizer: [\s\S]*'foo'"),
        ("task.head.dropout=2", r"^task\.head\.dropout\n"),
        ("data.mean=0.5", r"^data\.mean\n.*0\.5\n.*a list"),
        ("data.mean=[a,b,c]", r"^data\.mean\n"),
        ("data.std=[0,0,0]", r"^data\.std\n[\s\S]*above 0"),
        ("data.palette=red", r"^data\.palette\n"),
        ("data.palette=[[1,2,3]]", r"^data\.palette\n[\s\S]*each of the 3 classes"),
        ("data.palette=[[300,2,3],[1,2,3],[2,3,4]]", r"^data\.palette\n"),
        ("data.classes=[background,cat,cat]", r"^data\.classes\n[\s\S]*different"),
        ("data.crop_size=[32,48]", r"data\.crop_size}\)\n[\s\S]*\[32, 48\]"),
        ("schedule.phases.all=null", r"^schedule\.phases is empty"),
        ("encoder.name=null", r"^encoder\.name\n"),
        ("task.head=null", r"^task\.head cannot be built: it is not a mapping with `_target_`\n.*null"),
        ("trainer.strategy=null", r"^trainer\.strategy\n[\s\S]*_target_"),
        ("data.source=null", r"^data\.source\n.*null"),
        ("data.source.counts=null", r"^data\.source\.counts\n"),
        ("data.source.seed=x", r"^data\.source\.seed\n"),
        (
            "+schedule.phases.all.loss=dice",
            r"phases\.all\.loss must be the config of the loss[\s\S]*\+loss@schedule\.phases\.all\.loss=dice",
        ),
    ],
)
def test_invalid_values_are_refused_with_their_key(
    override: str, message: str, built: Callable[..., run.Run]
) -> None:
    with refused(message):
        built(override)


def test_a_phase_that_trains_no_parameters_is_refused(built: Callable[..., run.Run]) -> None:
    with refused(r"phases\.all\.freeze: nothing is left[\s\S]*only decoder, without weights"):
        built("task=classification", "+schedule.phases.all.freeze=[encoder,head]")


@pytest.mark.parametrize(
    ("override", "has_no_effect"),
    [
        ("augmentation=medium", True),
        ("augmentation.geometry.rotate=45", True),
        ("augmentation=strong", False),
        ("loss=dice", False),
        ("epochs=3", False),
        ("optimizer.lr=1", True),
    ],
)
def test_overrides_without_effect_are_refused(override: str, has_no_effect: bool, compose: Compose) -> None:
    config = compose("schedule=three_phase", override)
    if has_no_effect:
        with refused(r"has no effect[\s\S]*schedule\.phases\."):
            check_choices(config, [override])
    else:
        check_choices(config, [override])


@pytest.mark.parametrize(
    ("overrides", "epochs", "steps"),
    [
        ([], 2, 4),
        (["trainer.max_epochs=1"], 1, 2),
        (["trainer.max_epochs=100"], 2, 4),
        (["trainer.max_steps=3"], 2, 3),
        (["trainer.max_steps=100"], 2, 4),
        (["trainer.limit_train_batches=1"], 2, 2),
        (["trainer.limit_train_batches=0.5"], 2, 2),
        (["trainer.accumulate_grad_batches=2"], 2, 2),
        (["data.train_samples=4"], 2, 2),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else None,
)
def test_trainer_limits_shorten_the_plan(
    overrides: list[str], epochs: int, steps: int, built: Callable[..., run.Run]
) -> None:
    trainer = built(*overrides).trainer
    assert (trainer.max_epochs, trainer.max_steps) == (epochs, steps)


def test_a_limit_beyond_the_plan_warns_and_zero_is_refused(
    built: Callable[..., run.Run], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    built("trainer.max_epochs=3", "trainer.max_steps=4")
    assert [record.message for record in caplog.records if "no effect" in record.message] == [
        "trainer.max_epochs=3 has no effect: the schedule has 2 epochs, and limits can only shorten it"
    ]
    with refused(r"trainer\.max_steps[\s\S]*a whole number from 1"):
        built("trainer.max_steps=0")


def test_precision_auto_uses_bfloat16_only_if_native() -> None:
    processor = Path("/proc/cpuinfo")
    if not processor.is_file():
        pytest.skip("needs /proc/cpuinfo of Linux")
    flags = set(processor.read_text().split())
    native = bool(flags & {"amx_bf16", "avx512_bf16"})
    assert precision("auto", "cpu") == ("bf16-mixed" if native else "32-true")


def test_an_explicit_precision_is_used(built: Callable[..., run.Run]) -> None:
    assert precision("16-mixed", "cpu") == "16-mixed"
    assert built("trainer.precision=32-true").trainer.precision == "32-true"


def test_an_override_that_skips_a_phase_warns(
    compose: Callable[..., DictConfig], caplog: pytest.LogCaptureFixture
) -> None:
    overrides = ["schedule=freeze_then_finetune", "loss=focal", "loss.gamma=3"]
    check_choices(compose(*overrides), overrides)
    assert "loss.gamma=3 does not reach finetune (own loss)" in caplog.text
    caplog.clear()
    both = [*overrides, "schedule.phases.finetune.loss.gamma=3"]
    check_choices(compose(*both), both)
    assert not caplog.text
