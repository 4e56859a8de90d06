"""What timm has on the network: asked for in seconds, so that no run waits minutes for its retries."""

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
"""How timm writes the name of a model that is described on the Hugging Face hub."""

TIMEOUT_S = 5.0
"""How long the network may take to answer."""


def resolve_hub(name: str) -> tuple[str, dict[str, Any]]:
    """The architecture that a model of the hub has, with its options of `timm.create_model`.

    Args:
        name: `hf_hub:owner/name`; any other is returned as it is.

    Raises:
        UserError: the hub does not answer, or has no such model.
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
        raise UserError(f"encoder.name: {name} is no model of timm", found=error) from error
    options.pop("in_chans", None)  # of the images, which the weights are adapted to
    return architecture, {**options, "pretrained_cfg": config}


def require_download(name: str, options: Mapping[str, Any]) -> None:
    """Fail at once, instead of after minutes of retries, when timm's weights cannot be had.

    Args:
        name: of a model of timm.
        options: of `timm.create_model`, which may say where its weights are.

    Raises:
        UserError: there are none, or they are neither in a cache nor can they be downloaded.
    """
    asked = (options.get(key) for key in ("pretrained_cfg", "pretrained_cfg_overlay"))
    config = resolve_pretrained_cfg(name, *asked)
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
            _answers(what, lambda: get_session().head(url, timeout=TIMEOUT_S), fix)


def require_hub(what: str, repository: str, files: Sequence[str], fix: str) -> None:
    """Fail in seconds where none of the files is in the cache and the hub does not have the repository.

    Args:
        what: is wanted, for the message.
        repository: `owner/name`, or `owner/name@revision`.
        files: any of which is enough.
        fix: what to do besides going online.
    """
    name, _, revision = repository.partition("@")
    cached = (huggingface_hub.try_to_load_from_cache(name, file, revision=revision or None) for file in files)
    if not any(isinstance(path, str) for path in cached):
        hub = huggingface_hub.HfApi()
        _answers(what, lambda: hub.model_info(name, revision=revision or None, timeout=TIMEOUT_S), fix)


def _answers(what: str, ask: Callable[[], object], fix: str) -> None:
    try:
        ask()
    except Exception as error:  # of httpx, of requests or of the hub, by its version
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{what} is neither in the cache nor to be downloaded",
            found=reason,
            fix=f"connect to the network, {fix}",
        ) from error
