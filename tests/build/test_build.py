"""From config to objects: allowed classes, invalid settings, and the values of `auto`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from omegaconf import DictConfig
from tests.helpers import Compose, refused

from pixelwise import build
from pixelwise.build.instantiate import make
from pixelwise.cli.checks import check_choices
from pixelwise.data.statistics import channel_statistics
from pixelwise.losses import Dice
from pixelwise.runtime.device import precision
from pixelwise.training import run
from pixelwise.types import Raw

pytestmark = pytest.mark.fast


@pytest.fixture
def built(compose: Compose, tiny: list[str], tmp_path: Path) -> Callable[..., run.Run]:
    """`built(*overrides)` builds a run; 8 training scenes in batches of 4 are 2 steps per epoch."""
    return lambda *overrides: build.run(compose(*tiny, *overrides), tmp_path)


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
        ("+schedule.phases.more=3", r"schedule\.phases\.more is not a phase"),
        (
            "+schedule.phases.all.loss={_target_:pixelwise.losses.Dise}",
            r"schedule\.phases\.all\.loss\._target_: 'pixelwise.losses.Dise'",
        ),
        (
            "schedule.phases.all.curve={_target_:pixelwise.schedules.curves.Polynomial,power:-1}",
            r"power of the curve polynomial",
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
        ("seed=x", r"^seed\n.*found: +x"),
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
        ("optimizer.weight_decay=-1", r"^optimizer: [\s\S]*weight_decay"),
        ("+optimizer.foo=1", r"^optimizer: [\s\S]*'foo'"),
        ("task.head.dropout=2", r"^task\.head: [\s\S]*dropout"),
        ("data.mean=0.5", r"^data\.mean\n.*0\.5\n.*3 numbers"),
        ("data.mean=[a,b,c]", r"^data\.mean\n"),
        ("data.std=[0,0,0]", r"^data\.std\n[\s\S]*above 0"),
        ("data.palette=red", r"^data\.palette\n"),
        ("data.palette=[[1,2,3]]", r"^data\.palette\n[\s\S]*each of the 3 classes"),
        ("data.palette=[[300,2,3],[1,2,3],[2,3,4]]", r"^data\.palette\n"),
        ("data.classes=[background,cat,cat]", r"^data\.classes\n[\s\S]*different"),
        ("data.crop_size=[32,48]", r"data\.crop_size\)\n[\s\S]*\[32, 48\]"),
        ("schedule.phases.all=null", r"^schedule\.phases is empty"),
        ("encoder.name=null", r"^encoder: [\s\S]*does not accept these arguments"),
        ("task.head=null", r"^task\.head cannot be built: it is not a mapping with `_target_`\n.*null"),
        ("trainer.strategy=null", r"^trainer\.strategy cannot be built"),
        ("data.source=null", r"^data\.source is not a Source\n[\s\S]*found: *null"),
        ("data.source.counts=null", r"^data: [\s\S]*does not accept these arguments"),
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


def test_statistics_come_from_config_or_training_split(
    built: Callable[..., run.Run],
) -> None:
    assert built("data.mean=[0.1,0.2,0.3]").module.model.normalize.mean.tolist() == pytest.approx(
        [0.1, 0.2, 0.3]
    )
    run = built("data.mean=null", "data.std=null")
    train = run.data["train"]
    images = torch.stack([torch.from_numpy(train[i].image) for i in range(len(train))]).double() / 255
    torch.testing.assert_close(
        run.module.model.normalize.mean.double(), images.mean((0, 1, 2)), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        run.module.model.normalize.std.double(), images.std((0, 1, 2), correction=0), atol=1e-5, rtol=0
    )
    for given, measured in (("mean", "std"), ("std", "mean")):
        half = built(f"data.{given}=[0.1,0.2,0.3]", f"data.{measured}=null").module.model.normalize
        assert getattr(half, given).tolist() == pytest.approx([0.1, 0.2, 0.3])
        assert torch.equal(getattr(half, measured), getattr(run.module.model.normalize, measured))
    with refused(r"data\.mean"):
        built("data.mean=[0.1]")


def test_statistics_expected_by_weights_apply(
    built: Callable[..., run.Run], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole: Any = timm.create_model("test_resnet")
    torch.save(whole.state_dict(), file := tmp_path / "whole.pth")
    overrides = ["data.mean=null", "data.std=null", f"encoder.weights={file}"]
    loaded = built(*overrides).module.model.normalize
    for key in ("mean", "std"):
        assert getattr(loaded, key).tolist() == pytest.approx(list(whole.pretrained_cfg[key]))
    (message,) = [line for line in caplog.messages if line.endswith("test_resnet.r160_in1k expects")]
    assert "]: as timm's" in message
    assert "measured" not in caplog.text
    caplog.clear()
    pins = message.split(": ")[0].split()
    pinned = built(*overrides, *pins).module.model.normalize
    assert torch.equal(pinned.mean, loaded.mean)
    assert torch.equal(pinned.std, loaded.std)
    other = built(*overrides, "data.mean=[0.1,0.2,0.3]").module.model.normalize
    assert other.mean.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert torch.equal(other.std, loaded.std)
    assert [line for line in caplog.messages if "expects" in line] == [message.split(maxsplit=1)[1]]


def test_statistics_of_large_float_values_are_exact() -> None:
    """For elevations in metres, sums in float32 gave a standard deviation of 1 and a wrong mean."""
    noise = np.random.default_rng(0).standard_normal((1024, 1024, 2), np.float32)
    image = 500 + noise * np.float32([5, 0.1])
    mean, std = channel_statistics([Raw(image, 0, "a"), Raw(image, 0, "b")])  # type: ignore[arg-type]
    assert mean == pytest.approx(image.mean((0, 1), np.float64), rel=1e-9)
    assert std == pytest.approx(image.std((0, 1), np.float64), rel=1e-6)


@pytest.mark.fast
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
