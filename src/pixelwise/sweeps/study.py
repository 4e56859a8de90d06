"""The study of a search: the record of its trials, in the file `study.db`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pixelwise.build.instantiate import class_of, make
from pixelwise.errors import UserError, counted
from pixelwise.files import RESTORE
from pixelwise.runs import trust
from pixelwise.runs.untrusted import texts


def open_study(config: DictConfig, fixed: Sequence[str], folder: Path) -> Any:
    """Create the study of a folder, or load it if it exists."""
    try:
        import optuna
        from optuna.study import StudyDirection
    except ImportError as error:
        raise UserError(
            "searching needs Optuna", found=error, fix="pip install 'pixelwise[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _check_sampler(config, folder)
    storage = f"sqlite:///{folder / 'study.db'}"
    directions = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    try:
        study = optuna.create_study(
            study_name=folder.name,
            storage=storage,
            direction=directions[config.task.mode],
            load_if_exists=True,
        )
        trials = len(study.get_trials(deepcopy=False))
        recorded = study.user_attrs.get("search", {})
    except Exception as error:  # of SQLite, SQLAlchemy or Optuna, of many types
        raise UserError(
            f"{folder / 'study.db'} cannot be read as a study",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix=f"{RESTORE}; or another sweep.name",
        ) from error
    following = f"trial-{trials:04d}"
    if (folder / following / "config.yaml").is_file():
        raise UserError(
            f"{folder / 'study.db'} does not belong to this folder",
            found=f"{counted(trials, 'trial')} in it, but a run in {following}",
            fix=f"{RESTORE}; or another sweep.name",
        )
    # with the same seed at each start, a sampler would repeat its first proposals
    study.sampler = make(config.search.sampler, "search.sampler", seed=config.seed + trials)
    study.pruner = make(config.search.pruner, "search.pruner")
    described = {"space": OmegaConf.to_container(config.search.space), "overrides": sorted(fixed)}
    for part, now in described.items():
        if recorded and recorded.get(part) != now:
            raise UserError(
                f"{folder} holds another search: its {part} differ",
                found=json.dumps(now),
                expected=json.dumps(recorded.get(part)),
                fix="choose another sweep.name",
            )
    study.set_user_attr("search", described)
    return study


def _check_sampler(config: DictConfig, folder: Path) -> None:
    """Refuse to continue a study with a sampler that unpickles values of it, such as CMA-ES."""
    if not (folder / "study.db").exists() or trust.is_trusted(folder):
        return
    nodes = {"search.sampler": OmegaConf.to_container(config.search.sampler, resolve=True)}
    for key, target in [pair for pair in texts(nodes) if pair[0].endswith("._target_")]:
        sampler = class_of(target, key.removesuffix("._target_"))
        if any(hasattr(sys.modules[base.__module__], "pickle") for base in sampler.__mro__):
            raise UserError(
                f"search.sampler._target_={target} unpickles values of the study, which can execute code",
                found=f"{folder / 'study.db'}, which may come from somebody else",
                fix=f"{trust.TRUSTED}={folder} in the environment, if it is yours; or another sampler",
            )
