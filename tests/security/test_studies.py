"""A stranger's search executes nothing: its study is data, and its folder leads nowhere else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from tests.security.conftest import Attack, assert_refused

optuna = pytest.importorskip("optuna")
SEARCH = ["search=loss_and_rate", "sweep.name=s", "encoder=test_resnet", "trainer.accelerator=cpu"]


class Bomb:
    """A malicious pickle, which creates a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


@pytest.fixture
def study(tmp_path: Path, canary: Path) -> Path:
    """The folder of a search, with a finished trial whose optimizer is a malicious pickle."""
    folder = tmp_path / "runs/s"
    folder.mkdir(parents=True)
    made = optuna.create_study(
        study_name="s", storage=f"sqlite:///{folder / 'study.db'}", direction="maximize"
    )
    for prefix in ("cma:", "sepcma:", "cmawm:"):
        trial = made.ask()
        bomb = pickle.dumps(Bomb(canary)).hex()
        made._storage.set_trial_system_attr(trial._trial_id, f"{prefix}optimizer:0", bomb)
        made.tell(trial, 0.5)
    return folder


SAMPLERS = {
    "plain": ["search.sampler._target_=optuna.samplers.CmaEsSampler"],
    "nested": [
        "search.sampler._target_=optuna.samplers.PartialFixedSampler",
        "+search.sampler.fixed_params={}",
        "+search.sampler.base_sampler={_target_:optuna.samplers.CmaEsSampler}",
    ],
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_of_others_is_not_unpickled(sampler: str, study: Path, canary: Path, attack: Attack) -> None:
    done = attack("search", *SEARCH, *SAMPLERS[sampler])
    assert_refused(done, "unpickles values of the study")
    assert not canary.exists()


def test_the_sampler_itself_unpickles_the_study(study: Path, canary: Path) -> None:
    loaded = optuna.load_study(study_name="s", storage=f"sqlite:///{study / 'study.db'}")
    optuna.samplers.CmaEsSampler()._restore_optimizer(loaded.get_trials())
    assert canary.exists()


@pytest.mark.parametrize("name", ["search.lock", "trial-0003/terminal.txt", "search.log"])
def test_a_search_does_not_write_through_links(
    name: str, study: Path, tmp_path: Path, attack: Attack
) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("private")
    (study / name).parent.mkdir(exist_ok=True)
    (study / name).symlink_to(diary)
    done = attack("search", *SEARCH, "search.trials=3")
    if name != "search.log":  # replaced by Hydra's log file before the search starts
        assert_refused(done, "leads out of the run folder")
    assert diary.read_text() == "private"
