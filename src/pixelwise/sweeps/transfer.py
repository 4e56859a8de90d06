"""Transfer study: segmenters fine-tuned from a classifier's encoder, compared with training from scratch."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf

from pixelwise import build, files, runs
from pixelwise.errors import UserError
from pixelwise.reports.drawing import save_picture
from pixelwise.runtime.terminal import LogFile, Plain
from pixelwise.training.train import train

log = logging.getLogger(__name__)

SCRATCH, TRANSFER = "from scratch", "classifier's encoder"
COLOURS = {SCRATCH: "#777777", TRANSFER: "#0072B2"}


@dataclass(frozen=True)
class Study:
    """The runs of a transfer study.

    Attributes:
        seeds: random seeds; each trains one classifier, and two segmenters for each number of masks.
        masks: numbers of labelled masks.
        both, classifier, segmenter: overrides of train.py for all runs, the classifiers and the segmenters.
    """

    seeds: Sequence[int]
    masks: Sequence[int]
    both: Mapping[str, Any]
    classifier: Mapping[str, Any]
    segmenter: Mapping[str, Any]

    def __post_init__(self) -> None:
        for key in ("seeds", "masks"):
            if not getattr(self, key):
                raise UserError(f"{key} is empty", expected="at least one number")


class Score(NamedTuple):
    """The final score of one segmenter."""

    masks: int
    seed: int
    start: str
    miou: float


def run_study(study: Study, output: str | Path, compose: Callable[[list[str]], DictConfig]) -> list[Score]:
    """Train the runs that are not finished yet, and write the table and the plot.

    Args:
        study: the runs to train.
        output: folder of all runs.
        compose: composes the config of train.py from a list of overrides.
    """
    output = Path(output).resolve()
    scores: list[Score] = []
    count, total = 0, len(study.seeds) * (1 + 2 * len(study.masks))
    for seed in study.seeds:
        common = {**study.both, "seed": seed}
        folder = output / f"classifier_seed{seed}"
        final = finished(folder, {**common, **study.classifier}, compose)
        count += 1
        log.info("%d/%d classifier, seed %d: accuracy %.4f", count, total, seed, _main(final, "accuracy"))
        weights = {"encoder.weights": f"'{folder / 'checkpoints/best.ckpt'}'"}
        for masks in study.masks:
            segmenter = {**common, **study.segmenter, "data.train_samples": masks}
            for start, extra in {SCRATCH: {}, TRANSFER: weights}.items():
                name = f"{'transfer' if extra else 'scratch'}_{masks}_seed{seed}"
                miou = _main(finished(output / name, {**segmenter, **extra}, compose), "miou")
                scores.append(Score(masks, seed, start, miou))
                count += 1
                log.info("%d/%d %d masks, seed %d, %s: mIoU %.4f", count, total, masks, seed, start, miou)
    files.write_json(output / "transfer.json", [score._asdict() for score in scores])
    text = table(scores)
    files.write_text(output / "transfer.md", text)
    save_picture(plot(scores), output / "transfer.png")
    log.info("\n%s\npicture: %s", text, output / "transfer.png")
    return scores


def finished(
    folder: Path, overrides: Mapping[str, Any], compose: Callable[[list[str]], DictConfig]
) -> dict[str, float]:
    """The final scores of a run; the run is trained first if it is not finished.

    Raises:
        UserError: the folder holds a run with other overrides.
    """
    values = {key: "null" if value is None else value for key, value in overrides.items()}
    typed = [("++" if "." in key else "") + f"{key}={value}" for key, value in values.items()]
    recorded = folder / "overrides.yaml"
    if recorded.is_file() and (before := OmegaConf.to_container(OmegaConf.load(recorded))) != typed:
        raise UserError(
            f"{folder} holds another run",
            found=before,
            expected=typed,
            fix="choose a new folder with output=…, or delete this one",
        )
    if not (folder / "metrics.json").is_file():
        if recorded.is_file():
            log.info("%s was not finished and starts again", folder.name)
            shutil.rmtree(folder)
        with logged_to(folder / "train.log"):
            runs.create(folder, compose(typed), typed)
            train(build.run(runs.load_config(folder), folder), folder)
        for name in ("last", "previous"):  # large, and needed only to resume
            (folder / f"checkpoints/{name}.ckpt").unlink(missing_ok=True)
    return runs.read_scores(folder / "metrics.json")


@contextmanager
def logged_to(file: Path) -> Iterator[None]:
    """Write log messages to a file instead of the terminal, within a `with` block."""
    file.parent.mkdir(parents=True, exist_ok=True)
    own = LogFile(file)
    own.setFormatter(Plain("[%(asctime)s] %(message)s"))
    root = logging.getLogger()
    before, level = root.handlers, root.level
    root.handlers = [own]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = before
        root.setLevel(level)
        own.close()


def _main(final: dict[str, float], name: str) -> float:
    """A final score by whatever protocol, from the test split if there is one."""
    found = {key.split("/")[0]: score for key, score in final.items() if key.split("/")[-1] == name}
    return found["test"] if "test" in found else found["val"]


# ------------------------------------------------------------------------------------------ the results
def table(scores: Sequence[Score]) -> str:
    """Markdown table of mean and standard deviation over the seeds, a row for each number of masks."""
    seeds = sorted({score.seed for score in scores})
    lines = [f"| labelled masks | {SCRATCH} | {TRANSFER} | difference |", "|---|---|---|---|"]
    for masks in sorted({score.masks for score in scores}):
        scratch, transfer = (_by_seed(scores, masks, start) for start in (SCRATCH, TRANSFER))
        columns = [_spread(scratch), _spread(transfer), _spread(transfer - scratch, "+")]
        lines.append(f"| {masks} | " + " | ".join(columns) + " |")
    note = f"mIoU, mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "mIoU, one seed"
    return "\n".join([*lines, "", f"{note}.", ""])


def plot(scores: Sequence[Score]) -> Figure:
    """Draw mIoU against the number of masks: a line through the means, a dot for each seed."""
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    masks = sorted({score.masks for score in scores})
    for start, colour in COLOURS.items():
        by_masks = [_by_seed(scores, count, start) for count in masks]
        axes.plot(masks, [values.mean() for values in by_masks], color=colour, lw=2, label=start)
        for count, values in zip(masks, by_masks, strict=True):
            axes.plot([count] * len(values), values, "o", color=colour, ms=5, alpha=0.7, mew=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(masks, [str(count) for count in masks])
    axes.minorticks_off()
    axes.set_xlabel("labelled masks")
    axes.set_ylabel("mIoU")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _by_seed(scores: Sequence[Score], masks: int, start: str) -> np.ndarray:
    """The scores of one setting, in the order of the seeds."""
    chosen = sorted(score for score in scores if (score.masks, score.start) == (masks, start))
    return np.array([score.miou for score in chosen])


def _spread(values: np.ndarray, sign: str = "") -> str:
    spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.3f}{spread}"
