"""Read the tensors in a file of encoder weights, and the statistics of the input that they expect."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from pixelwise.errors import UserError
from pixelwise.files import not_the_file, read_json

NAMES = ("checkpoints/best.ckpt", "model.safetensors", "pytorch_model.bin")
"""Files with weights in a run folder or in a hub folder."""

ADDRESS = re.compile(r"(?:^|/)((?:hf[_-]hub:|\w{2,}:/).+)$")
"""An address in the network, also after a command has made an absolute path of it."""

CHOSEN = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys of a checkpoint that hold the tensors to load; of several, the first, as timm chooses."""


class Statistics(NamedTuple):
    """What the weights expect of their input."""

    mean: tuple[float, ...]
    """Mean of each channel."""
    std: tuple[float, ...]
    """Standard deviation of each channel."""
    origin: str
    """Where the numbers come from, for messages."""


def weights_file(path: Path) -> Path:
    """Return the file with the weights: in a run folder or hub folder, or the path itself."""
    return next((path / name for name in NAMES if (path / name).is_file()), path)


def read_state_dict(path: Path) -> dict[str, Any]:
    """Return the tensors of a file by name, executing no code; the names of nested containers are joined.

    The format follows from the content, whatever the suffix.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        address = ADDRESS.search(str(path))
        raise UserError(
            f"encoder.weights: {path} is not a file",
            expected="a .ckpt, .pth or .safetensors file, a run folder or a hub folder",
            fix=None
            if address is None
            else f"encoder.name={address[1]} encoder.pretrained=true loads a timm model of the hub"
            if address[1].startswith("hf")
            else "download the file first, and give its path",
        )
    try:
        return _flat(_load(path))
    except Exception as error:  # each format has its own exceptions; all mean the same here
        is_pickle = isinstance(error, pickle.UnpicklingError)
        has_objects = is_pickle and _begins_with(path, b"PK", b"\x80")
        raise UserError(
            f"encoder.weights: {path} cannot be read",
            found=not_the_file(path)
            or ("Python objects, such as a whole model; they are never run" if has_objects else None)
            or ("another format, by its first bytes" if is_pickle else None)
            or str(error).partition(". ")[0].strip()
            or type(error).__name__,
            expected="tensors by name, in a file of PyTorch or in a .safetensors file",
            fix="where you trust the file: torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW)"
            if has_objects
            else None,
        ) from error


def stored_statistics(path: Path, state: Mapping[str, Any]) -> Statistics | None:
    """Return the mean and std that this project stores with the weights, or timm beside them."""
    for prefix in ("", "model."):
        mean, std = (state.get(f"{prefix}normalize.{name}") for name in ("mean", "std"))
        if mean is not None and std is not None:
            return Statistics(tuple(mean.tolist()), tuple(std.tolist()), "the run that the weights come from")
    file = path.with_name("config.json")
    published = read_json(file).get("pretrained_cfg") or {}
    if published.get("mean") and published.get("std"):
        return Statistics(tuple(published["mean"]), tuple(published["std"]), str(file))
    return None


def _load(path: Path) -> Mapping[Any, Any]:
    if _begins_with(path, b"{", at=8):  # after the length of the header
        return load_file(path)
    namespace = torch.serialization.safe_globals([argparse.Namespace])  # options in many checkpoints
    with path.open("rb") as file, namespace:  # given a path, PyTorch would follow the suffix
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise TypeError(f"a {type(content).__name__} instead of tensors by name")
    return next((content[key] for key in CHOSEN if content.get(key) is not None), content)


def _begins_with(path: Path, *starts: bytes, at: int = 0) -> bool:
    with path.open("rb") as file:
        return file.read(at + 8)[at:].startswith(starts)


def _flat(content: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Join the names of nested containers by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        is_container = isinstance(value, Mapping) and not isinstance(value, Tensor)
        flat |= _flat(value, f"{prefix}{key}.") if is_container else {f"{prefix}{key}": value}
    return flat
