"""Resuming a run in its folder: which settings may differ from those of the first start.

Imports no torch, so that errors appear at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from pixelwise import runs
from pixelwise.errors import UserError
from pixelwise.overrides import key_of, nodes
from pixelwise.runs import records, trust, untrusted
from pixelwise.runtime import program
from pixelwise.runtime.program import as_started
from pixelwise.runtime.terminal import score_table, show

log = logging.getLogger(__name__)

EARLY_STOPPING = "callbacks.early_stopping"

MAY_CHANGE = (
    "data.root",
    "data.prepared",
    "data.num_workers",
    "data.cache",
    "data.verify",
    "encoder.weights",
    "encoder.allow_missing",
    "logger",
    "sweep",
    *(f"callbacks.{name}" for name in ("checkpoint", "pictures", "report", "wandb")),
    *(f"callbacks.{name}" for name in ("progress_bar", "throughput", "device_stats")),
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy")),
    *(f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time", "log_every_n_steps")),
    *(f"trainer.{name}" for name in ("min_epochs", "min_steps", "profiler", "detect_anomaly")),
    *(f"{EARLY_STOPPING}.{name}" for name in ("patience", "stopping_threshold", "divergence_threshold")),
)
"""Keys that may change, with all keys below them: the result does not depend on them. The limits of the
trainer and early stopping only set how far the same schedule is followed."""


class Resumed(NamedTuple):
    """How a run goes on.

    Attributes:
        config: the config to resume with.
        accept: writes the changes to the run folder. Until it is called, a resume that fails changes nothing.
    """

    config: DictConfig
    accept: Callable[[], None]


def reopen(folder: Path, config: DictConfig, overrides: Sequence[str]) -> Resumed | None:
    """Compare the config composed now with the config that the run was started with.

    Args:
        folder: the run folder.
        config: the config composed from the run's own overrides and those typed now.
        overrides: all these overrides.

    Returns:
        How the run goes on, or None if it is finished.

    Raises:
        UserError: a setting that changes the result differs, and `allow_change` is false.
    """
    untrusted.check_links(folder)
    before = runs.load_config(folder)
    first = runs.load_overrides(folder)
    typed = [o for o in overrides if o not in first]
    allowed = bool(config.allow_change)
    now = runs.freeze_interpolations(config)
    now.resume, now.allow_change = None, False
    kept, accepted = merge(
        before, untrusted.check_config(now, folder / "overrides.yaml"), [key_of(o) for o in typed], allowed
    )
    given = overrides if config.resume is None else program.arguments()
    trust.check_classes(kept, folder, given, ("callbacks", "logger", "trainer", "encoder"))
    scores = folder / "metrics.json"
    early = records.read(folder / "environment.json", records.Environment).get("early_end")
    ended = early is not None and not any(_below(key, (early["key"],)) for key in accepted)
    if scores.is_file() and (ended or not accepted):
        log.info("run folder: %s", folder)
        state = "this run ended early" if early else "this run is finished"
        show(score_table(runs.read_scores(scores), state, config.data.classes))
        if early:
            again = as_started("python train.py")
            log.info("%s; to go on: %s resume=%s %s", early["why"], again, folder, early["fix"])
        return None
    if accepted:
        log.info("changed on resuming: %s", ", ".join(accepted))
    chosen = [o for o in overrides if key_of(o) not in ("resume", "allow_change")]

    def accept() -> None:
        if accepted:
            scores.unlink(missing_ok=True)  # the run is no longer finished
            runs.add_to_environment(folder, early_end=None)
            runs.write_choices(folder, kept, chosen)

    return Resumed(as_first_chosen(kept.copy(), folder), accept)


def merge(
    before: DictConfig, now: DictConfig, typed: Iterable[str], allow_change: bool
) -> tuple[DictConfig, list[str]]:
    """The config to resume with, and the keys whose values it changes.

    A harmless key that was not typed now keeps its earlier value: a relative root may mean another folder.
    """
    old, new = dict(nodes(before)), dict(nodes(now))
    changed = [
        key
        for key in old | new
        if not _is_branch(old.get(key), new.get(key)) and old.get(key) != new.get(key)
    ]
    harmless = {key for key in changed if _below(key, MAY_CHANGE)}
    if OmegaConf.is_dict(before.callbacks.get("early_stopping")) != OmegaConf.is_dict(
        now.callbacks.get("early_stopping")
    ):  # added or removed as a whole
        harmless |= {key for key in changed if _below(key, (EARLY_STOPPING,))}
    refused = [key for key in changed if key not in harmless]
    if refused and not allow_change:
        shown = [f"{key}: {_value(old, key)} then, {_value(new, key)} now" for key in refused[:8]]
        if len(refused) > 8:
            shown.append(f"and {len(refused) - 8} more")
        raise UserError(
            "the resumed training would differ from the one that was started",
            found="\n            ".join(shown),
            expected="the settings in the run's config.yaml; its overrides.yaml or conf/ may differ now",
            fix="omit these overrides, or accept the change with allow_change=true",
        )
    accepted = [key for key in changed if key in refused or _below(key, tuple(typed))]
    if not accepted:
        return before, []
    kept = now.copy()
    OmegaConf.set_struct(kept, False)
    for key in set(changed) - set(accepted) & old.keys():
        OmegaConf.update(kept, key, old[key]._value(), force_add=True)
    return kept, accepted


def as_first_chosen(config: DictConfig, folder: Path) -> DictConfig:
    """Replace `auto` by its value on the first machine, so that the arithmetic stays the same."""
    chosen = records.read(folder / "environment.json", records.Environment)
    for key, place in (("precision", "trainer.precision"), ("memory_format", "memory_format")):
        if key in chosen and OmegaConf.select(config, place) == "auto":
            log.info("%s=%s, as at the start of this run", place, chosen[key])
            OmegaConf.update(config, place, chosen[key])
    return config


def _below(key: str, tops: Iterable[str]) -> bool:
    return any(key == top or key.startswith(f"{top}.") for top in tops)


def _is_branch(*nodes: Any) -> bool:
    """Whether all nodes are mappings or missing: then their children are compared."""
    return all(node is None or (OmegaConf.is_dict(node) and not node._is_none()) for node in nodes)


def _value(config: dict[str, Any], key: str) -> str:
    node = config.get(key)
    return (
        "nothing"
        if node is None
        else str(OmegaConf.to_container(node) if OmegaConf.is_config(node) else node._value())
    )
