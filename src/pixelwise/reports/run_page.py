"""`report.html` of a run: one self-contained file, written from the files in the run folder."""

from __future__ import annotations

import base64
import io
import shlex
import statistics
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.errors import UserError
from pixelwise.files import RESTORE, inside, write_text
from pixelwise.protocols import EvaluationProtocol
from pixelwise.reports.html import render
from pixelwise.reports.run_charts import charts
from pixelwise.runs.reader import RunReader, kind_of
from pixelwise.runtime.program import as_started
from pixelwise.types import IGNORE

MOST_CELLS = 24
"""Largest number of classes for which the full confusion matrix is shown."""


def write(folder: Path, output: Path | None = None) -> Path:
    """Write `report.html` into a run folder, or into another one, and return its path."""
    run = RunReader(folder)
    page = render(
        "run.html",
        run=run,
        summary=summary(run),
        reached=reached(run),
        charts=charts(run),
        confusion=confusion(run),
        kinds=list(run.by_class),
        samples=samples(run),
        plan=plan(run),
        batches=batches(run),
        speed=speed(run),
        resume=f"{as_started('python train.py')} {shlex.quote(f'resume={folder}')}",
    )
    file = (output or folder) / "report.html"
    write_text(file, page)
    return file


def reached(run: RunReader) -> str:
    """The progress of the run in words."""
    if run.finished and (early := run.environment.get("early_end")):
        return f"ended early: {early['why']}"
    if run.finished and run.stopped_at is None:
        return "finished"
    of = f" of {run.plan['steps']}" if run.plan else ""
    return f"{'finished' if run.finished else 'unfinished'}: {run.steps}{of} steps"


def summary(run: RunReader) -> dict[str, str]:
    """Task, model, data, schedule, duration and origin of the run, by title."""
    config, facts, data = run.config, run.environment, run.data
    encoder = config["encoder"]
    start = encoder.get("weights") or ("pretrained" if encoder.get("pretrained") else "from scratch")
    images = [f"{data[split]['images']} {split}" for split in ("train", "val", "test") if split in data]
    commit = facts.get("commit")
    rows = {
        "task": f"{config['task']['name']}, {len(run.classes)} classes",
        "encoder": f"{encoder.get('name', kind_of(encoder))}, {start}",
        "decoder": kind_of(config["decoder"]),
        "parameters": ", ".join(f"{part} {n / 1e6:.2f} M" for part, n in facts.get("parameters", {}).items()),
        "loss": kind_of(config["loss"]),
        "optimizer": kind_of(config["optimizer"]),
        "data": f"{kind_of(config['data']['source'])}: {', '.join(images)} images",
        "evaluation": str(EvaluationProtocol.of(config["data"].get("eval"))),
        "batch": f"{config['data']['batch_size']} samples, crops of {config['data']['crop_size']} px",
        "schedule": ", then ".join(phase["name"] for phase in run.plan.get("phases", [])),
        "seed": str(config["seed"]),
        "started": facts.get("started", ""),
        "training time": duration(run),
        "device": f"{facts['device']}, {facts['precision']}" if "device" in facts else "",
        "commit": f"{commit[:12]}{', with uncommitted changes' * facts['uncommitted_changes']}"
        if commit
        else "",
        "command": facts.get("command", ""),
    }
    return {name: value for name, value in rows.items() if value}


def duration(run: RunReader) -> str:
    """Duration of the completed epochs, validation included."""
    seconds = sum(row["seconds"] for row in run.speed)
    return f"{timedelta(seconds=round(seconds))} in {len(run.speed)} epochs" if run.speed else ""


def speed(run: RunReader) -> dict[str, str]:
    """Throughput, waiting time, memory and duration, by title."""
    if not run.speed:
        return {}
    middle = {name: statistics.median(row[name] for row in run.speed) for name in ("images_per_s", "waiting")}
    return {
        "images/s, median epoch": f"{middle['images_per_s']:.0f}",
        "waiting for data, median epoch": f"{middle['waiting']:.0%}",
        "peak memory": f"{max(row['memory_gb'] for row in run.speed):.1f} GB",
        "training time": duration(run),
    }


