"""Reading the files of a run folder for its report. Missing and damaged files are read as empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pixelwise.files import inside, read_rows
from pixelwise.protocols import ScoreName
from pixelwise.runs import records
from pixelwise.runs.folder import load_config, read_scores

Rows = list[dict[str, float]]


@dataclass(frozen=True)
class RunReader:
    """The files of a run folder. A damaged file is logged and left out, except for `config.yaml`.

    Attributes:
        folder: the run folder.
    """

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as plain containers."""
        return OmegaConf.to_container(load_config(self.folder), resolve=True)  # type: ignore[return-value]

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return [str(name) for name in self.config["data"]["classes"]]

    @cached_property
    def plan(self) -> dict[str, Any]:
        """Phases and learning rates, as `schedule_figure.to_json` returns them."""
        return self._json("plan.json", records.Plan)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The fingerprint of the data, and the shares of the classes."""
        return self._json("data.json", records.Data)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """How and where the run was started."""
        return self._json("environment.json", records.Environment)

    @cached_property
    def confusion(self) -> dict[str, Any]:
        """The confusion matrix of the last evaluation."""
        return self._json("confusion.json", records.Confusion)

    @cached_property
    def samples(self) -> dict[str, Any]:
        """Samples of the last evaluation."""
        return self._json("samples.json", records.Samples)

    @cached_property
    def rows(self) -> Rows:
        """All logged values, a row for each step."""
        return self._rows("metrics.csv", records.LOGGED)

    @cached_property
    def speed(self) -> Rows:
        """Time, images/s, waiting time and memory, a row for each epoch."""
        return self._rows("speed.csv", records.SPEED)

    @property
    def finished(self) -> bool:
        """Whether the run has final scores."""
        return (self.folder / "metrics.json").is_file()

    @property
    def stopped_at(self) -> int | None:
        """The step at which the training stopped; None if it went to the end of its plan, or was killed."""
        return self.plan.get("stopped_at")

    @property
    def steps(self) -> int:
        """Number of optimizer steps; those that were logged, if the training was killed."""
        logged = int(max((row["step"] for row in self.rows), default=-1)) + 1
        return logged if self.stopped_at is None else self.stopped_at

    @cached_property
    def scores(self) -> dict[str, float]:
        """The final scores by flat name, or those of the last validation if the run is unfinished."""
        file = self.folder / "metrics.json"
        if self.finished and (scores := records.tolerant(lambda: read_scores(file))):
            return scores
        for row in reversed(self.rows):
            if scores := {name: value for name, value in row.items() if self.parsed(name).split == "val"}:
                return scores
        return {}

    @cached_property
    def means(self) -> dict[str, float]:
        """The scores over all classes, and the loss."""
        return {name: value for name, value in self.scores.items() if self.parsed(name).class_name is None}

    @cached_property
    def by_class(self) -> dict[str, dict[str, float]]:
        """The scores of each class: score → class → value."""
        table: dict[str, dict[str, float]] = {}
        for name, value in self.scores.items():
            parsed = self.parsed(name)
            if parsed.class_name is not None:
                table.setdefault(parsed.kind, {})[parsed.class_name] = value
        return table

    def parsed(self, name: str) -> ScoreName:
        """Split a flat score name into its parts."""
        return ScoreName.parse(name, self.classes)

    def line(self, name: str, per_epoch: float) -> list[tuple[float, float]]:
        """Points (epoch, value) of one column; the epoch counts completed steps."""
        return [((row["step"] + 1) / per_epoch, row[name]) for row in self.rows if name in row]

    def text(self, name: str) -> str:
        """Content of a text file; empty if the file is missing."""
        file = inside(self.folder, name)
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def _json(self, name: str, kind: Any) -> dict[str, Any]:
        file = inside(self.folder, name)
        return records.tolerant(lambda: records.read(file, kind)) or {}

    def _rows(self, name: str, columns: tuple[str, ...]) -> Rows:
        file = inside(self.folder, name)
        return records.tolerant(lambda: read_rows(file, columns)) or []


def kind_of(node: Mapping[str, Any] | None) -> str:
    """Name of the class in a config node, without its module; for a sum, also the names of its parts."""
    if not node:
        return "none"
    name = str(node.get("_target_", "?")).rsplit(".", 1)[-1]
    parts = node.get("parts")
    return f"{name} of {', '.join(parts)}" if isinstance(parts, Mapping) else name
