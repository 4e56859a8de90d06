"""Lightning's trainer and callbacks: every argument and class takes effect, or is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import DictConfig
from tests.helpers import Compose, refused

from pixelwise import build, checks
from pixelwise.build.lightning_options import ARGUMENTS, CALLBACKS, advice, check
from pixelwise.build.limits import max_time
from pixelwise.build.trainer import SyncBatchNorm
from pixelwise.cli.trainer_schema import Duration
from pixelwise.training import EMA, run
from pixelwise.training.callbacks.ending import Ending, MaxTime

KINDS = [getattr(callbacks, name) for name in callbacks.__all__]
PLACEHOLDERS = ("FILES", "RUN", "DIR", "CLASS", "NAME", "SCORE", "=N", "=M", "HH:MM:SS")

TAKES_EFFECT: dict[str, tuple[Any, Callable[[L.Trainer], Any], Any]] = {
    # argument: value, what the trainer makes of it, and the expected result
    "accelerator": ("cpu", lambda t: type(t.accelerator).__name__, "CPUAccelerator"),
    "strategy": ("auto", lambda t: type(t.strategy).__name__, "SingleDeviceStrategy"),
    "devices": (1, lambda t: t.num_devices, 1),
    "num_nodes": (1, lambda t: t.num_nodes, 1),
    "precision": ("64-true", lambda t: t.precision, "64-true"),
    "max_epochs": (1, lambda t: (t.max_epochs, t.max_steps), (1, 2)),
    "min_epochs": (2, lambda t: t.min_epochs, 2),
    "max_steps": (3, lambda t: t.max_steps, 3),
    "min_steps": (3, lambda t: t.min_steps, 3),
    "max_time": ("00:10:00", lambda t: [c._duration for c in t.callbacks if isinstance(c, MaxTime)], [600]),
    "limit_train_batches": (1, lambda t: (t.limit_train_batches, t.max_steps), (1, 2)),
    "limit_val_batches": (0.5, lambda t: t.limit_val_batches, 0.5),
    "limit_test_batches": (1, lambda t: t.limit_test_batches, 1),
    "val_check_interval": (0.5, lambda t: t.val_check_interval, 0.5),
    "check_val_every_n_epoch": (2, lambda t: t.check_val_every_n_epoch, 2),
    "log_every_n_steps": (1, lambda t: t.log_every_n_steps, 1),
    "accumulate_grad_batches": (2, lambda t: (t.accumulate_grad_batches, t.max_steps), (2, 2)),
    "gradient_clip_val": (0.5, lambda t: t.gradient_clip_val, 0.5),
    "gradient_clip_algorithm": ("value", lambda t: t.gradient_clip_algorithm.value, "value"),
    "deterministic": (True, lambda _: torch.are_deterministic_algorithms_enabled(), True),
    "benchmark": (True, lambda _: torch.backends.cudnn.benchmark, True),
    "inference_mode": (False, lambda t: t.test_loop.inference_mode, False),
    "profiler": ("simple", lambda t: type(t.profiler), SimpleProfiler),
    "detect_anomaly": (True, lambda t: t._detect_anomaly, True),
    "sync_batchnorm": (True, lambda t: type(t._accelerator_connector._layer_sync), SyncBatchNorm),
}


@pytest.fixture
def built(compose: Compose, tiny: list[str], tmp_path: Path) -> Callable[..., run.Run]:
    """`built(*overrides)` builds a run; 8 training scenes in batches of 4 are 2 steps per epoch."""
    return lambda *overrides: build.run(compose(*tiny, *overrides), tmp_path)


@pytest.fixture(scope="module")
def default(compose: Compose) -> DictConfig:
    """The default config."""
    return compose()


@pytest.fixture
def config(default: DictConfig) -> DictConfig:
    """A copy of the default config that a test may change."""
    return default.copy()


# -------------------------------------------------------------------------- arguments of the trainer
@pytest.mark.fast
def test_every_argument_of_lightning_is_decided() -> None:
    signature = list(inspect.signature(L.Trainer.__init__).parameters)
    assert sorted(ARGUMENTS) == sorted(signature[1:])
    assert sorted(TAKES_EFFECT) == sorted(name for name, instead in ARGUMENTS.items() if instead is None)


@pytest.mark.fast
@pytest.mark.parametrize("name", TAKES_EFFECT)
def test_an_argument_takes_effect(name: str, built: Callable[..., run.Run]) -> None:
    value, found, expected = TAKES_EFFECT[name]
    try:
        assert found(built(f"++trainer.{name}={value}").trainer) == expected
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False


@pytest.mark.fast
@pytest.mark.parametrize("name", [name for name, instead in ARGUMENTS.items() if instead])
def test_an_argument_that_the_plan_decides_is_refused(name: str, config: DictConfig) -> None:
    for value in (1, True, None):
        config.trainer[name] = value
        with refused(rf"^trainer\.{name} cannot be set") as caught:
            check(config)
        assert str(ARGUMENTS[name]) in str(caught.value)


@pytest.mark.fast
def test_an_unknown_argument_suggests_the_nearest(config: DictConfig) -> None:
    config.trainer.gradient_clip = 1
    with refused(r"^trainer\.gradient_clip: .*no such argument\n[\s\S]*gradient_clip_val"):
        check(config)


@pytest.mark.fast
@pytest.mark.parametrize(
    "override", ["+trainer.fast_dev_run=1", "+callbacks.a._target_=lightning.pytorch.callbacks.Timer"]
)
def test_refusals_come_before_the_data_is_read(override: str, compose: Compose, tmp_path: Path) -> None:
    data = ["data=folder", f"data.root={tmp_path / 'none'}", "data.classes=[a,b]"]
    with refused(r"^(trainer\.fast_dev_run|callbacks\.a)"):
        build.run(compose(*data, override), tmp_path)


@pytest.mark.parametrize("table", [ARGUMENTS, CALLBACKS], ids=["arguments", "callbacks"])
def test_what_to_use_instead_works(table: dict[Any, str | None], compose: Compose) -> None:
    words = [word.strip(",;") for instead in table.values() for word in (instead or "").split()]
    for word in {word for word in words if "=" in word and not any(p in word for p in PLACEHOLDERS)}:
        check(compose(word)) if not word.startswith("format=") else None


# ------------------------------------------------------------------------------------------ limits
@pytest.mark.fast
@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("00:00:05", 5),
        ("01:02:03:04", 93784),
        ("1:00:00:00", 86400),
        ("100:00:00", 360000),
        ({"minutes": 5}, 300),
    ],
)
def test_a_time_limit_is_read(given: Any, seconds: int | None) -> None:
    assert max_time(given) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.fast
@pytest.mark.parametrize(
    "given",
    ["5", "5h", "00:05", "", 36000, 5.5, True, [1], {"houres": 5}, {"hours": "x"}, {"hours": -1}, {}],
)
def test_a_time_limit_that_cannot_be_read_is_refused(given: Any) -> None:
    with refused(r"^trainer\.max_time"):
        checks.check("trainer.max_time", given, Duration)


@pytest.mark.fast
@pytest.mark.parametrize("given", ["00:00:00", {"hours": 0}, {"days": 1e12}])
def test_a_time_limit_of_nothing_or_forever_is_refused(given: Any) -> None:
    checks.check("trainer.max_time", given, Duration)
    with refused(r"^trainer\.max_time"):
        max_time(given)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+trainer.min_epochs=3"], r"^trainer\.min_epochs\n.*3\n.*at most 2"),
        (["+trainer.min_steps=5"], r"^trainer\.min_steps\n.*5\n.*at most 4"),
        (["+trainer.min_epochs=2", "trainer.max_epochs=1"], r"^trainer\.min_epochs\n.*2\n.*at most 1"),
        (["+trainer.min_epochs=2", "trainer.max_steps=3"], r"^trainer\.min_epochs\n.*2\n.*at most 1"),
        (["+trainer.min_epochs=x"], r"^trainer\.min_epochs\n.*x"),
        (["+trainer.min_steps=0"], r"^trainer\.min_steps\n.*0"),
        (["trainer.check_val_every_n_epoch=null"], r"^trainer\.val_check_interval\n.*null"),
        (["+trainer.val_check_interval=00:00:01:00"], r"^trainer\.val_check_interval\n"),
        (["+trainer.val_check_interval=0"], r"^trainer\.val_check_interval\n"),
        (["+trainer.val_check_interval=1.5"], r"^trainer\.val_check_interval\n"),
        (["+trainer.val_check_interval=3"], r"^trainer\.val_check_interval\n"),
        (["+trainer.gradient_clip_algorithm=x"], r"^trainer: [\s\S]*gradient_clip_algorithm"),
    ],
)
def test_impossible_limits_are_refused(
    overrides: list[str], message: str, built: Callable[..., run.Run]
) -> None:
    with refused(message):
        built(*overrides)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("overrides", "limit"),
    [
        ([], None),
        (["trainer.max_epochs=2", "trainer.max_steps=4"], None),
        (["trainer.max_epochs=1"], "max_epochs"),
        (["trainer.max_steps=3"], "max_steps"),
        (["trainer.max_steps=1", "trainer.max_epochs=1"], "max_steps"),
        (["trainer.max_steps=3", "trainer.max_epochs=1"], "max_epochs"),
    ],
)
def test_the_limit_that_ends_the_training_is_known(
    overrides: list[str], limit: str | None, built: Callable[..., run.Run]
) -> None:
    (ending,) = [c for c in built(*overrides).trainer.callbacks if isinstance(c, Ending)]  # type: ignore[attr-defined]
    assert ending.limit == limit


# --------------------------------------------------------------------------------------- callbacks
@pytest.mark.fast
def test_every_callback_of_lightning_is_decided() -> None:
    assert {kind.__name__ for kind in CALLBACKS} == {*callbacks.__all__, "EMA"}


@pytest.mark.fast
@pytest.mark.parametrize("kind", [kind for kind in KINDS if CALLBACKS[kind]], ids=lambda kind: kind.__name__)
def test_a_callback_that_contradicts_the_plan_is_refused(kind: type, config: DictConfig) -> None:
    config.callbacks.mine = {"_target_": f"lightning.pytorch.callbacks.{kind.__name__}"}
    with refused(rf"^callbacks\.mine: {kind.__name__} contradicts") as caught:
        check(config)
    assert str(CALLBACKS[kind]) in str(caught.value)
    own = type("Mine", (kind,), {})
    assert advice(own) == CALLBACKS[kind]


@pytest.mark.fast
def test_a_subclass_counts_as_the_nearest_class_above_it() -> None:
    class Mine(EMA):
        """Based on the average of the project."""

    assert advice(Mine) is None
    assert advice(type("Bar", (callbacks.TQDMProgressBar,), {})) is None
    assert advice(type("Own", (L.Callback,), {})) is None


@pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS if CALLBACKS[kind] is None and kind not in (L.Callback, callbacks.ProgressBar)],
    ids=lambda kind: kind.__name__,
)
def test_a_callback_that_is_honoured_trains(
    kind: type, compose: Compose, tiny: list[str], tmp_path: Path
) -> None:
    more = ["+callbacks.mine.monitor=val/miou"] if kind is callbacks.EarlyStopping else []
    words = [
        "callbacks=checkpoint",
        "trainer.max_steps=1",
        f"+callbacks.mine._target_={kind.__module__}.{kind.__name__}",
    ]
    built = build.run(compose(*tiny, *words, *more), tmp_path)
    built.trainer.fit(built.module, datamodule=built.data)
    assert any(type(callback) is kind for callback in built.trainer.callbacks)  # type: ignore[attr-defined]
    assert built.trainer.global_step == 1


@pytest.mark.fast
def test_two_progress_bars_are_refused(compose: Compose) -> None:
    tqdm = "+callbacks.mine._target_=lightning.pytorch.callbacks.TQDMProgressBar"
    with refused(r"^a run has one progress bar\n.*callbacks\.progress_bar, callbacks\.mine\n[\s\S]*=null"):
        check(compose(tqdm))
    check(compose(tqdm, "callbacks.progress_bar=null"))