def confusion(run: RunReader) -> dict[str, Any]:
    """The confusion matrix with shares of each row, if it is small enough, and the largest confusions."""
    recorded = run.confusion
    if not recorded:
        return {}
    counts = np.array(recorded["matrix"], float)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(1, keepdims=True)
    errors = [
        (int(counts[t, p]), float(shares[t, p]), recorded["classes"][t], recorded["classes"][p])
        for t, p in np.argwhere(counts > 0).tolist()
        if t != p
    ]
    errors.sort(reverse=True)
    cells = []
    if len(counts) <= MOST_CELLS:
        rows = zip(recorded["classes"], shares.tolist(), counts.astype(int).tolist(), strict=True)
        cells = [(label, list(zip(share, count, strict=True))) for label, share, count in rows]
    return {**recorded, "rows": cells, "largest": errors[:10]}


def samples(run: RunReader) -> dict[str, Any]:
    """The recorded samples with inlined pictures and their descriptions."""
    recorded = run.samples
    for sample in recorded.get("samples", []):
        masks = {}
        for name in ("truth", "prediction"):
            if name in sample["pictures"]:
                masks[name] = np.asarray(opened(inside(run.folder, sample["pictures"][name])))
        alts = {
            name: f"{name} of {sample['key']}: {shares(mask, run.classes)}" for name, mask in masks.items()
        }
        alts["image"] = f"image {sample['key']}"
        if masks:
            counted = masks["truth"] != IGNORE
            wrong = float((masks["truth"] != masks["prediction"])[counted].mean()) if counted.any() else 0.0
            alts["error"] = f"wrong pixels of {sample['key']}: {wrong:.1%}"
        files: Mapping[str, str] = sample["pictures"]
        sample["figures"] = [
            (name, inline(inside(run.folder, file)), alts[name]) for name, file in files.items()
        ]
    if recorded:
        colours = [tuple(map(int, colour)) for colour in recorded["colours"]]
        recorded["legend"] = list(zip(recorded["classes"], colours, strict=True))
    return recorded


def shares(mask: np.ndarray, classes: list[str]) -> str:
    """The classes of a mask with their shares of the pixels, the largest first."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    parts = [(count, name) for count, name in zip(counts.tolist(), [*classes], strict=False) if count]
    return ", ".join(f"{name} {count / mask.size:.0%}" for count, name in sorted(parts, reverse=True))


def plan(run: RunReader) -> str:
    """The figure of the schedule, which is drawn before training, as a data URI."""
    file = inside(run.folder, "pictures/plan.png")
    return inline(file) if file.is_file() else ""


def batches(run: RunReader) -> list[tuple[str, str]]:
    """The first training batch of each phase: (phase, picture)."""
    files = {
        phase["name"]: inside(run.folder, f"pictures/batch_{phase['name']}.png")
        for phase in run.plan.get("phases", [])
    }
    return [(phase, inline(file, 1000)) for phase, file in files.items() if file.is_file()]


def opened(file: Path) -> Image.Image:
    """Open a picture of a run folder.

    Raises:
        UserError: the file is not a picture as training writes them.
    """
    try:
        return Image.open(file, formats=("PNG", "JPEG"))
    except OSError as error:
        raise UserError(f"{file} cannot be read as a picture of the run", found=error, fix=RESTORE) from error


def inline(file: Path, side: int | None = None) -> str:
    """A picture as a data URI; with `side`, a JPEG whose sides have at most that many pixels."""
    with opened(file) as image:
        content, kind = file.read_bytes(), str(image.format).lower()
    if side is not None:
        picture = opened(file).convert("RGB")
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        content, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
