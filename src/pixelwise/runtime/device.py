"""Resolve `auto` for this machine: precision, memory format and workers; log each value with its reason."""

from __future__ import annotations

import logging
import os
import platform
from typing import Literal

import torch

log = logging.getLogger(__name__)

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def precision(setting: str, accelerator: str) -> str:
    """Resolve `trainer.precision=auto`: bf16-mixed if the hardware has bf16 arithmetic."""
    if setting != "auto":
        return setting
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        native = torch.cuda.get_device_capability() >= (8, 0)
        reason = f"{torch.cuda.get_device_name()}, sm_{''.join(map(str, torch.cuda.get_device_capability()))}"
    else:
        unit = bf16_unit()
        native = unit is not None
        reason = f"CPU with {unit}" if unit else "CPU without bf16 arithmetic"
    chosen = "bf16-mixed" if native else "32-true"
    log.info("trainer.precision=%s: chosen for %s; pin it with trainer.precision=…", chosen, reason)
    return chosen


def device_name(device: torch.device) -> str:
    """Return the product name of a device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return str(flags.get("cpu_name") or platform.processor() or platform.machine())


def bf16_unit() -> str | None:
    """Return the name of the CPU's bf16 instructions, or None."""
    if hasattr(torch.cpu, "get_capabilities"):  # PyTorch 2.12 and later
        flags = torch.cpu.get_capabilities()
    else:
        flags = {
            "amx_bf16": torch.cpu._is_amx_tile_supported(),
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
        }
    return next((name for name in ("amx_bf16", "avx512_bf16") if flags.get(name)), None)


def workers(setting: int | Literal["auto"]) -> int:
    """Resolve `data.num_workers=auto`: up to 8 worker processes with a GPU, none on a CPU."""
    if setting != "auto":
        return setting
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = min(8, cores) if torch.cuda.is_available() else 0
    reason = f"{cores} cores beside a GPU" if chosen else "training uses all cores itself"
    log.info("data.num_workers=%d: %s; pin it with data.num_workers=…", chosen, reason)
    return chosen


def windows(setting: int | Literal["auto"]) -> int:
    """Resolve `batch_size=auto` of predict.py: windows per forward pass, 4 on a GPU, 1 on a CPU."""
    if setting != "auto":
        return setting
    chosen = 4 if torch.cuda.is_available() else 1
    reason = "on a GPU" if chosen > 1 else "one window uses all cores of a CPU"
    log.info("batch_size=%d: %s; pin it with batch_size=…", chosen, reason)
    return chosen


def name_of(form: torch.memory_format) -> str:
    """Return the name of a memory format in the config."""
    return next(name for name, value in FORMATS.items() if value == form)


def memory_format(setting: str) -> torch.memory_format:
    """Resolve `memory_format=auto`: channels-last, which is fastest for convolutions."""
    if setting == "auto":
        log.info("memory_format=channels_last: fastest for convolutions; pin it with memory_format=…")
        setting = "channels_last"
    return FORMATS[setting]
