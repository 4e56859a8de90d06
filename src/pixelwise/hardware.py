"""What `auto` means on this machine: precision and memory format, printed with their reason."""

from __future__ import annotations

import logging

import torch

from pixelwise.errors import UserError

log = logging.getLogger(__name__)

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def precision(setting: str, accelerator: str) -> str:
    """Resolve `trainer.precision=auto`: bf16-mixed where the hardware multiplies bf16 natively."""
    if setting != "auto":
        return setting
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        native = torch.cuda.get_device_capability() >= (8, 0)
        reason = f"{torch.cuda.get_device_name()}, sm_{''.join(map(str, torch.cuda.get_device_capability()))}"
    else:
        flags = torch.cpu.get_capabilities()
        units = [name for name in ("amx_bf16", "amx_tile", "avx512_bf16") if flags.get(name)]
        native = bool(units)
        reason = f"CPU with {units[0]}" if units else "CPU without bf16 arithmetic"
    chosen = "bf16-mixed" if native else "32-true"
    log.info("trainer.precision=%s: chosen for %s; pin it with trainer.precision=…", chosen, reason)
    return chosen


def memory_format(setting: str) -> torch.memory_format:
    """Resolve `memory_format=auto`: channels-last, which convolutions are fastest in."""
    if setting == "auto":
        log.info("memory_format=channels_last: fastest for convolutions; pin it with memory_format=…")
        setting = "channels_last"
    if setting not in FORMATS:
        raise UserError("memory_format", found=setting, expected="auto, " + ", ".join(FORMATS))
    return FORMATS[setting]
