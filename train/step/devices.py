"""Where a run computes, and with how many bits. A device is never a guess: what was asked for, or an error."""

from __future__ import annotations

import platform
from typing import Literal

import torch

from animegen.errors import DeviceError

Precision = Literal["fp32", "bf16"]


def choose_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to train on; `auto` is CUDA where torch finds a GPU.

    Raises:
        DeviceError: `cuda` was asked for and torch can't use one.
    """
    if name == "cuda" and not torch.cuda.is_available():
        without = torch.version.cuda is None
        reason = "this torch was built without CUDA" if without else "torch finds no NVIDIA GPU or driver"
        raise DeviceError(f"cuda was asked for, and {reason}: mend that, or take --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def choose_precision(name: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """`auto` is bf16 where the hardware is known to gain by it: GPUs that multiply it, and CPUs with AMX.

    With AVX512-BF16 alone it depends on the networks (docs/training.md), so a run times both: `step.precision`.
    """
    if name != "auto":
        return name
    gains = torch.cpu._is_amx_tile_supported() if device.type == "cpu" else multiplies_bf16(device)
    return "bf16" if gains else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bf16: elsewhere it is emulated, and slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine() in {"x86_64", "AMD64"}:
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def device_name(device: torch.device) -> str:
    """`cpu`, or `cuda` with the card's own name."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
