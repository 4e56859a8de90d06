"""The places that a command writes to, checked before it starts."""

from __future__ import annotations

from pathlib import Path

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from pixelwise.errors import UserError
from pixelwise.files import check_writable
from pixelwise.overrides import CONF


def check_places(config: DictConfig, command: str, run_mode: RunMode) -> None:
    """Refuse an output that cannot be written, or a folder of a new run.

    A finished run may be read only: then the log of a command that uses it stands at its output.

    Args:
        config: the composed config, with Hydra's own node.
        command: the name of its file in conf/.
        run_mode: whether it is a single job or a sweep.

    Raises:
        UserError: the place cannot be written.
    """
    output = Path(config.output).expanduser() if config.get("output") is not None else None
    if output is not None:
        check_writable("output", output, command != "evaluate", "output=PATH names another place")
    key = "hydra.sweep.dir" if run_mode == RunMode.MULTIRUN else "hydra.run.dir"
    folder = str(OmegaConf.select(config, key))
    if not folder.strip():
        raise UserError(f"{key}= is empty", expected="a path")
    if folder == ".":  # commands without a folder of their own
        return
    try:
        resume = config.get("resume")
        fix = "a copy of the run" if resume else f"{key}=DIR names another folder"
        check_writable("resume" if resume else key, Path(folder), True, fix)
    except UserError:
        if "run" not in config:
            raise
        _log_elsewhere(config, output if output is None or command == "predict" else output.parent)


def _log_elsewhere(config: DictConfig, folder: Path | None) -> None:
    """Write the log of a job, and the list of problems, to a folder; None for no log file."""
    print(f"run={config.run} cannot be written; {'no log file' if folder is None else f'log in {folder}'}")
    with read_write(config), open_dict(config):
        config.hydra.run.dir = str(folder or ".")
        if folder is None:
            config.hydra.job_logging = OmegaConf.load(CONF / "hydra/job_logging/terminal.yaml")
