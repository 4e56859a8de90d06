"""A config names classes by role; a run folder only those that conf/ or the user names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.helpers import refused
from tests.security.conftest import Attack, assert_refused, edit, override

from pixelwise.build.instantiate import class_of, make
from pixelwise.overrides import typed
from pixelwise.runs import trust

ROLES = {
    "encoder": "pixelwise.models.Encoder",
    "decoder": "pixelwise.models.decoders.UNet",
    "task.head": "pixelwise.models.PixelHead",
    "loss": "pixelwise.losses.Dice",
    "schedule.phases.all.loss": "torch.nn.MSELoss",
    "augmentation": "pixelwise.augmentation.Augmentation",
    "mixing": "pixelwise.augmentation.Mixing",
    "data": "pixelwise.data.DataModule",
    "data.source": "pixelwise.drawn.ToySegmentation",
    "task.scores": "pixelwise.metrics.SegmentationScores",
    "task.prediction": "pixelwise.prediction.MaskWriter",
    "optimizer": "torch.optim.AdamW",
    "schedule.phases.all.curve": "pixelwise.schedules.Polynomial",
    "views.d4": "pixelwise.inference.D4",
    "formats.onnx": "pixelwise.export.Onnx",
    "callbacks.x": "lightning.pytorch.callbacks.LearningRateMonitor",
    "logger.x": "lightning.pytorch.loggers.CSVLogger",
    "trainer.strategy": "lightning.pytorch.strategies.DDPStrategy",
    "search.sampler": "optuna.samplers.TPESampler",
    "search.pruner": "optuna.pruners.MedianPruner",
}
FORBIDDEN = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "functools.partial",
    "pathlib.Path.touch",
    "logging.FileHandler",
    "pickle.loads",
    "torch.load",
    "torch.hub.load",
    "torch.nn.Module.__init__.__globals__.get",
    "hydra.utils.instantiate",
    "timm.data.readers.reader_wds.ReaderWds",  # opens "pipe:COMMAND"
    "timm.data.readers.ReaderWds",
    "timm.data.dataset.ImageDataset",
    "timm.utils.checkpoint_saver.CheckpointSaver",  # writes and deletes files
    "lightning.pytorch.demos.mnist_datamodule.MNISTDataModule",  # downloads
    "lightning.pytorch.demos.transformer.WikiText2",  # downloads
    "lightning.pytorch.cli.LightningCLI",
    "lightning.pytorch.Trainer",
    "lightning.pytorch.profilers.PyTorchProfiler",  # writes anywhere
    "lightning.pytorch.trainer.connectors.checkpoint_connector._CheckpointConnector",
    "lightning.pytorch.LightningModule.load_from_checkpoint",  # unpickles
    "torchmetrics.multimodal.CLIPScore",  # downloads
    "torchmetrics.multimodal.clip_score.CLIPScore",
    "torchmetrics.text.bert.BERTScore",
    "torch.optim.lr_scheduler.LambdaLR",
    "torch.optim.swa_utils.AveragedModel",
    "pixelwise.training.loggers.metrics_csv.MetricsCSVLogger.save",
    "pixelwise.runs.environment._git",
    "pixelwise.sweeps.Sweep",
    "pixelwise.build.instantiate.instantiate",
    "pixelwise.cli.application.Application",
]


@pytest.mark.fast
@pytest.mark.parametrize("target", FORBIDDEN)
def test_no_key_takes_a_class_without_its_role(target: str) -> None:
    for key in ROLES:
        for place in (key, f"{key}.inside"):
            with refused("(is not allowed|cannot be imported)"):
                class_of(target, place)


@pytest.mark.fast
@pytest.mark.parametrize("key", ROLES)
def test_a_key_takes_the_classes_of_its_role_alone(key: str) -> None:
    assert class_of(ROLES[key], key)
    functions = {"augmentation", "mixing", "views.d4", "task.scores", "encoder", "decoder", "task.head"}
    functions |= {key for key in ROLES if key.endswith(("loss", "curve"))}  # have no other role in common
    for other, target in ROLES.items():
        if key != other and not {key, other} <= functions:
            with refused("is not allowed"):
                class_of(target, key)


@pytest.mark.fast
@pytest.mark.parametrize("inside", [{"a": 1}, [1], [[{"b": 1}]]], ids=str)
def test_classes_inside_arguments_have_roles_too(inside: Any, tmp_path: Path) -> None:
    evil = {"_target_": "logging.FileHandler", "filename": str(tmp_path / "fired")}
    nested = {"x": evil} if isinstance(inside, dict) else [evil] if inside == [1] else [[{"b": evil}]]
    for node in (nested, {"_target_": "pixelwise.losses.Dice", "_args_": nested}):
        with refused("is not allowed|a mapping with _target_"):
            make({"_target_": "pixelwise.losses.WeightedSum", "parts": {"x": node}}, "loss")
    with refused("is not allowed|a mapping with _target_"):
        make({"_target_": "${x}", "x": "logging.FileHandler", "filename": str(tmp_path / "fired")}, "loss")
    assert not (tmp_path / "fired").exists()


PARTS = [
    "encoder",
    "decoder",
    "task.head",
    "loss",
    "augmentation",
    "data",
    "data.source",
    "task.scores",
    "optimizer",
    "trainer.strategy",
]


@pytest.mark.parametrize("key", PARTS)
def test_no_part_of_a_run_executes_something_else(
    key: str, stranger: Path, canary: Path, attack: Attack
) -> None:
    edit(
        stranger,
        **{key.replace(".", "__"): {"_target_": "logging.FileHandler", "filename": str(canary), "name": "x"}},
    )
    done = attack("evaluate", "run=run")
    assert done.status in (1, 2), done.printed
    assert "Traceback" not in done.printed, done.printed
    assert not canary.exists()


# ------------------------------------------------------------ callbacks, loggers and strategies of a run
def of_lightning(canary: Path) -> dict[str, dict[str, Any]]:
    """Nodes that write to another place, or send data to another address, by their key."""
    loggers, callbacks = "lightning.pytorch.loggers", "lightning.pytorch.callbacks"
    wandb = {"_target_": "pixelwise.training.WandbRun", "project": "p", "offline": True}
    return {
        "logger.csv": {"_target_": f"{loggers}.CSVLogger", "name": str(canary)},
        "logger.tb": {"_target_": f"{loggers}.TensorBoardLogger", "name": str(canary)},
        "logger.tensorboard": {
            "_target_": "pixelwise.training.TensorBoardRun",
            "name": str(canary),
            "version": "",
        },
        "logger.host": {**wandb, "settings": {"base_url": "http://127.0.0.1:9"}},
        "logger.wandb": {**wandb, "entity": "stranger"},
        "logger.mine": {"_target_": "logging.FileHandler", "filename": str(canary)},
        "callbacks.save": {"_target_": f"{callbacks}.ModelCheckpoint", "dirpath": str(canary)},
        "callbacks.fail": {"_target_": f"{callbacks}.OnExceptionCheckpoint", "dirpath": str(canary)},
        "callbacks.mine": {"_target_": "logging.FileHandler", "filename": str(canary)},
        "callbacks.nested": {
            "_target_": "pixelwise.training.EpochBar",
            "theme": {"_target_": "logging.FileHandler", "filename": str(canary)},
        },
        "trainer.strategy": {
            "_target_": "lightning.pytorch.strategies.DeepSpeedStrategy",
            "nvme_path": str(canary),
        },
    }


@pytest.mark.parametrize("key", of_lightning(Path()))
def test_a_run_writes_and_sends_nothing_elsewhere(
    key: str, stranger: Path, canary: Path, attack: Attack
) -> None:
    node = of_lightning(canary)[key]
    edit(stranger, **{key.replace(".", "__"): node})
    override(stranger, f"++{key}={typed(OmegaConf.create(node))}")
    (stranger / "metrics.json").unlink()
    done = attack("train", "resume=run")
    assert done.status in (1, 2), done.printed
    assert "Traceback" not in done.printed, done.printed
    assert not canary.exists()


@pytest.mark.parametrize("key", ["logger.csv", "callbacks.mine"])
def test_evaluation_builds_no_loggers_and_callbacks(
    key: str, stranger: Path, canary: Path, attack: Attack
) -> None:
    edit(stranger, **{key.replace(".", "__"): of_lightning(canary)[key]})
    attack("evaluate", "run=run")
    assert not canary.exists()


OWN = [
    "+logger.csv={_target_:lightning.pytorch.loggers.CSVLogger,name:csv}",
    "+callbacks.rate={_target_:lightning.pytorch.callbacks.LearningRateMonitor}",
]


def test_users_choose_any_callback_and_logger_themselves(
    tiny: list[str], tmp_path: Path, attack: Attack
) -> None:
    done = attack("train", *tiny, *OWN, "trainer.max_epochs=1", "hydra.run.dir=own")
    assert done.status == 0, done.printed
    assert list(tmp_path.glob("own/csv/*/metrics.csv"))

    again = ["train", "resume=own", "trainer.max_epochs=2"]
    done = attack(*again)
    assert_refused(done, "callbacks.rate._target_ is not used, as the run may come from somebody else")
    assert "repeat it in this command; or PIXELWISE_TRUSTED_RUNS=" in done.printed
    assert_refused(attack(*again, OWN[1]), "logger.csv._target_ is not used")
    for number, done in enumerate(
        (
            attack(*again, *OWN),
            attack("train", "resume=own", "trainer.max_epochs=null", PIXELWISE_TRUSTED_RUNS="own"),
        )
    ):
        assert done.status == 0, (number, done.printed)


@pytest.mark.fast
def test_processes_of_a_training_trust_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.TRUSTED, "/else")
    trust.trust(tmp_path / "a")
    assert trust.is_trusted(tmp_path / "a/b")
    assert trust.is_trusted(Path("/else/run"))
    assert not trust.is_trusted(tmp_path)
    imports = "import sys; from pathlib import Path; from pixelwise.runs.trust import is_trusted; "
    code = f"{imports}sys.exit(not is_trusted(Path(sys.argv[1])))"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")]).returncode == 0
