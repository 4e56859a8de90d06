"""Check within seconds that pretrained weights can be downloaded; timm itself retries for minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
from huggingface_hub.utils import get_session
from timm.models import load_model_config_from_hf, resolve_pretrained_cfg

from pixelwise.errors import UserError

HUB = ("hf_hub:", "hf-hub:")
"""Prefixes in timm's names of models on the Hugging Face hub."""

TIMEOUT_S = 5.0
"""Seconds to wait for an answer of the network."""


def resolve_hub(name: str) -> tuple[str, dict[str, Any]]:
    """Return the architecture of a model on the hub, and its options for `timm.create_model`.

    Args:
        name: name of a model. A name without the prefix `hf_hub:` is returned unchanged, without options.

    Raises:
        UserError: the hub does not answer, or it has no such model.
    """
    if not name.startswith(HUB):
        return name, {}
    repository = name.split(":", 1)[1]
    require_hub(
        f"encoder.name: the description of {name}",
        repository,
        ("config.json",),
        "or choose a model of timm.list_models()",
    )
    try:
        config, architecture, options = load_model_config_from_hf(repository)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"encoder.name: {name} is not a timm model", found=error) from error
    options.pop("in_chans", None)  # the number of bands comes from the data
    return architecture, {**options, "pretrained_cfg": config}


def require_download(name: str, options: Mapping[str, Any]) -> None:
    """Raise an error at once if timm's weights are not available, instead of after minutes of retries.

    Args:
        name: name of a timm model.
        options: options for `timm.create_model`, which may name the source of the weights.

    Raises:
        UserError: timm has no weights for the model, or they are not in the cache and cannot be downloaded.
    """
    sources = (options.get(key) for key in ("pretrained_cfg", "pretrained_cfg_overlay"))
    config = resolve_pretrained_cfg(name, *sources)
    if not config.has_weights:
        raise UserError(
            f"encoder.pretrained: timm has no weights for {name!r}",
            expected="a model of `timm.list_models(pretrained=True)`",
            fix="encoder.pretrained=false, or another encoder.name",
        )
    if config.file:
        return
    what = f"encoder.pretrained: the file of {name!r}"
    fix = "give a local file with encoder.weights=FILE, or train from scratch with encoder.pretrained=false"
    if config.hf_hub_id:
        files = (config.hf_hub_filename or "model.safetensors", "pytorch_model.bin")
        require_hub(what, config.hf_hub_id, files, fix)
    elif config.url:
        url = config.url if isinstance(config.url, str) else config.url[0]
        file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
        if not file.is_file():
            _require_answer(what, lambda: get_session().head(url, timeout=TIMEOUT_S), fix)


def require_hub(what: str, repository: str, files: Sequence[str], fix: str) -> None:
    """Raise an error within seconds if no file is in the cache and the hub does not have the repository.

    Args:
        what: description of the files, for the message.
        repository: `owner/name`, or `owner/name@revision`.
        files: names of files, one of which is enough.
        fix: what the user can do besides connecting to the network.

    Raises:
        UserError: the hub does not answer, or it has no such repository.
    """
    name, _, revision = repository.partition("@")
    cached = (huggingface_hub.try_to_load_from_cache(name, file, revision=revision or None) for file in files)
    if not any(isinstance(path, str) for path in cached):
        hub = huggingface_hub.HfApi()
        _require_answer(what, lambda: hub.model_info(name, revision=revision or None, timeout=TIMEOUT_S), fix)


def _require_answer(what: str, ask: Callable[[], object], fix: str) -> None:
    try:
        ask()
    except Exception as error:  # from httpx, requests or huggingface_hub, depending on the version
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{what} is not in the cache and cannot be downloaded",
            found=reason,
            fix=f"connect to the network, {fix}",
        ) from error
